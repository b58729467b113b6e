"""Times of our implementation and of the baseline's, once both have computed the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from backends import BackendError, get_backend
from backends.contract import Ops
from backends.precision import array_dtype
from segattn_cli.benchmarking.agreement import too_far
from segattn_cli.benchmarking.benchmark import Benchmark, Implementation
from segattn_cli.benchmarking.measurements import Event, Measurement, Mismatch, Note, Row, Started
from segattn_cli.benchmarking.meter import Meter, meter_of
from segattn_cli.benchmarking.peak_memory import Answer, MeasurementError, Peak, Request, measure_afresh
from segattn_cli.benchmarking.suites import BenchmarkPlan
from segattn_cli.benchmarking.timing import (
    LONG,
    Seconds,
    Timing,
    alternate,
    run_once,
    timings_once,
    trial,
    until_queued,
)
from segattn_cli.benchmarking.variants import variants_of


def run(plan: BenchmarkPlan, peaks: Mapping[str, float]) -> Iterator[Event]:
    """Time as planned; ``peaks`` are the GFLOP/s of a matrix product by precision.

    Raises :class:`BackendError` where nothing can be timed at all; a benchmark that fails does not stop the others.
    """
    for number, benchmark in enumerate(plan.benchmarks):
        yield Started(number, len(plan.benchmarks), benchmark)
        title = f"{benchmark.title}{_in(benchmark)}"
        try:
            yield from (_run_once if benchmark.once else _run)(benchmark, plan, peaks.get(benchmark.precision))
        except BackendError:
            raise
        except Disagreement as problem:
            yield Mismatch(f"{title} is not timed: {problem}.")
        except Exception as error:
            yield Mismatch(f"{title} is not timed: it cannot run: {_first_line(error)}")


class Disagreement(Exception):
    """Our implementation computes something else; the message says what, and beside which variant."""


class Fastest(NamedTuple):
    """The fastest variant of the baseline for a group of passes, so far."""

    total: float  # seconds of the group
    seconds: Seconds  # by pass
    name: str
    implementation: Implementation
    errors: Mapping[str, float]


def _run(benchmark: Benchmark, plan: BenchmarkPlan, gflops: float | None) -> Iterator[Event]:
    ops = get_backend(plan.backend, benchmark.precision)
    meter = meter_of(ops, plan.baseline)
    exact = _exact(ops, benchmark) if meter.exact else None
    ours, first, results = _start(partial(benchmark.ours, ops, benchmark.precision), meter)
    errors = {} if exact is None else benchmark.errors(results, exact)
    fastest, variants = yield from _choose(benchmark, plan, meter, results, exact, errors)
    del results, exact
    their_first = {name: each.seconds[name] for name, each in fastest.items()}
    theirs = {name: each.implementation for name, each in fastest.items()}
    if plan.repeat is None and sum(first.values()) + sum(their_first.values()) > LONG:
        our_timings, their_timings = timings_once(first), timings_once(their_first)
    else:
        our_timings, their_timings = alternate(ours, theirs, plan.repeat, meter.seconds)
    queued, their_queued = _queued(ours, theirs, meter)
    names = {name: each.name for name, each in fastest.items()}
    their_errors = {name: each.errors[name] for name, each in fastest.items() if name in each.errors}
    del ours, theirs, fastest
    our_peaks, their_peaks = yield from _peaks(benchmark, plan, names, meter)
    for name, operations in benchmark.operations().items():
        our = _measurement(our_timings[name], our_peaks.get(name), errors.get(name), queued.get(name))
        their = None
        if name in their_timings:
            their = _measurement(
                their_timings[name], their_peaks.get(name), their_errors.get(name), their_queued.get(name)
            )
        rounds = our_timings[name].rounds
        row = _row(benchmark, plan, name, operations, gflops, rounds, our, names.get(name), their)
        yield replace(row, variants={each: seconds[name] for each, seconds in variants.items() if name in seconds})


def _choose(
    benchmark: Benchmark, plan: BenchmarkPlan, meter: Meter, results: Any, exact: Any, errors: Mapping[str, float]
) -> Generator[Note, None, tuple[dict[str, Fastest], dict[str, Seconds]]]:
    """The fastest variant of the baseline by pass, and the seconds of all. Raises :class:`Disagreement`."""
    title = f"{benchmark.title}{_in(benchmark)}"
    fastest: dict[str, Fastest] = {}
    variants: dict[str, Seconds] = {}
    for name, make in variants_of(benchmark, plan.baseline, device=meter.device, compiled=plan.compiled):
        if sentence := _too_large(benchmark, name, meter):
            yield Note(sentence)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch's many on a kernel that does not fit: the note says it
                implementation, seconds, theirs = _start(make, meter)
        except Exception as error:  # of many kinds: no memory, no kernel, no compiler
            yield Note(f"{title}: {name} cannot run: {_first_line(error)}")
            continue
        their_errors = {} if exact is None else benchmark.errors(theirs, exact)
        if problem := _difference(benchmark, results, theirs, errors, their_errors):
            raise Disagreement(f"{problem} beside {name}")
        if problem := too_far(their_errors, errors, benchmark.tolerances, benchmark.precision):
            yield Note(f"{title}: {name} is left out, its {problem}.")
            continue
        variants[name] = seconds = trial(implementation, seconds, meter.seconds)
        for group in benchmark.groups:
            if not set(group) <= set(seconds):
                continue
            total = sum(seconds[each] for each in group)
            if group[0] not in fastest or total < fastest[group[0]].total:
                fastest |= dict.fromkeys(group, Fastest(total, seconds, name, implementation, their_errors))
        del implementation, theirs
    if not variants and (problem := too_far(errors, {}, benchmark.tolerances, benchmark.precision)):
        raise Disagreement(problem)
    return fastest, variants


def _exact(ops: Ops, benchmark: Benchmark) -> Any:
    """The results in float64, from the same inputs."""
    implementation = benchmark.ours(ops, benchmark.precision, exact=True)
    run_once(implementation)
    return implementation.results()


def _start(make: Callable[[], Implementation], meter: Meter) -> tuple[Implementation, Seconds, Any]:
    """An implementation after its warm-up, the seconds of its last run, and the results of its first one.

    The first, because the steps of a network train it.
    """
    meter.release()
    implementation = make()
    seconds = run_once(implementation, meter.seconds)
    results = implementation.results()
    for _ in range(meter.warm_up - 1):
        seconds = run_once(implementation, meter.seconds)
    return implementation, seconds, results


def _difference(
    benchmark: Benchmark, ours: Any, theirs: Any, errors: Mapping[str, float], their_errors: Mapping[str, float]
) -> str:
    """What is wrong with our results, or "": beside float64 where that was computed, else beside the baseline's."""
    if errors:
        return too_far(errors, their_errors, benchmark.tolerances, benchmark.precision)
    return benchmark.difference(ours, theirs)


