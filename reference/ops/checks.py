"""The checks that ops share; an :class:`OpError` names the op, what it got and what it wants.

They read ``shape`` and ``dtype`` only, so they work on the arrays of any backend.
"""

from __future__ import annotations

from functools import cache
from numbers import Integral
from typing import Any

import numpy as np

#: The dtypes of 16 bits.
HALVES = ("float16", "bfloat16")


class OpError(ValueError):
    """An argument of an op has a wrong type, shape, dtype or value."""


def check_arrays(op: str, **arrays: tuple[Any, str]) -> None:
    """Check that each array has the axes written beside it, and that all have one floating dtype.

    Beside float16 and bfloat16, vectors (one value a channel) and scalars may be float32. An axis has the same size
    in all arrays and is never empty. ``...`` at the front stands for any number of axes, the same in all arrays. An
    array that is ``None`` was left out by the caller and is skipped.

    >>> import numpy as np
    >>> x, weight = np.zeros((2, 5, 3)), np.zeros((3, 4))
    >>> check_arrays("linear", x=(x, "... Ci"), weight=(weight, "Ci Co"), bias=(None, "Co"))
    >>> check_arrays("linear", x=(x, "... Ci"), weight=(weight.T, "Ci Co"))
    Traceback (most recent call last):
    reference.ops.checks.OpError: linear: weight has shape (4, 3), wants (Ci=3, Co).
    >>> check_arrays("linear", x=(x, "... Ci"), weight=(weight.astype(np.float32), "Ci Co"))
    Traceback (most recent call last):
    reference.ops.checks.OpError: linear: weight is float32, wants float64 as x is.
    """
    given = {name: (array, axes) for name, (array, axes) in arrays.items() if array is not None}
    if not given:
        raise OpError(f"{op}: got no arrays, wants at least one.")
    sizes: dict[str, Any] = {}
    for name, (array, axes) in given.items():
        if not hasattr(array, "shape"):
            raise OpError(f"{op}: {name} is a {type(array).__name__}, wants an array: asarray makes one.")
        if 0 in array.shape:
            raise OpError(f"{op}: {name} is empty, with shape {array.shape}; no axis of it may be 0.")
        own_sizes = _sizes(array.shape, _names(axes))
        if own_sizes is None or any(sizes.get(axis, n) != n for axis, n in own_sizes.items()):
            raise OpError(f"{op}: {name} has shape {array.shape}, wants ({_wanted(axes, sizes)}).")
        sizes |= own_sizes

    (first, (reference, _)), *others = given.items()
    if reference.dtype.kind != "f" and reference.dtype.name != "bfloat16":
        raise OpError(f"{op}: {first} is {reference.dtype}, wants a floating dtype such as float32.")
    half = reference.dtype.name in HALVES
    for name, (array, axes) in others:
        if array.dtype != reference.dtype and not (half and is_vector(axes) and array.dtype == np.float32):
            raise OpError(f"{op}: {name} is {array.dtype}, wants {reference.dtype} as {first} is.")


@cache
def is_vector(axes: str) -> bool:
    """Whether the axes are those of one value a channel, or of a scalar.

    >>> is_vector("C"), is_vector(""), is_vector("..."), is_vector("B N C")
    (True, True, False, False)
    """
    return axes != "..." and len(axes.split()) < 2


@cache
def _names(axes: str) -> list[str]:
    return axes.split()


def _sizes(shape: tuple[int, ...], axes: list[str]) -> dict[str, Any] | None:
    """The size of each axis, or None if the number of axes is wrong."""
    leading = len(shape) - len(axes)
    if axes[:1] == ["..."] and leading >= -1:
        return {"...": shape[: leading + 1], **dict(zip(axes[1:], shape[leading + 1 :], strict=True))}
    return dict(zip(axes, shape, strict=True)) if leading == 0 else None


def _wanted(axes: str, sizes: dict[str, Any]) -> str:
    """The axes, with the sizes that are known: ``B, H, W, Ci=3``."""
    words: list[str] = []
    for axis in axes.split():
        if axis == "..." and axis in sizes:
            words += map(str, sizes[axis])
        else:
            words.append(f"{axis}={sizes[axis]}" if axis in sizes else axis)
    return ", ".join(words)


def check_gradient(op: str, dy: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Check that ``dy`` has the shape and the dtype of the output that it belongs to.

    >>> import numpy as np
    >>> check_gradient("relu_backward", np.zeros((1, 3)), (2, 3), np.dtype("float32"))
    Traceback (most recent call last):
    reference.ops.checks.OpError: relu_backward: dy is float64 of shape (1, 3), wants float32 of shape (2, 3).
    """
    if dy.shape != shape or dy.dtype != dtype:
        raise OpError(f"{op}: dy is {dy.dtype} of shape {dy.shape}, wants {dtype} of shape {shape}.")


def check_integers(op: str, *, at_least: int, **values: Any) -> None:
    """Check options such as stride and padding.

    >>> check_integers("conv2d", at_least=1, stride=2, dilation=0)
    Traceback (most recent call last):
    reference.ops.checks.OpError: conv2d: dilation is 0, wants an integer of at least 1.
    """
    for name, value in values.items():
        if not isinstance(value, Integral) or int(value) < at_least:
            raise OpError(f"{op}: {name} is {value!r}, wants an integer of at least {at_least}.")
