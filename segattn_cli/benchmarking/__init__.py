"""The benchmark: how fast is a backend beside PyTorch, or the reference, on the same numbers in the same run?

``plan`` says what will be timed, ``run`` times it and yields one :class:`Row` after the other.
"""

from __future__ import annotations

from segattn_cli.benchmarking.competitors import precisions_of
from segattn_cli.benchmarking.run import SUITES, Difference, Event, Note, Plan, Row, Started, plan, run

__all__ = ["SUITES", "Difference", "Event", "Note", "Plan", "Row", "Started", "plan", "precisions_of", "run"]
