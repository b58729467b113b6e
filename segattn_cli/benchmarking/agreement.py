"""Do both sides compute the same numbers? Before anything is timed, they have to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: Of an op's largest value.
OP = 1e-4
#: Of the loss, of the largest score, and of each gradient's norm. Random images and labels make small gradients of
#: large terms, whose rounding grows with the depth: up to 5 % of a norm in ResNet-50. An error is off by far more.
LOSS, SCORES, GRADIENT = 1e-4, 1e-3, 0.15
#: Of the largest gradient's norm, which counts for all. The key's bias shifts whole rows of energies, so that its
#: gradient is 0 but for rounding.
FLOOR = 1e-5


def ops_difference(names: Sequence[str], ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> str:
    """What is wrong with our output and gradients, called ``names``; nothing is "".

    >>> ops_difference(["y"], [np.array([1.0, 2.0])], [np.array([1.0, 2.1])])
    'y is off by 4.8e-02 of its largest value'
    """
    for name, got, wanted in zip(names, ours, theirs, strict=True):
        if problem := _difference(got, wanted, OP):
            return f"{name} {problem}"
    return ""


def networks_difference(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> str:
    """What is wrong with our loss, scores or gradients (``d name``); nothing is ""."""
    if set(ours) != set(theirs):
        return f"{', '.join(sorted(set(ours) ^ set(theirs)))} is missing on one side"
    for name, tolerance in (("loss", LOSS), ("scores", SCORES)):
        if name in ours and (problem := _difference(ours[name], theirs[name], tolerance)):
            return f"{name} {problem}"
    gradients = [name for name in ours if name.startswith("d ")]
    floor = FLOOR * max((float(np.linalg.norm(theirs[name])) for name in gradients), default=0.0)
    for name in gradients:
        apart = np.linalg.norm(ours[name] - theirs[name]) / (np.linalg.norm(theirs[name]) + floor)
        if not apart <= GRADIENT:
            return f"{name} is off by {apart:.1e} of its norm"
    return ""


def _difference(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    if got.shape != wanted.shape:
        return f"has the shape {got.shape}, not {wanted.shape}"
    apart = np.abs(got - wanted).max() / (np.abs(wanted).max() or 1.0)
    return "" if apart <= tolerance else f"is off by {apart:.1e} of its largest value"
