"""Arrays inside a page's JSON: compressed, and rounded no further than somebody allowed."""

from __future__ import annotations

import base64
import zlib
from typing import Any, NamedTuple

import numpy as np

#: What pages can read: the names of JavaScript's typed arrays, in lower case.
DTYPES = ("uint8", "uint16", "int32", "float32")


class Quantised(NamedTuple):
    """An array in fewer bits: ``offset + scale · stored``, with one scale and offset, or one for each column."""

    stored: np.ndarray
    scale: np.ndarray  # () or (columns,), float64
    offset: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """What a page reads: float32, computed as the page does."""
        return (self.offset + self.scale * self.stored).astype(np.float32)


def quantise(array: np.ndarray, dtype: str, *, columns: bool = False) -> Quantised:
    """Round ``array`` to evenly spaced levels from its least value to its largest.

    Half a step is the largest error: ``(max − min) / 510`` in uint8, ``/ 131070`` in uint16.

    Args:
        dtype: ``uint8`` or ``uint16``.
        columns: levels of its own for each index of the last axis.

    >>> quantise(np.array([0.0, 0.5, 1.0]), "uint8").stored.tolist()
    [0, 128, 255]
    """
    array = np.asarray(array, np.float64)
    axes = tuple(range(array.ndim - 1)) if columns else None
    low, high = array.min(axis=axes), array.max(axis=axes)
    scale = (high - low) / np.iinfo(dtype).max
    steps = (array - low) / np.where(scale == 0, 1, scale)
    return Quantised(np.rint(steps).astype(dtype), scale, low)


def pack(array: np.ndarray | Quantised, *, tolerance: float | None = None) -> dict[str, Any]:
    """``array`` for JSON: ``dtype``, ``shape``, ``data`` (zlib, base64), and ``scale`` and ``offset`` if rounded.

    Without ``tolerance`` the array is stored exactly, in its own dtype (one of :data:`DTYPES`) or as float32. With
    it, uint8 or uint16 levels are taken if the error stays within it; ``error`` then says how large it is.

    >>> sorted(pack(np.zeros((2, 3), np.float32)))
    ['data', 'dtype', 'shape']
    >>> block = pack(np.array([0.0, 0.1, 1.0]), tolerance=0.01)
    >>> block["dtype"], round(block["error"], 5)
    ('uint8', 0.00196)
    """
    if isinstance(array, Quantised):
        return _block(array.stored) | {"scale": array.scale.tolist(), "offset": array.offset.tolist()}
    array = np.asarray(array)
    if tolerance is not None:
        for dtype in ("uint8", "uint16"):
            quantised = quantise(array, dtype)
            error = float(np.abs(quantised.values - array).max(initial=0))
            if error <= tolerance:
                return pack(quantised) | {"error": error}
    return _block(array if array.dtype.name in DTYPES else array.astype(np.float32))


def unpack(block: dict[str, Any]) -> np.ndarray:
    """What a page reads out of what :func:`pack` made.

    >>> unpack(pack(np.array([[1, 2]], np.uint8)))
    array([[1, 2]], dtype=uint8)
    """
    stored = np.frombuffer(zlib.decompress(base64.b64decode(block["data"])), block["dtype"]).reshape(block["shape"])
    if "scale" not in block:
        return stored
    return Quantised(stored, np.array(block["scale"]), np.array(block["offset"])).values


def _block(array: np.ndarray) -> dict[str, Any]:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}
