"""The suites by name, and the plan of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from segattn_cli.benchmarking.benchmark import Benchmark
from segattn_cli.benchmarking.network_benchmarks import gpu_network_suite, memory_suite, networks_suite
from segattn_cli.benchmarking.op_benchmarks import attention_suite, gpu_attention_suite, ops_suite
from segattn_cli.benchmarking.variants import BASELINES, RUNTIMES
from segattn_cli.errors import UsageError

SUITES: dict[str, Callable[[], list[Benchmark]]] = {
    "ops": ops_suite,
    "networks": networks_suite,
    "attention": attention_suite,
    "memory": memory_suite,
    "gpu": lambda: [*gpu_attention_suite(), *gpu_network_suite()],
}


#: The suite that is not planned here: it has no baseline (:mod:`segattn_cli.benchmarking.busy`).
BUSY = "busy"


class BenchmarkPlan(NamedTuple):
    """Which benchmarks are timed, against which baseline and how."""

    benchmarks: Sequence[Benchmark]
    backend: str = "numpy"
    baseline: str = "torch"
    repeat: int | None = None  # rounds; None for as many as there is time for
    memory: bool = True  # whether peaks are measured, too
    compiled: bool | None = None  # whether torch.compile is a variant of PyTorch; None: where that is quick


def plan(
    suite: str = "all", only: Sequence[str] = (), *, backend: str = "numpy", baseline: str = "torch",
    precisions: Sequence[str] = ("float32",), repeat: int | None = None, memory: bool = True,
    compiled: bool | None = None,
) -> BenchmarkPlan:
    """The plan of a suite, or of ``all`` that suit the backend; ``only`` keeps titles with one of its texts.

    A baseline that runs exported networks is compared in the inference of networks alone.

    Raises :class:`UsageError` for a name that does not exist, and where no benchmark is left.

    >>> [each.title for each in plan("attention", ["N=2304"]).benchmarks]
    ['position_attention N=2304 64/512', 'channel_attention N=2304 512', 'scale_fusion N=2304 2×19']
    """
    if suite not in (*SUITES, "all"):
        raise UsageError(f"There is no suite {suite!r}: choose from {', '.join(SUITES)}, {BUSY}, all.")
    if baseline not in BASELINES:
        raise UsageError(f"There is no baseline {baseline!r}: choose from {', '.join(BASELINES)}.")
    benchmarks = [each for name, make in SUITES.items() if suite in (name, "all") for each in make()]
    if suite == "all":
        device = "cuda" if backend.startswith("cupy") else "cpu"
        benchmarks = [each for each in benchmarks if each.device in ("", device)]
    if baseline in RUNTIMES:
        benchmarks = [each.inference() for each in benchmarks if each.inference is not None]
        if not benchmarks:
            raise UsageError(f"{baseline} runs whole networks: choose the suite networks or memory.")
    if not memory:
        benchmarks = [each for each in benchmarks if not each.once]
    if only:
        benchmarks = [each for each in benchmarks if any(text in each.title for text in only)]
    if not benchmarks:
        wanted = f" with {' or '.join(map(repr, only))} in its title" if only else " that measures no memory"
        raise UsageError(f"The suite {suite} has no case{wanted}: `segattn bench --list` has all.")
    benchmarks = [replace(each, precision=precision) for each in benchmarks for precision in precisions]
    return BenchmarkPlan(benchmarks, backend, baseline, repeat, memory, compiled)
