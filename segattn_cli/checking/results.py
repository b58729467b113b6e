"""One line of the cross-check: what was compared, and the largest differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backends.tolerances import Comparison


@dataclass(frozen=True)
class CheckResult:
    """One subject in one direction, dtype and case; several tensors may stand behind it.

    Each of the three errors is the largest of all these tensors; :mod:`backends.tolerances` defines them.
    """

    subject: str  # an op, or a network
    direction: str  # "forward" or "backward"
    dtype: str
    case: str
    max_abs: float
    max_rel: float
    ulp: float
    tolerance: float
    passed: bool
    first_divergence: str | None  # the first tensor, in the order of computation, that disagrees
    reason: str = ""  # what is wrong with that tensor

    def as_json(self) -> dict[str, Any]:
        """The values for JSON; an infinite error, where nothing could be compared, is null."""
        values = {name: value for name, value in vars(self).items() if name != "reason"}
        return {name: None if value == math.inf else value for name, value in values.items()}


def summarise(
    subject: str, case: str, dtype: str, tensors: list[tuple[str, str, Comparison]]
) -> Iterator[CheckResult]:
    """One result for each direction in ``tensors``, which are (direction, name, comparison) in order."""
    for direction in ("forward", "backward"):
        compared = [(name, comparison) for where, name, comparison in tensors if where == direction]
        if not compared:
            continue
        comparisons = [comparison for _, comparison in compared]
        failed = next((each for each in compared if not each[1].passed), None)
        yield CheckResult(
            subject, direction, dtype, case,
            max_abs=max(each.max_abs for each in comparisons),
            max_rel=max(each.max_rel for each in comparisons),
            ulp=max(each.ulp for each in comparisons),
            tolerance=comparisons[0].tolerance,
            passed=failed is None,
            first_divergence=failed[0] if failed else None,
            reason=failed[1].reason if failed else "",
        )
