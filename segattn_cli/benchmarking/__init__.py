"""The benchmark: how fast is a backend beside PyTorch, or the reference, on the same numbers in the same run?

``plan`` says what will be timed, ``run`` times it and yields one :class:`Row` after the other.
"""

from __future__ import annotations

from segattn_cli.benchmarking.comparison import run
from segattn_cli.benchmarking.measurements import Event, Measurement, Mismatch, Note, Row, Started
from segattn_cli.benchmarking.suites import BUSY, SUITES, BenchmarkPlan, plan
from segattn_cli.benchmarking.variants import precisions_of

__all__ = [
    "BUSY", "SUITES", "BenchmarkPlan", "Event", "Measurement", "Mismatch", "Note", "Row", "Started", "plan",
    "precisions_of", "run",
]  # fmt: skip
