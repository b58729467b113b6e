"""The lines of ``reference/`` that compute what a page shows, as they stand in the installed source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from reference.ops import channel_attention, gated_residual, position_attention, scale_fusion


class Excerpt(NamedTuple):
    """Some lines of a file."""

    file: str  # below the folder that holds reference/
    line: int  # the number of the first
    code: str


def excerpt(function: Callable[..., Any], first: str, last: str) -> Excerpt:
    """The lines of ``function`` from the one that begins with ``first`` to the one that begins with ``last``.

    Raises:
        ValueError: where there are no such lines any more.

    >>> excerpt(gated_residual, "y = ", "y = ").code
    'y = x + gate * update'
    """
    lines, start = inspect.getsourcelines(function)
    stripped = [line.strip() for line in lines]
    begin = next((n for n, line in enumerate(stripped) if line.startswith(first)), None)
    end = next((n for n, line in enumerate(stripped) if line.startswith(last)), None)
    if begin is None or end is None:
        raise ValueError(f"{function.__name__} has no lines from {first!r} to {last!r}.")
    path = Path(inspect.getfile(function))
    return Excerpt("/".join(path.parts[-3:]), start + begin, "\n".join(stripped[begin : end + 1]))


def excerpts() -> dict[str, Excerpt]:
    """What each view of the page quotes."""
    return {
        "position": excerpt(position_attention, "energy = ", "y = "),
        "channel": excerpt(channel_attention, "energy = ", "y = "),
        "gate": excerpt(gated_residual, "y = ", "y = "),
        "scales": excerpt(scale_fusion, "weights, ", "y = "),
    }
