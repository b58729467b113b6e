"""Files of weights: what they hold comes back, and hostile or damaged ones are one sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from segattn_cli.errors import CheckpointError
from segattn_cli.weights import read_weights
from segattn_cli.weights.torch_save import MAGIC


class View:
    """A tensor of PyTorch, as its pickle describes it."""

    def __init__(
        self, shape: tuple[int, ...], strides: tuple[int, ...], *, offset: int = 0, key: str = "0",
        kind: str = "FloatStorage", size: int = 4,
    ) -> None:  # fmt: skip
        self.stored = (key, kind, size)
        self.arguments = (offset, shape, strides, False, {})


class _Name:
    """Something whose pickle is the name of something in PyTorch."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Pickler(pickle._Pickler):  # the one in Python can be told what a name is
    """Writes what ``torch.save`` writes, without PyTorch."""

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Name):
            self.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, View):
            key, kind, size = value.stored
            offset, shape, strides, gradient, hooks = value.arguments
            self.save(_Name("torch._utils", "_rebuild_tensor_v2"))
            self.write(b"((")
            for part in ("storage", _Name("torch", kind), key, "cpu", size):
                self.save(part)
            self.write(b"tQ")
            for part in (offset, shape, strides, gradient, hooks):
                self.save(part)
            self.write(b"tR")
        else:
            super().save(value, save_persistent_id)


def pickled(content: Any) -> bytes:
    buffer = io.BytesIO()
    pickler = Pickler(buffer, 2)
    pickler.fast = True  # no memo: views are written in full each time
    pickler.dump(content)
    return buffer.getvalue()


def zipped(path: Path, content: Any, storages: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(content))
        archive.writestr("archive/byteorder", "little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def legacy(path: Path, content: Any, storages: dict[str, np.ndarray], *, size: int | None = None) -> Path:
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    data = b"".join(map(pickled, (MAGIC, 1001, machine, content, list(storages))))
    for array in storages.values():
        data += struct.pack("<q", array.size if size is None else size) + array.tobytes()
    path.write_bytes(data)
    return path


numbers = np.arange(4, dtype=np.float32)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "module"])
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_state_dict_is_found_under_its_wrapper(tmp_path: Path, form: str, wrapper: str | None) -> None:
    tensors = {"a": View((2, 2), (2, 1)), "b": View((2, 2), (1, 2)), "c": View((), (), offset=3)}
    content = tensors if wrapper is None else {wrapper: tensors, "epoch": 7}
    if form == "zip":
        file = read_weights(zipped(tmp_path / "w.pth", content, {"0": numbers.tobytes()}))
    else:
        file = read_weights(legacy(tmp_path / "w.pth", content, {"0": numbers}))
    assert file.wrapper == (wrapper or "")
    assert file.extra == ({} if wrapper is None else {"epoch": 7})
    np.testing.assert_array_equal(file.tensors["a"].values, numbers.reshape(2, 2))
    np.testing.assert_array_equal(file.tensors["b"].values, numbers.reshape(2, 2).T)
    assert file.tensors["c"].values == 3
    assert file.kind.startswith("PyTorch")


def test_big_endian_archives_are_swapped(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"a": View((4,), (1,))}))
        archive.writestr("archive/byteorder", "big")
        archive.writestr("archive/data/0", numbers.astype(">f4").tobytes())
    np.testing.assert_array_equal(read_weights(path).tensors["a"].as_float32(), numbers)


def test_safetensors_and_npz(tmp_path: Path) -> None:
    arrays = {"a": numbers.reshape(2, 2), "b": np.array(2.5), "c": np.arange(3)}
    (tmp_path / "w.safetensors").write_bytes(save(arrays, {"source": "here"}))
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays, f=np.asfortranarray(numbers.reshape(2, 2)))
    for name in ("w.safetensors", "plain.npz", "packed.npz"):
        file = read_weights(tmp_path / name)
        for key, array in arrays.items():
            np.testing.assert_array_equal(file.tensors[key].values, array)
    np.testing.assert_array_equal(file.tensors["f"].values, numbers.reshape(2, 2))
    assert read_weights(tmp_path / "w.safetensors").extra == {"source": "here"}


