"""The benchmark: how fast is a backend beside PyTorch, or the reference, on the same numbers in the same run?

``plan`` says what will be timed, ``run`` times it and yields one :class:`Row` after the other.
"""

from __future__ import annotations

from segattn_cli.benchmarking.comparison import (
    SUITES,
    BenchmarkPlan,
    Event,
    Mismatch,
    Note,
    Row,
    Started,
    plan,
    run,
)
from segattn_cli.benchmarking.variants import precisions_of

__all__ = ["SUITES", "BenchmarkPlan", "Event", "Mismatch", "Note", "Row", "Started", "plan", "precisions_of", "run"]
