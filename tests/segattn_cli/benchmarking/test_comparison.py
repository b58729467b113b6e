"""What is planned, and the events of a run, on cases that cost nothing."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from segattn_cli.benchmarking import SUITES, BenchmarkPlan, Mismatch, Note, Row, Started, plan, run
from segattn_cli.benchmarking.peak_memory import Answer, MeasurementError, Peak
from segattn_cli.errors import UsageError

ENGINE = importlib.import_module("segattn_cli.benchmarking.comparison")  # the package has a function of that name
METER = importlib.import_module("segattn_cli.benchmarking.meter")
CONTRACT = {
    "subject", "work", "shape", "dtype", "seconds", "gflops", "peak_share", "extra_bytes", "peer", "peer_seconds",
    "peer_extra_bytes",
}  # fmt: skip


def events(*cases: Any, **options: Any) -> list[Any]:
    options = {"backend": "reference", "repeat": 2, "memory": False} | options
    return list(run(BenchmarkPlan(cases, **options), {"float32": 100.0}))


def rows(*cases: Any, **options: Any) -> list[Row]:
    return [event for event in events(*cases, **options) if isinstance(event, Row)]


def test_a_row_for_each_pass_with_the_keys_of_the_contract(toy, toy_benchmark) -> None:
    found = events(toy_benchmark({"plain": lambda: toy("theirs")}))
    started, forward, backward = found
    assert (started.done, started.total, started.benchmark.title) == (0, 1, "toy 2×3")
    assert [forward.pass_, backward.pass_] == ["forward", "backward"]
    assert set(forward.as_json()) >= CONTRACT
    assert json.loads(json.dumps(forward.as_json(), allow_nan=False))["peer"] == "torch plain"
    assert forward.gflops == pytest.approx(2e6 / forward.ours.seconds / 1e9)
    assert forward.peak_fraction == pytest.approx(forward.gflops / 100)
    assert backward.gflops is None
    assert backward.peak_fraction is None
    assert forward.ratio == forward.ours.seconds / forward.baseline.seconds
    assert forward.ours.extra_bytes is None  # memory was not asked for
    assert forward.rounds == 2


def test_the_fastest_variant_is_the_baseline(toy, toy_benchmark) -> None:
    variants = {
        "slow": lambda: toy("slow", {"forward": 0.01, "backward": 0.01}),
        "fast": lambda: toy("fast", {"forward": 0.004, "backward": 0.0}),
        "fast forward only": lambda: toy("half", {"forward": 0.0, "backward": 0.03}),
    }
    assert {row.variant for row in rows(toy_benchmark(variants))} == {"torch fast"}


def test_passes_of_different_groups_may_have_different_variants(toy, toy_benchmark) -> None:
    variants = {
        "a": lambda: toy("a", {"forward": 0.01, "backward": 0.0}),
        "b": lambda: toy("b", {"forward": 0.0, "backward": 0.01}),
    }
    found = rows(toy_benchmark(variants, groups=(("forward",), ("backward",))))
    assert [row.variant for row in found] == ["torch b", "torch a"]


def test_a_wrong_op_is_found_and_not_timed(toy, toy_benchmark, log) -> None:
    case = toy_benchmark({"plain": lambda: toy("theirs")}, ours=lambda ops, precision: toy("ours", value=0.7))
    _, difference = events(case)
    assert isinstance(difference, Mismatch)
    assert difference.sentence.startswith("toy 2×3 is not timed: y is off by 2.0e-01 of its largest value")
    assert log.count(("ours", "forward")) == 1


def test_the_other_cases_go_on_after_a_difference(toy, toy_benchmark) -> None:
    variants = {"plain": lambda: toy("theirs")}
    found = events(toy_benchmark(variants, ours=lambda ops, precision: toy(value=0.7)), toy_benchmark(variants))
    assert [type(event) for event in found] == [Started, Mismatch, Started, Row, Row]


def test_a_variant_that_cannot_run_is_left_out_with_a_note(toy, toy_benchmark) -> None:
    def broken() -> Any:
        raise RuntimeError("no kernel\nand a long trace")

    _, note, forward, _ = events(toy_benchmark({"broken": broken, "plain": lambda: toy("theirs")}))
    assert note == Note("toy 2×3: broken cannot run: no kernel")
    assert forward.variant == "torch plain"


def test_a_variant_that_does_not_fit_into_memory_is_left_out_with_a_note(toy, toy_benchmark, monkeypatch) -> None:
    monkeypatch.setattr(METER, "gigabytes", lambda entry: 4.0)
    case = toy_benchmark({"plain": lambda: toy("theirs")}, variant_bytes={"plain": 5 * 10**9})
    _, note, forward, _ = events(case)
    assert note.sentence == "toy 2×3: plain is left out, it needs about 5 GB of memory and 4 are free."
    assert (forward.variant, forward.baseline, forward.ratio) == (None, None, None)
    assert forward.ours.seconds >= 0


def test_the_reference_can_be_the_baseline(toy, toy_benchmark, log) -> None:
    found = rows(toy_benchmark({}), baseline="reference")
    assert {row.variant for row in found} == {"reference"}
    assert log.count(("ours", "forward")) > 4  # both implementations are made by the case


def test_peaks_stand_beside_times(toy, toy_benchmark, monkeypatch) -> None:
    asked = []

    def measure(request: Any) -> Answer:
        asked.append((request.baseline, request.variant))
        size = 7 if request.baseline else 5
        return Answer({work: Peak(size, 100 * size, 1.0) for work in request.benchmark.passes}, {})

    monkeypatch.setattr(METER, "measure_afresh", measure)
    forward, _ = rows(toy_benchmark({"plain": lambda: toy("theirs")}), memory=True)
    assert asked == [("", ""), ("torch", "plain")]
    assert (forward.ours.extra_bytes, forward.baseline.extra_bytes) == (5, 7)
    assert (forward.ours.process_bytes, forward.baseline.process_bytes) == (500, 700)


def test_where_memory_cannot_be_measured_times_are_kept(toy, toy_benchmark, monkeypatch) -> None:
    def fail(request: Any) -> Answer:
        raise MeasurementError("its process ended with -9")

    monkeypatch.setattr(METER, "measure_afresh", fail)
    _, note, forward, _ = events(toy_benchmark({"plain": lambda: toy("theirs")}), memory=True)
    assert "its process ended with -9" in note.sentence
    assert forward.ours.seconds >= 0
    assert forward.ours.extra_bytes is None


def test_a_large_case_runs_once_on_each_implementation(toy_benchmark, monkeypatch) -> None:
    seconds = {"": 2.0, "slow": 9.0, "fast": 4.0}

    def measure(request: Any) -> Answer:
        peak = Peak(10, 20, seconds[request.variant])
        return Answer(dict.fromkeys(request.benchmark.passes, peak), {})

    monkeypatch.setattr(ENGINE, "measure_afresh", measure)
    case = toy_benchmark({"slow": None, "fast": None}, once=True)
    object.__setattr__(case, "difference", lambda ours, theirs: "")
    forward, _ = rows(case, memory=True)
    assert (forward.ours.seconds, forward.variant, forward.baseline.seconds) == (2.0, "torch fast", 4.0)
    assert (forward.rounds, forward.baseline.process_bytes) == (1, 20)


def test_where_the_first_runs_are_long_they_are_all_there_is(toy, toy_benchmark, log, monkeypatch) -> None:
    monkeypatch.setattr(ENGINE, "LONG", 0.0)
    case = toy_benchmark({"plain": lambda: toy("theirs", {"forward": 0.01, "backward": 0.0})})
    monkeypatch.setattr(ENGINE, "trial", lambda implementation, seconds, clock: seconds)
    forward, _ = rows(case, repeat=None)
    assert log.count(("ours", "forward")) == log.count(("theirs", "forward")) == 1
    assert (forward.rounds, forward.ours.spread) == (1, 0.0)
    assert forward.baseline.seconds >= 0.01
    rows(case, repeat=2)
    assert log.count(("ours", "forward")) >= 4  # what was asked for is done


def test_suites_are_planned_by_name() -> None:
    assert {case.suite for case in plan("networks").benchmarks} == {"networks"}
    of_a_processor = ["ops", "networks", "attention", "memory"]
    assert list(dict.fromkeys(case.suite for case in plan("all").benchmarks)) == of_a_processor
    of_a_gpu = plan("all", backend="cupy:1", memory=False)
    assert {case.suite for case in of_a_gpu.benchmarks} == set(SUITES) - {"memory"}
    assert "memory" not in {case.suite for case in plan("all", memory=False).benchmarks}
    titles = [case.title for case in plan("all").benchmarks]
    assert len(titles) > 45
    assert [case.subject for case in plan("attention", ["N=9216"]).benchmarks] == [
        "position_attention", "channel_attention", "scale_fusion",
    ]  # fmt: skip


def test_a_runtime_is_compared_in_inference_alone() -> None:
    planned = plan("all", baseline="onnxruntime").benchmarks
    assert [case.suite for case in planned] == ["networks", "networks", "networks", "memory"]
    assert {tuple(case.passes) for case in planned} == {("infer",)}
    assert planned[-1].once
    assert set(planned[0].operations()) == {"infer"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"suite": "op"}, "There is no suite 'op': choose from ops, networks, attention, memory, gpu, busy, all."),
        ({"baseline": "jax"}, "There is no baseline 'jax': choose from torch, reference, onnxruntime, openvino."),
        ({"suite": "ops", "only": ["no such"]}, "The suite ops has no case with 'no such' in its title"),
        ({"suite": "ops", "baseline": "openvino"}, "openvino runs whole networks: choose the suite"),
        ({"suite": "memory", "memory": False}, "The suite memory has no case that measures no memory"),
    ],
)
def test_what_cannot_be_planned_is_said(arguments, sentence) -> None:
    with pytest.raises(UsageError, match=sentence.replace("?", r"\?")):
        plan(**arguments)
