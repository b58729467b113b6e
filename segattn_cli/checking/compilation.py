"""Compile the loops of the backend ``numba`` in several processes, before they are needed one after the other."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import get_backend
from segattn_cli.checking.cases import cases

#: What networks and the default training compute: first what takes longest to compile. An op that shares loops with
#: another one comes later than that, since of two processes that need a loop at the same time, one waits.
COMMON = (
    "conv2d", "position_attention", "softmax_cross_entropy", "conv2d_relu", "batch_norm_relu", "scale_fusion",
    "resize_bilinear", "gated_residual", "sgd_update", "relu", "linear", "channel_attention", "batch_norm",
)  # fmt: skip
#: What some networks, losses and optimisers compute besides.
RARE = ("lovasz_softmax", "softmax_dice", "softmax_focal", "max_pool2d", "hard_pixels", "adamw_update")


@dataclass(frozen=True)
class Compiled:
    """The loops of one more op are stored."""

    done: int
    total: int
    op: str


def compile_loops(ops: Sequence[str], processes: int) -> Iterator[Compiled]:
    """Compile and store the loops of ``ops``, forward and backward, in float32; those that are stored are loaded.

    Raises :class:`OSError` or :class:`concurrent.futures.BrokenExecutor` where processes cannot be started or
    are killed.
    """
    context = multiprocessing.get_context("spawn")  # a fork would have locks of threads that do not exist in it
    with ProcessPoolExecutor(min(processes, len(ops)), context, _prepare) as pool:
        try:
            waiting = {pool.submit(_call, op): op for op in ops}
            for done, future in enumerate(as_completed(waiting), start=1):
                future.result()
                yield Compiled(done, len(ops), waiting[future])
        except BaseException:  # also when nobody wants the rest
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _prepare() -> None:
    """Leave Ctrl-C to the process that started this one, end with it, and collect no garbage: there is little."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.disable()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(op: str) -> None:
    """Call an op, and its backward, in the cases of the cross-check."""
    numba: Any = get_backend("numba")
    values = np.ones(3, np.float32)
    if op == "sgd_update":
        _call_update(numba.sgd_update, 1, momentum=0.9)
    elif op == "adamw_update":
        _call_update(numba.adamw_update, 2, np.zeros(()), betas=(0.9, 0.999), epsilon=1e-8)
    elif op == "hard_pixels":
        numba.hard_pixels(values.reshape(1, 3), np.zeros(1, np.uint8), threshold=0.7, least=0.5)
    else:
        for case in cases(op):
            if case.layout == "plain":
                options = {name: _float32(value) for name, value in case.options.items()}
                with np.errstate(all="ignore"):
                    y, cache = getattr(numba, op)(*map(_float32, case.inputs), **options)
                    getattr(numba, f"{op}_backward")(np.ones_like(y)[()], cache)


def _call_update(update: Any, states: int, *steps: np.ndarray, **options: Any) -> None:
    """Update a parameter that is large enough for the threads."""
    arrays = [[np.zeros(1 << 20, np.float32)] for _ in range(states + 2)]
    update(*arrays[:-1], *steps, arrays[-1], rates=[0.1], decays=[0.0], **options)


def _float32(x: Any) -> Any:
    return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x


