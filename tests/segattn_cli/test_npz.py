"""Arrays of an archive are read as they were written; what claims other things than it holds is one error."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.npz import NpzError, npz_arrays

HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"


def npy(dtype: str, shape: str, content: bytes = b"") -> bytes:
    """A file in NumPy's format with any header."""
    header = (HEADER % (dtype, shape)).encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def read(path: Path, member: bytes, method: int = zipfile.ZIP_STORED) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", member)
    return npz_arrays(path, kinds="fiU", largest=10_000)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_is_read_is_what_was_written(tmp_path: Path, save) -> None:
    arrays = {
        "numbers": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "text": np.array("a b"),
        "none": np.zeros((0, 3)), "names": np.array(["a", "bc"]), "big": np.arange(3, dtype=">i4"),
    }  # fmt: skip
    save(tmp_path / "x.npz", **arrays)
    again = npz_arrays(tmp_path / "x.npz", kinds="fiU", largest=10_000)
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (npy("<U0", "(1000000000,)"), "has the shape"),  # a billion names in no bytes
        (npy("<i8", f"({10**30},)"), "has the shape"),  # no integer of C
        (npy("<i8", f"(0, {10**30})"), "is damaged"),
        (npy("<i8", "(2,)", bytes(15)), "but it has 15 bytes"),
        (npy("<i8", "(2,)", bytes(17)), "but it has 17 bytes"),
        (npy("<U1", "(1,)", b"\x00\x00\x11\x00"), "characters that do not exist"),
        (npy(">U1", "(1,)", b"\x00\x11\x00\x00"), "characters that do not exist"),
        (npy("|O", "(1,)", b"\x80\x04N."), "as object, a type that it should not have"),
        (npy("|S3", "(1,)", b"abc"), "a type that it should not have"),
        (npy("<f4", "(-1,)"), "has the shape"),
        (npy("<f4", "(" * 300), "is damaged"),
        (npy("nothing", "(1,)"), "is damaged"),
        (npy("<f4", "(True,)", bytes(3)), "has the shape"),
        (b"\x93NUMPY\x09\x00", "is damaged"),
        (b"", "is damaged"),
        (bytes(10_001), "would unpack to more than 10,000 bytes"),
    ],
)
def test_what_claims_more_or_other_things_than_it_holds(tmp_path: Path, member: bytes, sentence: str) -> None:
    with pytest.raises(NpzError, match=sentence):
        read(tmp_path / "x.npz", member)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_use(tmp_path: Path, method: int) -> None:
    """The error of a damaged LZMA stream is of no class that the other readers raise."""
    with pytest.raises(NpzError, match="is compressed by a method that NumPy does not use"):
        read(tmp_path / "x.npz", npy("<i8", "(2,)", bytes(16)), method)
