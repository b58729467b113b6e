"""The benchmark of a GPU, as far as it goes without one: NumPy's ops under cupy's name, PyTorch on the CPU."""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends import BackendError, get_backend
from reference.networks import NetworkConfig
from segattn_cli.benchmarking import BenchmarkPlan, Mismatch, Note, Row, plan, precisions_of, run
from segattn_cli.benchmarking.agreement import networks_errors, too_far
from segattn_cli.benchmarking.machine import examine
from segattn_cli.benchmarking.meter import CudaMeter, Meter, meter_of
from segattn_cli.benchmarking.network_benchmarks import BackendNetwork, NetworkSetup, network_benchmark
from segattn_cli.benchmarking.op_benchmarks import JOINT, Call, RandomInput, _position_attention, op_benchmark
from segattn_cli.benchmarking.timing import run_once, until_queued

SMALL = NetworkConfig(classes=5, backbone="resnet18", head="dual")


class Card:
    """Ops of the name cupy that compute as the reference does; arrays of 16 bits are widened first."""

    name = "cupy"

    def __getattr__(self, op: str) -> Any:
        return getattr(get_backend("reference"), op)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A card that answers: its backend, its clock and its memory."""

    def backend(name: str = "auto", precision: str = "float32") -> Any:
        return Card() if name.startswith("cupy") else get_backend(name, precision)

    for module in ("comparison", "peak_memory", "variants", "machine"):
        monkeypatch.setattr(importlib.import_module(f"segattn_cli.benchmarking.{module}"), "get_backend", backend)

    def seconds(function: Callable[[], None]) -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    def peak(extra: int) -> Callable[[Callable[[], None]], tuple[int, int]]:
        def measure(function: Callable[[], None]) -> tuple[int, int]:
            function()
            return extra, extra + 7

        return measure

    released: list[str] = []
    fake = SimpleNamespace(
        seconds=seconds, queue_seconds=lambda function: seconds(function) / 2, our_peak=peak(10**6),
        their_peak=peak(2 * 10**6), free_bytes=lambda: 5e9, release=lambda: released.append("released"),
        share_a_stream=lambda: True, released=released, matmul_gflops=lambda dtype: 1000.0 * dtype.itemsize,
        describe=lambda: {"device": "Toy", "driver": "1.0"}, versions=lambda: {"cupy": "14"},
    )  # fmt: skip
    monkeypatch.setattr(importlib.import_module("segattn_cli.benchmarking"), "cuda", fake, raising=False)
    monkeypatch.setitem(sys.modules, "segattn_cli.benchmarking.cuda", fake)
    monkeypatch.setattr(CudaMeter, "device", "cpu")  # PyTorch's
    return fake


def events(*cases: Any, **options: Any) -> list[Any]:
    options = {"backend": "cupy", "repeat": 2} | options
    return list(run(BenchmarkPlan(cases, **options), {"float32": 100.0, "tf32": 200.0}))


def attention(precision: str = "float32", **more: Any) -> Any:
    return replace(op_benchmark("gpu", *_position_attention(30, 4, 8), JOINT), precision=precision, **more)


@pytest.mark.torch
def test_a_row_of_a_gpu_has_errors_memory_and_the_time_to_queue(cuda: Any, torch: Any) -> None:
    rows = [event for event in events(attention("tf32")) if isinstance(event, Row)]
    assert [row.pass_ for row in rows] == ["forward", "forward+backward"]
    for row in rows:
        assert (row.precision, row.dtype) == ("tf32", "float32")
        assert 0 < row.ours.error < 1e-6
        assert 0 < row.baseline.error < 1e-5
        assert row.ours.queue_seconds > 0
        assert row.baseline.queue_seconds > 0
        assert set(row.variants) == {"plain", "sdpa", "padded sdpa"}
        assert row.peak_fraction == pytest.approx(row.gflops / 200)
    results = 4 * 30 * 8  # bytes of y
    gradients = 4 * 30 * (4 + 4 + 8)
    assert rows[0].ours.extra_bytes == 10**6 - results
    assert rows[1].ours.extra_bytes == 10**6 - results - gradients
    assert rows[1].baseline.extra_bytes == 2 * 10**6 - results - gradients
    assert rows[0].ours.process_bytes == 10**6 + 7
    assert "released" in cuda.released


def test_inputs_have_the_precision_and_exact_ones_its_rounding() -> None:
    case = attention("bfloat16")
    ours, exact = (case.ours(Card(), "bfloat16", exact=exact) for exact in (False, True))
    assert {x.dtype.name for x in (*ours.inputs, ours.dy)} == {"bfloat16"}
    assert {x.dtype.name for x in (*exact.inputs, exact.dy)} == {"float64"}
    assert all((x == y).all() for x, y in zip(ours.inputs, exact.inputs, strict=True))
    inputs = RandomInput((1, 2, 2, 3)), RandomInput((1, 2, 2), classes=3)
    labels = op_benchmark("ops", "", Call("softmax_cross_entropy", inputs))
    implementation = labels.ours(Card(), "float16")
    assert [x.dtype.name for x in (*implementation.inputs, implementation.dy)] == ["float16", "int32", "float32"]


def test_a_variant_may_do_a_part_of_the_passes(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    variants = {
        "whole": lambda: toy("whole", {"forward": 0.01, "backward": 0.01}),
        "part": lambda: toy("part", {"forward": 0.0}),
    }
    found = events(toy_benchmark(variants, groups=(("forward",), ("backward",))), memory=False)
    assert [row.variant for row in found[1:]] == ["torch part", "torch whole"]
    assert [set(row.variants) for row in found[1:]] == [{"whole", "part"}, {"whole"}]


def test_memory_is_given_back_before_each_implementation(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    before: list[int] = []

    def make() -> Any:
        before.append(len(cuda.released))
        return toy("theirs")

    events(toy_benchmark({"first": make, "second": make}), memory=False)
    assert before == [2, 3]  # ours was the first


def test_results_are_those_of_the_first_run(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    def learner(*_: Any, exact: bool = False) -> Any:
        """As a network, it computes something else at each step."""
        implementation = toy(value=0.5)
        step = implementation.passes["forward"]

        def forward() -> None:
            step()
            implementation.runs = getattr(implementation, "runs", 0) + 1
            implementation.value = 0.5 * implementation.runs

        implementation.passes["forward"] = forward
        return implementation

    _, forward, _ = events(toy_benchmark({"plain": learner}, ours=learner), memory=False)
    assert (forward.ours.error, forward.baseline.error) == (0, 0)


@pytest.mark.torch
def test_sixteen_bits_are_compared_with_float64(cuda: Any, torch: Any) -> None:
    rows = [event for event in events(attention("bfloat16"), memory=False) if isinstance(event, Row)]
    assert {row.precision for row in rows} == {"bfloat16"}
    for row in rows:
        assert 1e-4 < row.baseline.error < 0.05  # its arrays have 8 bits of mantissa


def test_a_variant_far_from_float64_is_left_out(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    ours = {"tf32": 0.501, "float16": 0.6}

    def make(ops: Any, precision: str, *, exact: bool = False) -> Any:
        return toy(value=0.5 if exact else ours[precision])

    variants = {"wrong": lambda: toy("wrong", value=0.9), "right": lambda: toy("right", value=0.502)}
    case = toy_benchmark(variants, ours=make)
    _, note, forward, _ = events(replace(case, precision="tf32"), memory=False)
    assert note == Note("toy 2×3 in tf32: wrong is left out, its forward is off by 4.0e-01 from float64.")
    assert (forward.variant, forward.ours.error) == ("torch right", pytest.approx(0.001))
    assert set(forward.variants) == {"right"}
    _, note, difference = events(replace(case, precision="float16"), memory=False)
    assert note.sentence.startswith("toy 2×3 in float16: wrong is left out")
    assert isinstance(difference, Mismatch)
    sentence = "toy 2×3 in float16 is not timed: forward is off by 1.0e-01 from float64 beside right."
    assert difference.sentence == sentence


def test_what_cannot_run_costs_the_other_cases_nothing(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    def fail(ops: Any, precision: str, *, exact: bool = False) -> Any:
        raise MemoryError("out of memory: 80 GB")

    variants = {"plain": lambda: toy("theirs")}
    _, difference, _, forward, _ = events(toy_benchmark(variants, ours=fail), toy_benchmark(variants), memory=False)
    assert difference == Mismatch("toy 2×3 is not timed: it cannot run: out of memory: 80 GB")
    assert isinstance(forward, Row)


def test_without_a_peer_float64_alone_decides(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    def ours(ops: Any, precision: str, *, exact: bool = False) -> Any:
        return toy(value=0.5 if exact else 0.52)

    cases = [replace(toy_benchmark({}, ours=ours), precision=each) for each in ("float16", "bfloat16")]
    found = events(*cases, memory=False)
    assert found[1] == Mismatch("toy 2×3 in float16 is not timed: forward is off by 2.0e-02 from float64.")
    assert (found[3].ours.error, found[3].variant) == (pytest.approx(0.02), None)


def test_what_nothing_can_run_on_ends_it(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    cuda.share_a_stream = lambda: False
    with pytest.raises(BackendError, match="different streams"):
        events(toy_benchmark({"plain": lambda: toy("theirs")}))


def test_the_memory_of_a_variant_is_that_of_the_precision(cuda: Any, toy: Any, toy_benchmark: Any) -> None:
    in_float32 = {"plain": 8 * 10**9}  # 5 GB are free
    case = toy_benchmark({"plain": lambda: toy("theirs")}, variant_bytes=in_float32)
    _, note, *_ = events(case, memory=False)
    assert note.sentence == "toy 2×3: plain is left out, it needs about 8 GB of memory and 5 are free."
    _, forward, _ = events(replace(case, precision="float16"), memory=False)
    assert forward.variant == "torch plain"


def test_one_clock_times_both_implementations_or_none(cuda: Any) -> None:
    assert type(meter_of(get_backend("numpy"), "torch")) is Meter
    assert isinstance(meter_of(Card(), "torch"), CudaMeter)
    cuda.share_a_stream = lambda: False
    assert isinstance(meter_of(Card(), "reference"), CudaMeter)
    with pytest.raises(BackendError, match="queue on different streams"):
        meter_of(Card(), "torch")


def test_the_reference_has_no_memory_on_a_card(cuda: Any) -> None:
    row = next(event for event in events(attention(), baseline="reference") if isinstance(event, Row))
    assert row.ours.extra_bytes > 0
    assert (row.variant, row.baseline.extra_bytes) == ("reference", None)


def test_passes_are_queued_in_order_and_the_least_time_counts(toy: Any, log: Any) -> None:
    times = iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0])

    def queue(function: Callable[[], None]) -> float:
        function()
        return next(times)

    assert until_queued(toy(), ["forward", "backward"], queue) == {"forward": 2.0, "backward": 1.0}
    assert log == [("ours", "forward"), ("ours", "backward")] * 3


def test_the_suite_of_a_gpu_has_every_precision_of_every_case() -> None:
    planned = plan("gpu", backend="cupy", precisions=["float32", "float16"])
    assert [(case.title, case.precision) for case in planned.benchmarks] == [
        (title, precision)
        for title in (
            "position_attention N=9216 64/512", "position_attention N=65536 64/512", "DANet-ResNet50 2×768×768",
        )
        for precision in ("float32", "float16")
    ]  # fmt: skip
    assert planned.benchmarks[0].passes == ["forward", "forward+backward"]
    operations = planned.benchmarks[0].operations()
    assert operations["forward"] == 2 * 9216**2 * (64 + 512)


def test_a_backend_has_the_precisions_that_it_can_run(cuda: Any) -> None:
    assert precisions_of("numpy") == ["float32"]
    assert precisions_of("cupy") == ["float32", "tf32", "float16", "bfloat16"]
    assert precisions_of("cupy", ["tf32", "float16", "tf32"]) == ["tf32", "float16"]
    with pytest.raises(BackendError, match="tf32"):
        precisions_of("numpy", ["tf32"])


def test_the_machine_of_a_gpu(cuda: Any) -> None:
    machine = examine("cupy:0", ["float32", "float16"], commit="abc1234")
    assert machine.peaks == {"float32": 4000.0, "float16": 2000.0}
    assert (machine.machine["device"], machine.commit, machine.changed) == ("Toy", "abc1234", None)
    assert machine.versions["cupy"] == "14"


def test_exactly_is_in_float64_from_the_weights_of_float32() -> None:
    case = network_benchmark("gpu", "small", SMALL, (1, 33, 33))
    ops = get_backend("reference")
    ours, exact = case.ours(ops, "float32"), case.ours(ops, "float16", exact=True)
    for implementation in (ours, exact):
        run_once(implementation)
    assert {value.dtype.name for value in exact.results().values()} == {"float64"}
    errors = networks_errors(ours.results(), exact.results())
    assert 0 < errors["infer"] < 1e-4
    assert 0 < errors["train"] < 0.05
    halved = {name: 0.5 * value for name, value in ours.results().items()}
    wrong = networks_errors(halved, exact.results())
    assert wrong == pytest.approx({"train": 0.5, "infer": 0.5}, rel=0.1)
    assert too_far(wrong, errors, case.tolerances, "float32") == "train is off by 5.0e-01 from float64"
    del halved["d head.classifier.weight"]
    assert networks_errors(halved, exact.results())["train"] == np.inf


def test_a_step_with_an_overflow_changes_nothing_but_the_gradients() -> None:
    steps = BackendNetwork(NetworkSetup(SMALL, (1, 33, 33)), ["train"], get_backend("reference"))
    steps.scale = np.inf  # as if the loss had been scaled too far
    before = {name: value.copy() for name, value in steps.params.items()}
    with np.errstate(all="ignore"):
        steps.train()
    assert not np.isfinite(steps.gradients["head.classifier.weight"]).all()
    assert all((steps.params[name] == value).all() for name, value in before.items())


@pytest.mark.slow
@pytest.mark.torch
def test_pytorch_s_variants_on_a_gpu_agree(torch: Any) -> None:
    """On the CPU, which can run them, too."""
    from segattn_cli.benchmarking.baselines import torch_danet

    trial = NetworkSetup(SMALL, (2, 49, 65))

    def build(layout: str, attention: str, passes: Any = ("train", "infer"), **how: bool) -> Any:
        network = torch_danet.DANet("resnet18", 5, attention=attention)
        network.load(trial.params())
        numbers = trial.images(), trial.labels(), passes
        return torch_danet.TorchNetwork(network, layout, *numbers, precision=precision, **how)

    names, results = {}, {}
    for precision in ("float32", "tf32", "bfloat16"):
        variants = dict(torch_danet._variants_on_a_gpu(build, ("train", "infer"), precision))
        names[precision] = list(variants)
        for name in variants if precision != "tf32" else ():
            implementation = variants[name]()
            run_once(implementation)
            results[precision, name] = implementation.results()
    assert names == {
        "float32": ["contiguous", "channels-last", "channels-last folded"],
        "tf32": ["channels-last", "channels-last folded"],
        "bfloat16": [
            "channels-last autocast", "channels-last bfloat16", "channels-last bfloat16 folded",
            "channels-last bfloat16 split sdpa", "channels-last bfloat16 split sdpa folded",
        ],
    }  # fmt: skip
    exact = results["float32", "contiguous"]
    for (precision, name), found in results.items():
        assert ("loss" in found) == ("folded" not in name)
        errors = networks_errors(found, exact)
        assert errors["infer"] < (1e-4 if precision == "float32" else 0.1), name
        assert errors.get("train", 0) < (0.01 if precision == "float32" else 0.7), name
        if precision == "bfloat16":
            assert errors["infer"] > 1e-3
            assert found["scores"].dtype == "bfloat16"


@pytest.mark.torch
def test_pytorch_s_attentions_on_a_gpu_agree_where_they_run(torch: Any) -> None:
    from segattn_cli.benchmarking.baselines.torch_ops import (
        CUDA_POSITION_ATTENTIONS,
        position_attention,
        position_attention_split_sdpa,
    )

    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 30, width, generator=generator) for width in (4, 4, 12))
    wanted = position_attention(query, key, value)
    assert (position_attention_split_sdpa(query, key, value) - wanted).abs().max() < 1e-5
    able = []
    for name, attend in CUDA_POSITION_ATTENTIONS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on why a kernel does not fit
            try:
                found = attend(query, key, value)
            except RuntimeError:
                continue
        assert (found - wanted).abs().max() < 1e-5, name
        able.append(name)
    assert {"plain", "sdpa math"} <= set(able)
    assert "sdpa cudnn" not in able  # a kernel that was asked for is not replaced in silence


@pytest.mark.slow
@pytest.mark.torch
def test_a_scaled_loss_takes_the_same_step(torch: Any) -> None:
    from segattn_cli.benchmarking.baselines import torch_danet

    trial = NetworkSetup(SMALL, (2, 33, 33))
    losses = {}
    for precision in ("float32", "float16"):
        network = torch_danet.DANet("resnet18", 5)
        network.load(trial.params())
        implementation = torch_danet.TorchNetwork(
            network, "channels-last", trial.images(), trial.labels(), ("train",), precision=precision
        )
        losses[precision] = []
        for _ in range(3):
            implementation.train()
            losses[precision].append(float(implementation.results()["loss"]))
    falls = {precision: first - last for precision, (first, _, last) in losses.items()}
    assert falls["float16"] == pytest.approx(falls["float32"], rel=0.1)
    assert falls["float32"] > 0.01


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``segattn_cli.benchmarking.cuda`` over a CuPy that has a pool and a clock, and no device."""

    class Event:
        def record(self) -> None:
            self.at = next(fake.clock)

        def synchronize(self) -> None: ...

    class Pool:
        def __init__(self, used: int = 0, total: int = 0) -> None:
            self.used_bytes, self.total_bytes = lambda: used, lambda: total
            self.malloc, self.free_all_blocks = "malloc", lambda: None

    class Allocator:
        def __init__(self, malloc: str) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    fake: Any = ModuleType("cupy")
    fake.clock = iter([10.0, 12.5])  # milliseconds
    fake.__version__ = "14.2.0"
    fake.get_default_memory_pool = lambda: Pool(used=300)
    properties = {"name": b"Toy", "major": 9, "minor": 0, "totalGlobalMem": 80 * 10**9}
    fake.cuda = SimpleNamespace(
        Event=Event, Device=lambda: SimpleNamespace(synchronize=lambda: None), MemoryPool=lambda: Pool(total=500),
        using_allocator=Allocator, get_elapsed_time=lambda start, end: end.at - start.at, get_device_id=lambda: 0,
        runtime=SimpleNamespace(
            getDeviceProperties=lambda device: properties, driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13020, memGetInfo=lambda: (70, 80),
        ),
    )  # fmt: skip
    engine: Any = ModuleType("backends.cupy.conv2d")
    engine.engine = lambda: "products"
    gemm: Any = ModuleType("backends.cupy.gemm")
    gemm.gemm = None
    package: Any = ModuleType("backends.cupy")
    package.__path__ = []
    modules = {
        "cupy": fake, "backends.cupy": package, "backends.cupy.conv2d": engine, "backends.cupy.gemm": gemm,
    }  # fmt: skip
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "segattn_cli.benchmarking.cuda", raising=False)
    yield importlib.import_module("segattn_cli.benchmarking.cuda")
    sys.modules.pop("segattn_cli.benchmarking.cuda", None)


def test_the_clock_and_the_memory_of_a_card(card: Any) -> None:
    calls: list[str] = []
    assert card.seconds(lambda: calls.append("timed")) == pytest.approx(2.5e-3)
    assert card.queue_seconds(lambda: time.sleep(0.01)) >= 0.01
    assert card.our_peak(lambda: calls.append("measured")) == (500, 800)
    assert calls == ["timed", "measured"]
    assert card.free_bytes() == 70


def test_what_is_said_about_a_card(card: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n")
    monkeypatch.setattr(card, "Path", lambda _: path)
    assert card.describe() == {
        "device": "Toy", "compute capability": "9.0", "device memory, GB": 80.0, "driver": "580.65.06",
        "CUDA of the driver": "13.0", "CUDA runtime": "13.2", "convolutions": "products",
    }  # fmt: skip
    monkeypatch.setattr(card, "Path", lambda _: tmp_path / "missing")
    assert card.describe()["driver"] == "unknown"
    assert card.versions()["cupy"] == "14.2.0"
