"""A tensor as it stands in a file of weights."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from segattn_cli.errors import printable


class FileError(Exception):
    """A file that is damaged or claims what is not so; the message goes on from the file's name.

    What a file says may be in it, so it is made harmless for a terminal and kept short.

    >>> str(FileError("holds a\\x1b[31m\\nb"))
    'holds a?[31m?b'
    """

    def __str__(self) -> str:
        return printable(super().__str__()[:500])


class Tensor(NamedTuple):
    """An array in its file's precision; ``bfloat16``, which NumPy has not, as the uint16 of its bits."""

    values: np.ndarray
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def as_float32(self) -> np.ndarray:
        """The numbers as float32; a bfloat16 is the upper half of one.

        >>> Tensor(np.array([0x3FC0, 0xC000], np.uint16), "bfloat16").as_float32()
        array([ 1.5, -2. ], dtype=float32)
        """
        if self.dtype == "bfloat16":
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which nobody takes
            return self.values.astype(np.float32)


def stored_dtype(dtype: str, byte_order: Literal["<", ">"] = "<") -> np.dtype:
    """The dtype of NumPy whose bytes are those of ``dtype`` in a file."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder(byte_order)