def _queued(ours: Implementation, theirs: Mapping[str, Implementation], meter: Meter) -> tuple[Seconds, Seconds]:
    """The seconds that the host needs to queue each pass; nothing on the host itself."""
    if not meter.queues:
        return {}, {}
    their_queued: Seconds = {}
    for implementation in {id(each): each for each in theirs.values()}.values():
        passes = [name for name, each in theirs.items() if each is implementation]
        their_queued |= until_queued(implementation, passes, meter.queue_seconds)
    return until_queued(ours, ours.passes, meter.queue_seconds), their_queued


def _run_once(benchmark: Benchmark, plan: BenchmarkPlan, gflops: float | None) -> Iterator[Event]:
    """A benchmark too large to alternate: ours and each variant run once, each in a process of its own."""
    ours = measure_afresh(Request(benchmark, plan.backend))
    answers: dict[str, Answer] = {}
    for variant, _ in variants_of(benchmark, plan.baseline, compiled=False):
        try:
            answers[variant] = measure_afresh(Request(benchmark, plan.backend, plan.baseline, variant))
        except MeasurementError as error:
            yield Note(f"{benchmark.title}: {variant} cannot run: {error}")
            continue
        if problem := benchmark.difference(ours.sample, answers[variant].sample):
            raise Disagreement(f"{problem} beside {variant}")
    for name, operations in benchmark.operations().items():
        peaks = {variant: answer.peaks[name] for variant, answer in answers.items()}
        best = min(peaks, key=lambda variant: peaks[variant].seconds, default=None)
        their = _measured_once(peaks[best]) if best else None
        yield _row(benchmark, plan, name, operations, gflops, 1, _measured_once(ours.peaks[name]), best, their)


def _measurement(
    timing: Timing, peak: Peak | None, error: float | None = None, queue_seconds: float | None = None
) -> Measurement:
    extra, process = (peak.extra_bytes, peak.process_bytes) if peak else (None, None)
    return Measurement(timing.seconds, timing.spread, extra, process, error, queue_seconds)


def _measured_once(peak: Peak) -> Measurement:
    return _measurement(Timing.of([peak.seconds]), peak)


def _row(
    benchmark: Benchmark, plan: BenchmarkPlan, pass_: str, operations: int | None, peak_gflops: float | None,
    rounds: int, ours: Measurement, variant: str | None, baseline: Measurement | None,
) -> Row:
    gflops = operations / ours.seconds / 1e9 if operations else None
    return Row(
        benchmark.suite, benchmark.subject, pass_, benchmark.shape, benchmark.precision, rounds, ours,
        gflops=gflops,
        peak_fraction=gflops / peak_gflops if gflops and peak_gflops else None,
        variant=variant if variant in (None, plan.baseline) else f"{plan.baseline} {variant}",
        baseline=baseline,
    )  # fmt: skip


def _peaks(
    benchmark: Benchmark, plan: BenchmarkPlan, variants: Mapping[str, str], meter: Meter
) -> Generator[Note, None, tuple[dict[str, Peak], dict[str, Peak]]]:
    """Our peaks of memory and the baseline's by pass; ``variants`` has the variant of each pass."""
    ours: dict[str, Peak] = {}
    theirs: dict[str, Peak] = {}
    if not plan.memory:
        return ours, theirs
    try:
        meter.release()
        ours = meter.peaks(Request(benchmark, plan.backend))
        for variant in dict.fromkeys(variants.values()):
            peaks = meter.peaks(Request(benchmark, plan.backend, plan.baseline, variant))
            theirs |= {name: peaks[name] for name in variants if variants[name] == variant and name in peaks}
    except Exception as error:  # the times are worth keeping
        title = f"{benchmark.title}{_in(benchmark)}"
        yield Note(f"{title}: the memory could not be measured: {_first_line(error)}.")
    return ours, theirs


def _too_large(benchmark: Benchmark, variant: str, meter: Meter) -> str:
    """A sentence where this variant of the baseline would need more memory than is free; or ""."""
    if variant not in benchmark.variant_bytes:
        return ""
    needed = benchmark.variant_bytes[variant] * array_dtype(benchmark.precision).itemsize / 4
    free = meter.free_bytes()
    if free is None or needed <= free:
        return ""
    return (
        f"{benchmark.title}{_in(benchmark)}: {variant} is left out, it needs about {needed / 1e9:.0f} GB of memory "
        f"and {free / 1e9:.0f} are free."
    )


def _in(benchmark: Benchmark) -> str:
    """The precision, where it is not float32."""
    return "" if benchmark.precision == "float32" else f" in {benchmark.precision}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
