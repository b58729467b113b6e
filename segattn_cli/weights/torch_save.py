"""Reading what ``torch.save`` writes, without PyTorch and without unpickling.

Since PyTorch 1.6 a file is an uncompressed zip archive with the pickle in ``data.pkl`` and each storage in
``data/KEY``. Before, it was five pickles (a magic number, a version, the machine, the content, the keys of the
storages), followed by the length and the bytes of each storage.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segattn_cli.weights.pickles import Storage, TensorView, read_pickle
from segattn_cli.weights.tensors import FileError, Tensor, stored_dtype

MAGIC = 0x1950A86A20F9469CFC6C
#: Reads the numbers of a storage.
Read = Callable[[Storage], np.ndarray]


def read_zip(path: Path) -> Any:
    """The content of a zip archive of ``torch.save``: plain data, in which tensors are :class:`Tensor`.

    Raises:
        FileError: for another archive, a damaged one, and one that claims more than it holds.
    """
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise FileError("is a TorchScript archive: save the model's state_dict() with torch.save instead")
        entries = stored_entries(archive, path)
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise FileError("is a zip archive, but none that torch.save wrote: it has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        big = f"{root}byteorder" in entries and archive.read(f"{root}byteorder") == b"big"
        storages: dict[str, np.ndarray] = {}

        def read(storage: Storage) -> np.ndarray:
            name = f"{root}data/{storage.key}"
            if name not in entries:
                raise FileError(f"has no {name}, which a tensor refers to")
            dtype = stored_dtype(storage.dtype, ">" if big else "<")
            if entries[name].file_size != storage.size * dtype.itemsize:
                raise FileError(
                    f"says that {name} has {storage.size} numbers of {storage.dtype}, but it has "
                    f"{entries[name].file_size} bytes"
                )
            if name not in storages:
                storages[name] = np.frombuffer(archive.read(name), np.uint8)
            return storages[name].view(dtype)

        return _with_tensors(read_pickle(io.BytesIO(archive.read(pickles[0]))), read, path.stat().st_size)


def read_legacy(path: Path) -> Any:
    """The content of a file of PyTorch before 1.6, as :func:`read_zip` returns it."""
    data = path.read_bytes()
    file = io.BytesIO(data)
    if read_pickle(file) != MAGIC:
        raise FileError("begins with a pickle, but none that torch.save wrote")
    _, machine, content, keys = (read_pickle(file) for _ in range(4))
    if not isinstance(machine, dict) or not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FileError("does not list the storages of its tensors")
    order: Literal["<", ">"] = "<" if machine.get("little_endian", True) else ">"
    position = file.tell()
    wanted = {storage.key: storage for storage in _storages(content)}
    storages: dict[str, np.ndarray] = {}
    for key in keys:
        if key not in wanted or key in storages:
            raise FileError(f"lists a storage {key[:40]!r} twice, or one that no tensor has")
        dtype = stored_dtype(wanted[key].dtype, order)
        if position + 8 > len(data):
            raise FileError("ends before its tensors do: it is truncated")
        (size,) = struct.unpack_from(f"{order}q", data, position)
        if size != wanted[key].size:
            raise FileError(f"says that a storage has {wanted[key].size} numbers, but it has {size}")
        if position + 8 + size * dtype.itemsize > len(data):
            raise FileError("ends before its tensors do: it is truncated")
        storages[key] = np.frombuffer(data, dtype, size, position + 8)
        position += 8 + size * dtype.itemsize

    def read(storage: Storage) -> np.ndarray:
        if storage.key not in storages:
            raise FileError("lacks the numbers of a tensor: it is truncated")
        dtype = stored_dtype(storage.dtype, order)
        if storages[storage.key].dtype != dtype or storages[storage.key].size != storage.size:
            raise FileError("gives one storage two dtypes or sizes")
        return storages[storage.key]

    return _with_tensors(content, read, len(data))


def stored_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The entries of an uncompressed archive, by name; together they are no larger than the file."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise FileError("is a zip archive with two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
        raise FileError("is a compressed or encrypted zip archive, which torch.save does not write")
    if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
        raise FileError("is a zip archive that claims to hold more than the file has")
    return entries


def _with_tensors(content: Any, read: Read, file_size: int) -> Any:
    """``content`` with each view replaced by its tensor."""
    claimed = 0

    def tensor(view: TensorView) -> Tensor:
        nonlocal claimed
        numbers = read(view.storage)
        if 0 in view.shape:
            return Tensor(np.zeros(view.shape, numbers.dtype), view.storage.dtype)
        last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
        size = int(np.prod(view.shape, dtype=object))
        if last >= numbers.size or size > numbers.size:
            raise FileError(f"has a tensor of shape {view.shape} in a storage of {numbers.size} numbers")
        claimed += size * numbers.itemsize
        if claimed > 2 * file_size:  # two names for one tensor are common
            raise FileError("has tensors that overlap: together they claim more than twice the size of the file")
        strides = [stride * numbers.itemsize for stride in view.strides]
        values = np.lib.stride_tricks.as_strided(numbers[view.offset :], view.shape, strides, writeable=False)
        return Tensor(values, view.storage.dtype)

    return _mapped(content, tensor)


def _storages(content: Any) -> list[Storage]:
    storages: list[Storage] = []
    _mapped(content, lambda view: storages.append(view.storage))
    return storages


def _mapped(content: Any, change: Callable[[TensorView], Any]) -> Any:
    """A copy of ``content`` with each view changed. Each value is visited once, however often it is referred to."""
    copies: dict[int, Any] = {}
    pending: list[tuple[Any, Any]] = []

    def copy(value: Any) -> Any:
        if isinstance(value, TensorView):
            if id(value) not in copies:
                copies[id(value)] = change(value)
            return copies[id(value)]
        if not isinstance(value, (dict, list, tuple)):
            return value
        if id(value) not in copies:
            copies[id(value)] = {} if isinstance(value, dict) else []
            pending.append((value, copies[id(value)]))
        return copies[id(value)]

    result = copy(content)
    while pending:
        value, copied = pending.pop()
        if isinstance(value, dict):
            copied.update({key: copy(each) for key, each in value.items()})
        else:
            copied.extend(map(copy, value))
    return result
