"""What ``torch.save`` writes, read without PyTorch and without unpickling.

Since PyTorch 1.6 a file is an uncompressed zip archive with the pickle in ``data.pkl`` and each storage in
``data/KEY``. Before, it was five pickles (a magic number, a version, the machine, the content, the keys of the
storages), followed by each storage as its length and its bytes.
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
#: Gives the numbers of a storage.
Read = Callable[[Storage], np.ndarray]


def read_zip(path: Path) -> Any:
    """The content of a zip archive of ``torch.save``: plain data, with :class:`Tensor` for each tensor.

    Raises:
        FileError: for what is no such archive, damaged, or claims more than it holds.
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
        found: dict[str, np.ndarray] = {}

        def read(storage: Storage) -> np.ndarray:
            name = f"{root}data/{storage.key}"
            if name not in entries:
                raise FileError(f"lacks the numbers {name}")
            dtype = stored_dtype(storage.dtype, ">" if big else "<")
            if entries[name].file_size != storage.size * dtype.itemsize:
                raise FileError(
                    f"says that {name} has {storage.size} numbers of {storage.dtype}, but it has "
                    f"{entries[name].file_size} bytes"
                )
            if name not in found:
                found[name] = np.frombuffer(archive.read(name), np.uint8)
            return found[name].view(dtype)

        return _with_tensors(read_pickle(io.BytesIO(archive.read(pickles[0]))), read, path.stat().st_size)


def read_legacy(path: Path) -> Any:
    """The content of a file of PyTorch before 1.6; as :func:`read_zip`."""
    data = path.read_bytes()
    file = io.BytesIO(data)
    if read_pickle(file) != MAGIC:
        raise FileError("begins with a pickle, but none that torch.save wrote")
    _, machine, content, keys = (read_pickle(file) for _ in range(4))
    if not isinstance(machine, dict) or not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FileError("does not list the storages of its tensors")
    order: Literal["<", ">"] = "<" if machine.get("little_endian", True) else ">"
    place = file.tell()
    wanted = {storage.key: storage for storage in _storages(content)}
    found: dict[str, np.ndarray] = {}
    for key in keys:
        if key not in wanted or key in found:
            raise FileError(f"lists a storage {key[:40]!r} that no tensor has, or twice")
        dtype = stored_dtype(wanted[key].dtype, order)
        if place + 8 > len(data):
            raise FileError("ends before its tensors do: it is truncated")
        (size,) = struct.unpack_from(f"{order}q", data, place)
        if size != wanted[key].size:
            raise FileError(f"says that a storage has {wanted[key].size} numbers, but it has {size}")
        if place + 8 + size * dtype.itemsize > len(data):
            raise FileError("ends before its tensors do: it is truncated")
        found[key] = np.frombuffer(data, dtype, size, place + 8)
        place += 8 + size * dtype.itemsize

    def read(storage: Storage) -> np.ndarray:
        if storage.key not in found:
            raise FileError("lacks the numbers of a tensor: it is truncated")
        dtype = stored_dtype(storage.dtype, order)
        if found[storage.key].dtype != dtype or found[storage.key].size != storage.size:
            raise FileError("gives one storage two dtypes or sizes")
        return found[storage.key]

    return _with_tensors(content, read, len(data))


def stored_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive that holds them as they are, by name; together they are no larger than the file."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise FileError("is a zip archive with two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
        raise FileError("is a compressed or encrypted zip archive, which torch.save does not write")
    if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
        raise FileError("is a zip archive that claims to hold more than the file has")
    return entries


def _with_tensors(content: Any, read: Read, file_size: int) -> Any:
    """``content`` with every view replaced by its tensor."""
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
    found: list[Storage] = []
    _mapped(content, lambda view: found.append(view.storage))
    return found


def _mapped(content: Any, change: Callable[[TensorView], Any]) -> Any:
    """A copy of ``content`` with every view changed. Each part is visited once, however often it is referred to."""
    made: dict[int, Any] = {}
    waiting: list[tuple[Any, Any]] = []

    def copy(value: Any) -> Any:
        if isinstance(value, TensorView):
            if id(value) not in made:
                made[id(value)] = change(value)
            return made[id(value)]
        if not isinstance(value, (dict, list, tuple)):
            return value
        if id(value) not in made:
            made[id(value)] = {} if isinstance(value, dict) else []
            waiting.append((value, made[id(value)]))
        return made[id(value)]

    result = copy(content)
    while waiting:
        value, copied = waiting.pop()
        if isinstance(value, dict):
            copied.update({key: copy(each) for key, each in value.items()})
        else:
            copied.extend(map(copy, value))
    return result
