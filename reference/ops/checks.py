"""What every op checks before it computes; an :class:`OpError` names the op, what it got and what it wants.

The checks only look at ``shape`` and ``dtype``, so the arrays of any backend pass through them.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any


class OpError(ValueError):
    """An op was given what it cannot compute with."""


def check_shapes(op: str, **arrays: tuple[Any, str]) -> None:
    """Check each array against its axes: an axis has one size throughout, and no axis is empty.

    ``...`` at the front stands for any number of axes, which are then the same wherever ``...`` stands. An array
    that is ``None`` was left out by the caller and is skipped.

    >>> import numpy as np
    >>> x, weight = np.zeros((2, 5, 3)), np.zeros((3, 4))
    >>> check_shapes("linear", x=(x, "... Ci"), weight=(weight, "Ci Co"), bias=(None, "Co"))
    >>> check_shapes("linear", x=(x, "... Ci"), weight=(weight.T, "Ci Co"))
    Traceback (most recent call last):
    reference.ops.checks.OpError: linear: weight has shape (4, 3), wants (Ci=3, Co).
    """
    sizes: dict[str, Any] = {}
    for name, (array, axes) in arrays.items():
        if array is None:
            continue
        if not hasattr(array, "shape"):
            raise OpError(f"{op}: {name} is a {type(array).__name__}, wants an array: asarray makes one.")
        if 0 in array.shape:
            raise OpError(f"{op}: {name} is empty: it has shape {array.shape}, wants ({_wanted(axes, sizes)}).")
        found = _match(array.shape, axes.split())
        if found is None or any(sizes.get(axis, size) != size for axis, size in found.items()):
            raise OpError(f"{op}: {name} has shape {array.shape}, wants ({_wanted(axes, sizes)}).")
        sizes |= found


def _match(shape: tuple[int, ...], axes: list[str]) -> dict[str, Any] | None:
    """The size of each axis, or None where the number of axes is wrong."""
    if "..." not in axes:
        return dict(zip(axes, shape, strict=True)) if len(axes) == len(shape) else None
    leading = len(shape) - (len(axes) - 1)
    if leading < 0:
        return None
    return {"...": shape[:leading], **dict(zip(axes[1:], shape[leading:], strict=True))}


def _wanted(axes: str, sizes: dict[str, Any]) -> str:
    def describe(axis: str) -> str:
        if axis not in sizes:
            return axis
        return ", ".join(map(str, sizes[axis])) if axis == "..." else f"{axis}={sizes[axis]}"

    return ", ".join(filter(None, map(describe, axes.split())))


def check_dtypes(op: str, **arrays: Any) -> None:
    """Check that all arrays have one floating dtype, that of the first: an op never promotes in silence.

    >>> import numpy as np
    >>> check_dtypes("linear", x=np.zeros(2, np.float32), weight=np.zeros(2))
    Traceback (most recent call last):
    reference.ops.checks.OpError: linear: weight is float64, wants float32 as x is.
    """
    (first, reference), *others = [(name, array.dtype) for name, array in arrays.items() if array is not None]
    if reference.kind != "f" and reference.name != "bfloat16":
        raise OpError(f"{op}: {first} is {reference}, wants a floating dtype such as float32.")
    for name, dtype in others:
        if dtype != reference:
            raise OpError(f"{op}: {name} is {dtype}, wants {reference} as {first} is.")


def check_gradient(op: str, dy: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Check that ``dy`` has the shape and the dtype of the output that it belongs to."""
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


def check_labels(op: str, labels: Any, classes: int, ignore_label: int) -> None:
    """Check that labels are integers, each a class or the ignored one.

    >>> import numpy as np
    >>> check_labels("softmax_cross_entropy", np.array([0, 18, 255, 33]), classes=19, ignore_label=255)
    Traceback (most recent call last):
    reference.ops.checks.OpError: softmax_cross_entropy: labels hold 33, want 0 to 18 or the ignored 255.
    """
    if labels.dtype.kind not in "iu":
        raise OpError(f"{op}: labels are {labels.dtype}, want an integer dtype.")
    wrong = (labels != ignore_label) & ((labels < 0) | (labels >= classes))
    if wrong.any():
        value = int(labels[wrong][0])
        raise OpError(f"{op}: labels hold {value}, want 0 to {classes - 1} or the ignored {ignore_label}.")
