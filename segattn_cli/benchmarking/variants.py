"""Who takes part: a backend of ours, and the ways of its peer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

from backends import BackendError, get_backend
from backends.contract import PRECISIONS, Ops
from backends.numpy.threads import thread_count
from segattn_cli.benchmarking.benchmark import Benchmark, Variants

COMPILERS = ("g++", "clang++", "cl")
PEERS = ("torch", "reference")


def peer_sides(case: Benchmark, against: str, *, device: str = "cpu", compiled: bool | None = None) -> Variants:
    """Every way in which the peer ``against`` can do ``case``; the reference does it in float32."""
    if against == "reference":
        return [("reference", partial(case.ours, get_backend("reference"), "float32"))]
    return case.torch(device=device, precision=case.precision, compiled=compiled)


def precisions_of(backend: str, asked: Sequence[str] = ()) -> list[str]:
    """The precisions ``asked`` for, or all that ``backend`` has here.

    Raises :class:`BackendError` for one that it has not.

    >>> precisions_of("numpy")
    ['float32']
    """
    if asked:
        for precision in asked:
            get_backend(backend, precision)
        return list(dict.fromkeys(asked))
    found = []
    for precision in PRECISIONS:
        with suppress(BackendError):
            get_backend(backend, precision)
            found.append(precision)
    return found


def require_compiler() -> None:
    """Raise :class:`BackendError` where torch.compile has no C++ compiler to call."""
    if not any(map(shutil.which, COMPILERS)):
        raise BackendError(f"torch.compile needs a C++ compiler ({', '.join(COMPILERS)}): leave out --compile.")


def has_torch() -> bool:
    return find_spec("torch") is not None


def require_peer(against: str, ops: Ops) -> None:
    """Raise :class:`BackendError` where the peer is not there or cannot be compared with; set its threads."""
    if against != "torch":
        return
    if not has_torch():
        raise BackendError("PyTorch is not installed: pip install torch, or compare with --against reference.")
    import torch

    torch.set_num_threads(thread_count())
    if ops.name == "cupy" and not torch.cuda.is_available():
        raise BackendError(
            "This PyTorch finds no GPU: install a CUDA build of it, or compare with --against reference."
        )
