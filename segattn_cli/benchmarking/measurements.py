"""Measurements of implementations, the rows of a benchmark that hold them, and the events of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from segattn_cli.benchmarking.benchmark import Benchmark


@dataclass(frozen=True)
class Measurement:
    """Time, memory and error of one implementation of a pass; None for what was not measured."""

    seconds: float  # the median of the rounds
    spread: float  # the median distance from it
    extra_bytes: int | None = None  # over what was held before the call, without the results
    process_bytes: int | None = None  # of the whole process
    error: float | None = None  # from float64, of the largest value or of the norm of all gradients
    queue_seconds: float | None = None  # until the host has queued all kernels of a GPU


@dataclass(frozen=True)
class Row:
    """One pass of one benchmark, by our implementation and by the fastest variant of the baseline that runs."""

    suite: str
    subject: str  # an op, or a network
    pass_: str  # forward, backward, train, …
    shape: str
    precision: str
    rounds: int
    ours: Measurement
    gflops: float | None = None
    peak_fraction: float | None = None  # of the GFLOP/s of a matrix product
    variant: str | None = None  # the baseline and which of its variants; None where none could run
    baseline: Measurement | None = None
    variants: Mapping[str, float] = field(default_factory=dict)  # seconds of every variant, from a few tries

    @property
    def dtype(self) -> str:
        """The dtype of the arrays; TF32 is a way to multiply float32."""
        return "float32" if self.precision == "tf32" else self.precision

    @property
    def ratio(self) -> float | None:
        """Our time over the baseline's."""
        return self.ours.seconds / self.baseline.seconds if self.baseline else None

    def as_json(self) -> dict[str, Any]:
        baseline = vars(self.baseline) if self.baseline else dict.fromkeys(vars(self.ours))
        return {
            "suite": self.suite, "subject": self.subject, "work": self.pass_, "shape": self.shape,
            "precision": self.precision, "dtype": self.dtype, "rounds": self.rounds, "gflops": self.gflops,
            "peak_share": self.peak_fraction, **vars(self.ours), "peer": self.variant,
            **{f"peer_{name}": value for name, value in baseline.items()}, "ways": self.variants,
            "ratio": self.ratio,
        }  # fmt: skip


class Started(NamedTuple):
    """A benchmark is about to run."""

    done: int  # before it
    total: int
    benchmark: Benchmark


class Note(NamedTuple):
    """Something was left out; the sentence says why."""

    sentence: str


class Mismatch(NamedTuple):
    """The implementations compute different numbers, or ours fails, so the benchmark was not timed."""

    sentence: str


Event = Started | Row | Note | Mismatch
