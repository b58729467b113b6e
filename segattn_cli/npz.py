"""Reading the arrays of an ``.npz`` file, which may come from anywhere: a zip archive of files in NumPy's format.

``np.load`` trusts a header before it looks at what follows: a text of a hundred bytes can claim a billion empty
strings, or a length that no integer of C holds. Here an array has exactly the bytes that its header claims, and
texts have characters of Unicode.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np

ENDING = ".npy"
#: Errors that the readers of the standard library and of NumPy raise for damaged files.
DAMAGE = (
    EOFError, ValueError, TypeError, OverflowError, RuntimeError, NotImplementedError, SyntaxError, TokenError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
#: How :class:`NpzError` begins for a damaged file.
DAMAGED = "is damaged: "
#: The compressions that NumPy uses. Others are read by decoders with errors of their own.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class NpzError(ValueError):
    """What is wrong with a file, as a predicate: ``is compressed by a method that NumPy does not use``."""


def npz_arrays(path: Path, *, kinds: str, largest: int) -> dict[str, np.ndarray]:
    """The arrays in the file ``path`` by name. They cannot be written to.

    Args:
        kinds: the kinds of dtypes that they may have, as ``np.dtype.kind`` names them.
        largest: the bytes that they may unpack to.

    Raises:
        NpzError: for another file, a damaged one, and one that claims more or other things than it holds.
        OSError: for a file that cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type not in _METHODS for entry in entries):
                raise NpzError("is compressed by a method that NumPy does not use")
            if sum(entry.file_size for entry in entries) > largest:
                raise NpzError(f"would unpack to more than {largest:,} bytes")
            return {
                entry.filename.removesuffix(ENDING): _array(entry.filename, archive.read(entry), kinds)
                for entry in entries
            }
    except NpzError:
        raise
    except DAMAGE as error:
        raise NpzError(f"{DAMAGED}{str(error)[:200] or 'it ends early'}") from None


def _array(name: str, data: bytes, kinds: str) -> np.ndarray:
    """An array in NumPy's format; arrays of objects, which are pickled, are of no kind that is asked for."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of a header from Python 2
        shape, fortran_order, dtype = read_header(file)
    if dtype.kind not in kinds:
        raise NpzError(f"holds {name[:100]} as {str(dtype)[:100]}, a type that it should not have")
    content = data[file.tell() :]
    if not dtype.itemsize or len(content) != math.prod(shape) * dtype.itemsize:
        raise NpzError(f"says that {name[:100]} has the shape {shape}, but it has {len(content)} bytes")
    if dtype.kind == "U" and np.frombuffer(content, f"{dtype.byteorder}u4").max(initial=0) > sys.maxunicode:
        raise NpzError(f"holds {name[:100]}, a text of characters that do not exist")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
