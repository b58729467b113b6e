"""The errors of a backend that cannot be used, and a hint for names that are misspelt."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BackendError(Exception):
    """The backend is unknown or cannot run on this machine; the message says what to do."""


class NotInstalled(BackendError):
    """The packages that the backend needs are not installed."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The nearest of ``names`` as a hint for a message; empty where none is near.

    >>> did_you_mean("nump", ["numpy", "cupy"]), did_you_mean("torch", ["numpy", "cupy"])
    (' (did you mean numpy?)', '')
    """
    nearest = get_close_matches(name, names, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""