def test_bfloat16_of_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(header)) + header + b"\xc0\x3f\x00\xc0")
    np.testing.assert_array_equal(read_weights(tmp_path / "w").tensors["a"].as_float32(), [1.5, -2])


@pytest.mark.parametrize(
    ("content", "storages", "says"),
    [
        ({"a": View((5,), (1,))}, {"0": b"\0" * 16}, r"shape \(5,\) in a storage of 4"),
        ({"a": View((2, 2), (4, 1))}, {"0": b"\0" * 16}, "in a storage of 4"),
        ({"a": View((4,), (1,), offset=1)}, {"0": b"\0" * 16}, "in a storage of 4"),
        ({"a": View((10**6, 10**6), (0, 0))}, {"0": b"\0" * 16}, "in a storage of 4"),
        ({"a": View((1, 1), (2**200, 1))}, {"0": b"\0" * 16}, "damaged|too large|int"),
        ({"a": View((2**70,), (0,), size=2**70)}, {"0": b"\0" * 16}, "but it has 16 bytes"),
        ({"a": View((4,), (1,), size=8)}, {"0": b"\0" * 16}, "8 numbers of float32, but it has 16 bytes"),
        ({"a": View((4,), (1,), kind="DoubleStorage")}, {"0": b"\0" * 16}, "4 numbers of float64, but"),
        ({"a": View((4,), (1,), key="../../etc/passwd")}, {"0": b"\0" * 16}, "which a tensor refers to"),
        ({str(n): View((9999,), (1,), size=9999) for n in range(99)}, {"0": bytes(4 * 9999)}, "overlap"),
        ({"epoch": 3}, {}, "holds no tensors by name"),
        ([View((4,), (1,))], {"0": b"\0" * 16}, "holds no tensors by name"),
        ({"a": View((0, 2**62), (1, 1))}, {"0": b"\0" * 16}, "damaged|too big|large"),
    ],
)
def test_lies_of_an_archive(tmp_path: Path, content: Any, storages: dict[str, bytes], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_weights(zipped(tmp_path / "w.pth", content, storages))


def test_two_names_for_one_tensor_are_common(tmp_path: Path) -> None:
    shared = {"a": View((4096,), (1,), size=4096), "b": View((4096,), (1,), size=4096)}
    file = read_weights(zipped(tmp_path / "w.pth", shared, {"0": bytes(16384)}))
    assert np.shares_memory(file.tensors["a"].values, file.tensors["b"].values)


def test_compressed_archives_and_zip_bombs_are_refused(tmp_path: Path) -> None:
    bomb = {"a": View((2**22,), (1,), size=2**22)}
    path = zipped(tmp_path / "w.pth", bomb, {"0": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_weights(path)
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(2**24, np.float32))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="would unpack to more than"):
            read_weights(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_entries_that_overlap_in_the_file_are_refused(tmp_path: Path) -> None:
    """Fifield's bomb: many names in the directory for the same bytes."""
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"a": View((4,), (1,))}))
        archive.writestr("archive/data/0", bytes(100_000))
        first = archive.infolist()[-1]
        for n in range(1, 50):
            again = zipfile.ZipInfo(f"archive/data/{n}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(again, field, getattr(first, field))
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    with pytest.raises(CheckpointError, match="claims to hold more than the file has"):
        read_weights(path)


@pytest.mark.parametrize("size", [-1, 3, 5, 2**40, 2**62])
def test_lies_of_a_legacy_file_about_its_sizes(tmp_path: Path, size: int) -> None:
    with pytest.raises(CheckpointError, match="but it has"):
        read_weights(legacy(tmp_path / "w.pth", {"a": View((4,), (1,))}, {"0": numbers}, size=size))
    view = View((4,), (1,), size=max(size, 0))
    with pytest.raises(CheckpointError):
        read_weights(legacy(tmp_path / "w.pth", {"a": view}, {"0": numbers}, size=size))


def test_a_legacy_storage_of_two_dtypes_is_refused(tmp_path: Path) -> None:
    content = {"a": View((4,), (1,)), "b": View((4,), (1,), kind="IntStorage")}
    with pytest.raises(CheckpointError, match="two dtypes"):
        read_weights(legacy(tmp_path / "w.pth", content, {"0": numbers}))


def good_files(folder: Path) -> list[Path]:
    tensors = {"a": View((2, 2), (2, 1))}
    (folder / "w.safetensors").write_bytes(save({"a": numbers}))
    np.savez(folder / "w.npz", a=numbers)
    return [
        zipped(folder / "zip.pth", tensors, {"0": numbers.tobytes()}),
        legacy(folder / "legacy.pth", tensors, {"0": numbers}), folder / "w.safetensors", folder / "w.npz",
    ]  # fmt: skip


def test_every_truncation_and_every_flipped_bit_is_one_sentence(tmp_path: Path) -> None:
    for good in good_files(tmp_path):
        data = good.read_bytes()
        bad = tmp_path / "bad"
        for length in range(len(data)):
            bad.write_bytes(data[:length])
            with pytest.raises(CheckpointError):
                read_weights(bad)
        for place in range(len(data)):
            bad.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
            with suppress(CheckpointError):  # a flipped bit may be in a number, or in what nobody reads
                read_weights(bad)


def test_memory_is_bounded_by_the_file(tmp_path: Path) -> None:
    """Zip and legacy alike: the numbers are in memory twice at most, while they are read."""
    big = np.ones(2**20, np.float32)
    tensors = {"a": View((2**20,), (1,), size=2**20)}
    files = [zipped(tmp_path / "zip.pth", tensors, {"0": big.tobytes()})]
    files.append(legacy(tmp_path / "old.pth", tensors, {"0": big}))
    for path in files:
        tracemalloc.start()
        try:
            read_weights(path)
            assert tracemalloc.get_traced_memory()[1] < 2.5 * path.stat().st_size
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello, world, this is text", "neither safetensors"),
        (b"PK\x03\x04 not a zip", "damaged"),
        (pickle.dumps({"a": 1}, 2), "none that torch.save wrote"),
        (struct.pack("<Q", 2**63) + b"{}", "safetensors"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(CheckpointError, match=says):
        read_weights(tmp_path / "file")


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "bell\x07", "x" * 300])
def test_names_that_a_terminal_would_obey(tmp_path: Path, name: str) -> None:
    (tmp_path / "w").write_bytes(save({name: numbers}))
    with pytest.raises(CheckpointError, match="a name that no layer has") as caught:
        read_weights(tmp_path / "w")
    assert str(caught.value).isprintable()
    with pytest.raises(CheckpointError) as caught:
        read_weights(zipped(tmp_path / "w.pth", {"a": View((4,), (1,), key=name)}, {"0": b"\0" * 16}))
    assert str(caught.value).isprintable()


def test_missing_files_folders_and_objects(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no file"):
        read_weights(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="is a folder, a pipe or a device"):
        read_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(CheckpointError, match="is a folder, a pipe or a device"):
        read_weights(tmp_path / "pipe")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="as object, a type that it should not have"):
        read_weights(tmp_path / "objects.npz")


def test_a_header_of_numpy_that_does_not_end(tmp_path: Path) -> None:
    """Its reader raises an error of Python's tokenizer."""
    header = b"{'descr': ('<f4', (L\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("weight.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(CheckpointError, match="is damaged: "):
        read_weights(tmp_path / "x.npz")
