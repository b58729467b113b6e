"""What single ops take at their peak, and what they save, against the backend ``numba`` on one thread."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from backends.numpy.threads import set_thread_count
from segattn_cli.checking.lockstep import LOSSES
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

MAP = (2, 60, 80, 64)
CASES: dict[str, tuple[str, list[tuple[int, ...]], dict[str, Any]]] = {
    "patches": ("conv2d", [MAP, (5, 5, 64, 32)], {"padding": 2}),
    "patches, one block": ("conv2d", [(1, 40, 60, 16), (3, 3, 16, 32)], {"padding": 1}),
    "patches, stride": ("conv2d", [(2, 180, 240, 3), (7, 7, 3, 64), (64,)], {"stride": 2, "padding": 3}),
    "patches, stride, many channels": ("conv2d", [MAP, (3, 3, 64, 128)], {"stride": 2, "padding": 1}),
    "1×1": ("conv2d", [(2, 120, 160, 64), (1, 1, 64, 256)], {}),
    "1×1, stride": ("conv2d", [(2, 120, 160, 64), (1, 1, 64, 128)], {"stride": 2}),
    "filtered": ("conv2d", [MAP, (3, 3, 64, 64)], {"padding": 1}),
    "filtered, dilation": ("conv2d", [(2, 23, 30, 256), (3, 3, 256, 512)], {"padding": 4, "dilation": 4}),
    "filtered, large": ("conv2d", [(1, 90, 120, 256), (3, 3, 256, 128)], {"padding": 2, "dilation": 2}),
    "with a residual": ("conv2d_relu", [MAP, (3, 3, 64, 64), (64,), MAP], {"padding": 1}),
    "linear": ("linear", [(2, 4800, 64), (64, 256), (256,)], {}),
    "pool": ("max_pool2d", [(2, 120, 160, 64)], {"window": 3, "stride": 2, "padding": 1}),
    "resize up": ("resize_bilinear", [(2, 30, 40, 21)], {"size": (240, 320)}),
    "resize down": ("resize_bilinear", [(2, 240, 320, 3)], {"size": (120, 160)}),
    "position attention": ("position_attention", [(2, 1500, 16), (2, 1500, 16), (2, 1500, 128)], {}),
    "position attention, small": ("position_attention", [(2, 690, 16), (2, 690, 16), (2, 690, 128)], {}),
    "channel attention": ("channel_attention", [(2, 2700, 128)], {}),
    "gate": ("gated_residual", [MAP, MAP, ()], {}),
    "softmax": ("softmax", [MAP], {}),
    "fusion": ("scale_fusion", [(3, 2, 60, 80, 21), (2, 60, 80, 3)], {}),
    "maximum": ("scale_max", [(3, 2, 60, 80, 21)], {}),
    "mean": ("scale_mean", [(3, 2, 60, 80, 21)], {}),
}
#: What small arrays and Python's own objects take, beside what an op saves.
SAVED = {"rel": 0.02, "abs": 2e5}
#: What the estimate of a peak may be off by: blocks end at whole rows.
PEAK = {"rel": 0.3, "abs": 4e6}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    set_thread_count(1)
    yield
    set_thread_count(None)


@pytest.fixture(scope="module")
def numba() -> Any:
    pytest.importorskip("numba", reason="Numba is not installed: pip install 'segattn[numba]'")
    return get_backend("numba")


def taken(function: Callable[[], Any]) -> tuple[Any, int, int]:
    """What the call returns, what was allocated at its peak, and what is when its workspaces are given back."""
    from backends.numba.compile import release

    release()
    gc.collect()
    tracemalloc.start()
    try:
        result = function()
        _, peak = tracemalloc.get_traced_memory()
        release()
        return result, peak, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def counted(meter: CostMeter, function: Callable[[], Any]) -> tuple[Any, int, int]:
    before, meter.peak, meter.workspace, meter.scratch = meter.alive, meter.alive, 0, 0
    return function(), meter.total(threads=1) - before, meter.alive - before


def compare(
    numba: Any, op: str, inputs: list[np.ndarray], options: dict[str, Any], backward_options: dict[str, Any]
) -> None:
    meter = CostMeter()
    ops = CountingOps(meter)
    shapes = [ShapeArray(x.shape, x.dtype, meter) for x in inputs]
    y, cache = getattr(numba, op)(*inputs, **options)  # compiled
    backward = f"{op}_backward"
    dy = np.ones_like(y)
    getattr(numba, backward)(dy, cache, **backward_options)
    del y, cache

    (_, cache), *wanted = taken(lambda: getattr(numba, op)(*inputs, **options))
    (y_shape, cache_shape), *found = counted(meter, lambda: getattr(ops, op)(*shapes, **options))
    assert found == [pytest.approx(wanted[0], **PEAK), pytest.approx(wanted[1], **SAVED)]
    dy_shape = y_shape + 0.0
    del y_shape
    _, *wanted = taken(lambda: getattr(numba, backward)(dy, cache, **backward_options))
    _, *found = counted(meter, lambda: getattr(ops, backward)(dy_shape, cache_shape, **backward_options))
    assert found == [pytest.approx(wanted[0], **PEAK), pytest.approx(wanted[1], **SAVED)]


@pytest.mark.parametrize("case", CASES)
def test_memory_of_an_op(numba: Any, case: str, rng: np.random.Generator) -> None:
    op, shapes, options = CASES[case]
    compare(numba, op, [rng.standard_normal(shape, np.float32) for shape in shapes], options, {})


@pytest.mark.parametrize("case", [case for case, (op, *_) in CASES.items() if op.startswith("conv2d")])
def test_memory_of_a_convolution_whose_image_needs_no_gradient(
    numba: Any, case: str, rng: np.random.Generator
) -> None:
    op, shapes, options = CASES[case]
    compare(numba, op, [rng.standard_normal(shape, np.float32) for shape in shapes], options, {"needs_dx": False})


@pytest.mark.parametrize("op", ["batch_norm", "batch_norm_relu"])
@pytest.mark.parametrize("training", [True, False])
def test_memory_of_a_norm(numba: Any, op: str, training: bool, rng: np.random.Generator) -> None:
    channels = [np.ones(64, np.float32) for _ in range(4)]
    residual = [np.ones(MAP, np.float32)] if op == "batch_norm_relu" else []
    inputs = [rng.standard_normal(MAP, np.float32), *channels, *residual]
    compare(numba, op, inputs, {"training": training}, {})


def test_memory_of_dropout(numba: Any, rng: np.random.Generator) -> None:
    compare(numba, "dropout", [rng.standard_normal(MAP, np.float32), rng.random(MAP) < 0.5], {"rate": 0.5}, {})


@pytest.mark.parametrize("op", LOSSES)
@pytest.mark.parametrize("classes", [4, 11, 150])
def test_memory_of_the_loss(numba: Any, op: str, classes: int, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((2, 120, 160, classes), np.float32)
    labels = rng.integers(classes, size=(2, 120, 160), dtype=np.int32)
    compare(numba, op, [logits, labels], {}, {})


@pytest.mark.parametrize("classes", [4, 11, 150])
def test_memory_of_hard_pixels(numba: Any, classes: int, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((2, 120, 160, classes), np.float32)
    labels = rng.integers(classes, size=(2, 120, 160), dtype=np.int32)
    options = {"threshold": 0.0, "least": 0.1}
    numba.hard_pixels(logits, labels, **options)  # compiled
    _, *wanted = taken(lambda: numba.hard_pixels(logits, labels, **options))
    meter = CostMeter()
    shapes = [ShapeArray(x.shape, x.dtype, meter) for x in (logits, labels)]
    _, *found = counted(meter, lambda: CountingOps(meter).hard_pixels(*shapes, **options))
    assert found == [pytest.approx(wanted[0], **PEAK), pytest.approx(wanted[1], **SAVED)]
