"""Ops whose figures nobody may look at inside a step, and that overflow as float16 does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import backends.reference as plain


class Unread(np.ndarray):
    """As an array on a device: operators queue, and whoever asks for a value has to wait, which fails here."""

    def _wait(self, *_: Any) -> Any:
        raise AssertionError("a step waited for the device")

    __bool__ = __float__ = __int__ = __index__ = item = tolist = _wait


def unread(array: Any) -> Any:
    return np.asarray(array).view(Unread)


def seen(array: Any) -> Any:
    """What the device sees, whose ops may look at values."""
    return array.view(np.ndarray) if isinstance(array, Unread) else array


def device_ops(largest: float = np.inf) -> Any:
    """The reference's ops with losses, norms and the scaler's state on a "device".

    A loss that is scaled by more than ``largest`` has infinite gradients.
    """

    def cross_entropy(*args: Any, **options: Any) -> Any:
        loss, cache = plain.softmax_cross_entropy(*args, **options)
        return unread(loss), cache

    def cross_entropy_backward(dloss: Any, cache: Any) -> Any:
        scale = seen(dloss)
        dlogits = plain.softmax_cross_entropy_backward(scale, cache)
        return np.full_like(dlogits, np.inf) if scale > largest else dlogits

    def sgd_update(*args: Any, scale: Any = 1.0, apply: Any = True, **options: Any) -> None:
        plain.sgd_update(*args, scale=seen(scale), apply=seen(apply), **options)

    def adamw_update(params: Any, means: Any, squares: Any, steps: Any, gradients: Any, **options: Any) -> None:
        options |= {name: seen(options[name]) for name in ("scale", "apply") if name in options}
        plain.adamw_update(params, means, squares, seen(steps), gradients, **options)

    def move_towards(*args: Any, apply: Any = True) -> None:
        plain.move_towards(*args, apply=seen(apply))

    return SimpleNamespace(
        **vars(plain) | {
            "asarray": lambda x, dtype=None: unread(x) if np.ndim(x) == 0 else plain.asarray(x, dtype),
            "to_numpy": lambda x: seen(plain.to_numpy(x)),
            "stack": lambda arrays: seen(np.stack(arrays)),
            "softmax_cross_entropy": cross_entropy,
            "softmax_cross_entropy_backward": cross_entropy_backward,
            "sum_of_squares": lambda arrays: unread(plain.sum_of_squares(arrays)),
            "sgd_update": sgd_update,
            "adamw_update": adamw_update,
            "move_towards": move_towards,
        }
    )  # fmt: skip
