"""The backends for a CPU, blocks so small that every test has many, and the comparison with the reference."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import reference.ops
from backends import BackendError, get_backend
from backends.numpy.threads import _from_environment, set_thread_count
from backends.tolerances import compare

#: Backend → each override's block sizes, and what small tests set them to; those inside compiled loops stay.
SMALL_BLOCKS = {
    "numpy": {
        "batch_norm": {"_BLOCK": 96, "_ROW": 16},
        "max_pool2d": {"_VALUES": 60},
        "patches": {"_VALUES": 400, "_FEW_CHANNELS": 4},
        "position_attention": {"_QUERIES": 7, "_KEYS": 5},
        "products": {"_ROWS": 4, "_VALUES": 16},
        "relu": {"_BLOCK": 7},
        "resize_bilinear": {"_VALUES": 60},
        "softmax_cross_entropy": {"_VALUES": 40},
        "winograd": {"_TILES": 8, "_VALUES": 64, "_GRADIENT_VALUES": 4096},
    },
    "numba": {
        "patches": {"_VALUES": 400, "_GRADIENT_VALUES": 900},
        "position_attention": {
            "_QUERIES": 7, "_KEYS": 5, "_BACKWARD_QUERIES": 7, "_BACKWARD_KEYS": 5, "_PARTS": 300,
        },
        "products": {"_FEWEST_ROWS": 3, "_TRANSPOSED_ROWS": 5},
        "winograd": {"_TILES": 1, "_FEWEST": 0},
    },
}


@pytest.fixture(params=["numpy", "numba"])
def ops(request):
    try:
        return get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["small blocks", "own blocks"])
def blocks(request, ops, monkeypatch, threads):
    """Small blocks on two threads, which compute them side by side, and each op's own on one."""
    if request.param == "small blocks":
        threads(2)
        for module, sizes in SMALL_BLOCKS[ops.name].items():
            for name, size in sizes.items():
                monkeypatch.setattr(sys.modules[f"backends.{ops.name}.{module}"], name, size)


@pytest.fixture
def threads():
    yield set_thread_count
    set_thread_count(None)
    _from_environment.cache_clear()


@pytest.fixture
def assert_agrees(ops):
    """``assert_agrees(op, *inputs, dtype=…, **options)``: what an op says, against the reference in float64."""

    def check(op, *inputs, dtype="float32", **options):
        given, exact = cast(inputs, dtype), cast(cast(inputs, dtype), "float64")
        options_given, options_exact = cast(options, dtype), cast(cast(options, dtype), "float64")
        before = [None if x is None else x.copy() for x in given]
        got = run(ops, op, given, options_given)
        expected = run(reference.ops, op, exact, options_exact)
        for x, x_before in zip(given, before, strict=True):
            if x is not None:
                np.testing.assert_array_equal(x, x_before, err_msg=f"{op} changed an input")
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            if value is None:
                assert got[name] is None
                continue
            comparison = compare(value, got[name], dtype)
            assert comparison.passed, f"{op}: {name} {comparison.reason}"

    return check


def run(ops, op, inputs, options):
    """What an op says, by name: y, each gradient, and the statistics of a batch norm."""
    y, cache = getattr(ops, op)(*inputs, **options)
    dy = np.random.default_rng(1).standard_normal(np.shape(y)).astype(y.dtype) if np.ndim(y) else 1.5
    dy_before = np.copy(dy)
    gradients = getattr(ops, f"{op}_backward")(dy, cache)
    np.testing.assert_array_equal(dy, dy_before, err_msg=f"{op}_backward changed dy")
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    said = {"y": y} | {f"gradient {n}": gradient for n, gradient in enumerate(gradients)}
    if options.get("training"):
        said |= {"mean": cache.mean, "variance": cache.variance}
    return said


def cast(value, dtype):
    """Arrays of floats to ``dtype``, inside tuples and dicts too; what has it keeps its place in memory."""
    if isinstance(value, tuple):
        return tuple(cast(item, dtype) for item in value)
    if isinstance(value, dict):
        return {name: cast(item, dtype) for name, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype, copy=False)
    return value
