"""Benchmarks that cost nothing: implementations that log their calls and take seconds of a clock of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from segattn_cli.benchmarking.agreement import OP_ERRORS, ops_difference
from segattn_cli.benchmarking.benchmark import Benchmark

Log = list[tuple[str, str]]


class Clock:
    """Goes on by what toys take, and a little whenever it is read, so that waiting for a time comes to an end."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        self.now += 1e-5
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Toy:
    """An implementation that writes (name, pass) into a log, takes seconds of the clock, and computes ``value``."""

    def __init__(self, name: str, log: Log, clock: Clock, seconds: dict[str, float], value: float) -> None:
        self.value = value

        def pass_of(what: str, duration: float) -> Callable[[], None]:
            def call() -> None:
                log.append((name, what))
                clock.sleep(duration)

            return call

        self.passes = {what: pass_of(what, duration) for what, duration in seconds.items()}

    def results(self) -> list[np.ndarray]:
        return [np.array([self.value, 1.0])]


@pytest.fixture
def torch() -> Iterator[Any]:
    """On one thread: on small maps, more only wait for each other."""
    module = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture
def toy(log: Log, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Toy]:
    """``toy(name, seconds, value)``: a side on a clock that does not depend on the machine."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock.read)

    def make(name: str = "ours", seconds: dict[str, float] | None = None, value: float = 0.5) -> Toy:
        return Toy(name, log, clock, seconds or {"forward": 0.0, "backward": 0.0}, value)

    return make


@pytest.fixture
def toy_benchmark(toy: Callable[..., Toy]) -> Callable[..., Benchmark]:
    """``toy_benchmark(variants)``: a benchmark whose baseline has these variants, as callables that make them."""

    def make(
        variants: dict[str, Callable[[], Any]], *, groups: Any = (("forward", "backward"),), **more: Any
    ) -> Benchmark:
        return Benchmark(
            more.pop("suite", "ops"), more.pop("subject", "toy"), "2×3", groups,
            operations=lambda: {"forward": 2_000_000, "backward": None},
            ours=more.pop("ours", lambda ops, precision, exact=False: toy()),
            torch=lambda **setting: list(variants.items()),
            difference=lambda ours, theirs: ops_difference(["y"], ours, theirs),
            errors=lambda results, exact: dict.fromkeys(
                ("forward", "backward"), float(abs(results[0] - exact[0]).max())
            ),
            tolerances=dict.fromkeys(("forward", "backward"), OP_ERRORS),
            **more,
        )  # fmt: skip

    return make
