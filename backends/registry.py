"""Which backends there are, and how each is found; nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from contextlib import suppress
from difflib import get_close_matches
from typing import cast

from backends.contract import Ops

#: Name → module. ``auto`` is no backend of its own: it chooses one of these.
BACKENDS = {
    "reference": "backends.reference",
    "numpy": "backends.numpy",
    "numba": "backends.numba",
    "cupy": "backends.cupy",
}


class BackendError(Exception):
    """A backend that is unknown or cannot run on this machine; the message says what to do."""


def get_backend(name: str = "auto") -> Ops:
    """Return the backend ``name``: ``reference``, ``numpy``, ``numba``, ``cupy``, or ``auto``.

    ``auto`` takes ``cupy`` where a device answers, else ``numba`` where that is installed, else ``numpy``; the
    ``name`` of what comes back says which. Raises :class:`BackendError` for an unknown name and for a backend that
    this machine cannot run.

    >>> get_backend("reference").name
    'reference'
    """
    if name == "auto":
        for preferred in ("cupy", "numba"):
            with suppress(BackendError):
                return get_backend(preferred)
        return get_backend("numpy")
    if name not in BACKENDS:
        near = get_close_matches(name, [*BACKENDS, "auto"], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BackendError(f"Unknown backend {name!r}: choose from {', '.join([*BACKENDS, 'auto'])}.{hint}")
    return cast(Ops, importlib.import_module(BACKENDS[name]))
