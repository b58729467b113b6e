"""Who takes part: a backend of ours, and the ways of its peer."""

from __future__ import annotations

import shutil
from functools import partial
from importlib.util import find_spec

from backends import BackendError, get_backend
from backends.contract import Ops
from backends.numpy.threads import thread_count
from segattn_cli.benchmarking.cases import Case, Sides

COMPILERS = ("g++", "clang++", "cl")
PEERS = ("torch", "reference")


def peer_sides(case: Case, against: str, *, compiled: bool = False) -> Sides:
    """Every way in which the peer ``against`` can do ``case``."""
    if against == "reference":
        return [("reference", partial(case.ours, get_backend("reference")))]
    return case.torch(compiled=compiled)


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
    if ops.name == "cupy":
        raise BackendError("PyTorch is timed on the CPU only: compare cupy with --against reference.")
    import torch

    torch.set_num_threads(thread_count())
