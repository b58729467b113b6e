"""Figures that stay where they were computed until somebody wants to see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.contract import Ops

Array = Any
#: What a figure is of, and which of these: ``("parts", "main")``.
Key = tuple[str, str]


def read(ops: Ops, figures: Sequence[Mapping[Key, Array]]) -> list[dict[Key, float]]:
    """``figures``, arrays ``()`` of the backend, as numbers: one wait for the device, one transfer a dtype.

    >>> import numpy as np
    >>> import reference.ops
    >>> read(reference.ops, [{("loss", ""): np.float32(0.5), ("norm", ""): np.float64(0.1)}, {}])
    [{('loss', ''): 0.5, ('norm', ''): 0.1}, {}]
    """
    arrays = [array for each in figures for array in each.values()]
    places: dict[Any, list[int]] = {}
    for place, array in enumerate(arrays):
        places.setdefault(array.dtype, []).append(place)
    numbers = [0.0] * len(arrays)
    for alike in places.values():
        values = ops.to_numpy(ops.stack([arrays[place] for place in alike])).tolist()
        for place, value in zip(alike, values, strict=True):
            numbers[place] = value
    rest = iter(numbers)
    return [{key: next(rest) for key in each} for each in figures]


def numbers(ops: Ops, arrays: Mapping[str, Array]) -> dict[str, float]:
    """Arrays ``()`` of the backend as numbers.

    >>> import numpy as np
    >>> import reference.ops
    >>> numbers(reference.ops, {"scale": np.float32(8.0)})
    {'scale': 8.0}
    """
    (found,) = read(ops, [{("", name): array for name, array in arrays.items()}])
    return of_kind(found, "")


def of_kind(figures: Mapping[Key, float], kind: str) -> dict[str, float]:
    """Those of one kind, by their names.

    >>> of_kind({("loss", ""): 0.5, ("parts", "main"): 0.3, ("parts", "position"): 0.2}, "parts")
    {'main': 0.3, 'position': 0.2}
    """
    return {name: value for (each, name), value in figures.items() if each == kind}
