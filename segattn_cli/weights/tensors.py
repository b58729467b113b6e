"""A tensor of a file of weights, and the error that such a file raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from segattn_cli.errors import CheckpointError, printable


class FileError(Exception):
    """A file that is damaged or contradicts itself; the message continues a sentence that starts with its name.

    The message may quote the file, so control characters are removed from it and its length is bounded.

    >>> str(FileError("holds a\\x1b[31m\\nb"))
    'holds a?[31m?b'
    """

    def __str__(self) -> str:
        return printable(super().__str__()[:500])


@contextmanager
def errors_of(path: Path | str) -> Iterator[None]:
    """Turn a :class:`FileError`, or want of memory, into a :class:`CheckpointError` about the file ``path``."""
    try:
        yield
    except FileError as error:
        raise CheckpointError(f"{path} {error}.") from None
    except MemoryError:
        raise CheckpointError(f"{path} does not fit into memory.") from None


class Tensor(NamedTuple):
    """An array in its file's precision; NumPy has no ``bfloat16``, whose bits are held as uint16."""

    values: np.ndarray
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def as_float32(self) -> np.ndarray:
        """The values as float32; a bfloat16 is the upper half of a float32.

        >>> Tensor(np.array([0x3FC0, 0xC000], np.uint16), "bfloat16").as_float32()
        array([ 1.5, -2. ], dtype=float32)
        """
        if self.dtype == "bfloat16":
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # too large a value becomes infinite, and is refused later
            return self.values.astype(np.float32)


def stored_dtype(dtype: str, byte_order: Literal["<", ">"] = "<") -> np.dtype:
    """NumPy's dtype for the bytes of ``dtype`` in a file."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder(byte_order)
