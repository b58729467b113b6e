"""The cross-check: does a backend compute what the reference computes, and where do they first part?

``plan`` says what will be compared, ``run`` compares and yields one :class:`Result` after the other.
"""

from __future__ import annotations

from segattn_cli.checking.results import Result
from segattn_cli.checking.run import DTYPES, GPU_DTYPES, Plan, plan, prepare, run

__all__ = ["DTYPES", "GPU_DTYPES", "Plan", "Result", "plan", "prepare", "run"]
