"""The cross-check: does a backend compute what the reference computes, and where do they first differ?

``plan`` says what will be compared, ``run`` compares and yields one :class:`CheckResult` after the other.
"""

from __future__ import annotations

from segattn_cli.checking.crosscheck import DTYPES, GPU_DTYPES, Plan, plan, prepare, run
from segattn_cli.checking.results import CheckResult

__all__ = ["DTYPES", "GPU_DTYPES", "CheckResult", "Plan", "plan", "prepare", "run"]
