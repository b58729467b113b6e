"""The names of the backends; a backend is imported when it is first asked for."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import cast

from backends.contract import PRECISIONS, Ops
from backends.errors import BackendError, NotInstalled, did_you_mean

#: Name → module. ``auto`` chooses one of these.
BACKENDS = {
    "reference": "backends.reference",
    "numpy": "backends.numpy",
    "numba": "backends.numba",
    "cupy": "backends.cupy",
}


def get_backend(name: str = "auto", precision: str = "float32") -> Ops:
    """Return the backend ``name``: ``reference``, ``numpy``, ``numba``, ``cupy``, or ``auto``.

    ``auto`` takes ``cupy`` if a device can be used, else ``numba`` if it is installed, else ``numpy``; the ``name``
    of the result says which, and the log of this module why, where there is a GPU. ``cupy:1`` is the backend on
    the second device.
    ``precision`` is one of :data:`~backends.contract.PRECISIONS`; only ``cupy`` has more than float32. Raises
    :class:`BackendError` for an unknown name and for what this machine cannot run.

    >>> get_backend("reference").name
    'reference'
    """
    if precision not in PRECISIONS:
        raise BackendError(f"Unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}.")
    if precision != "float32" and name.partition(":")[0] in ("auto", "cupy"):
        try:
            return _cupy(name.partition(":")[2], precision)
        except BackendError as error:
            text, advice, _ = str(error).partition(", or choose the backend numpy")
            if not advice:
                raise
            sentence = f"{text}, or leave out {precision}: without a GPU, only float32 is computed."
            raise type(error)(sentence) from None
    if name == "auto":
        return _best()
    name, _, index = name.partition(":")
    if name == "cupy":
        return _cupy(index, precision)
    if name in BACKENDS and index:
        raise BackendError(f"The backend {name} has no devices to choose from: leave out :{index}.")
    if name in BACKENDS and precision != "float32":
        raise BackendError(
            f"The backend {name} computes in float32, not in {precision}, which needs a GPU: choose the backend "
            "cupy, or leave out the precision."
        )
    if name not in BACKENDS:
        known = [*BACKENDS, "auto"]
        raise BackendError(f"Unknown backend {name!r}{did_you_mean(name, known)}: choose from {', '.join(known)}.")
    return cast(Ops, importlib.import_module(BACKENDS[name]))


def _cupy(index: str, precision: str) -> Ops:
    ops = importlib.import_module(BACKENDS["cupy"])
    importlib.import_module("backends.cupy.device").select_device(index, precision)
    return cast(Ops, ops)


def _best() -> Ops:
    """The backend that ``auto`` takes; if CuPy is installed and cannot run, the log says why."""
    reason = ""
    for preferred in ("cupy", "numba", "numpy"):
        try:
            ops = get_backend(preferred)
            break
        except BackendError as error:
            if preferred == "numpy":
                raise
            if preferred == "cupy" and not isinstance(error, NotInstalled):
                reason = f" {error}"
    worth_saying = logging.INFO if reason or ops.name == "cupy" else logging.DEBUG
    _log_once(f"The backend is {ops.name}, by auto.{reason}", worth_saying)
    return ops


@cache
def _log_once(sentence: str, level: int) -> None:
    logging.getLogger(__name__).log(level, sentence)
