"""Checkpoints come back as they were, and a bad one is refused."""

from __future__ import annotations

import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from segattn_cli.errors import CheckpointError, ExitCode, OutputError
from segattn_cli.files import write_atomically
from segattn_cli.runs.checkpoint import KEY, load_checkpoint, save_checkpoint
from segattn_cli.weights.reading import read_weights


@pytest.fixture
def arrays(rng):
    weight = rng.normal(size=(3, 5, 2)).astype(np.float32)
    return {
        "weight": weight,
        "transposed": weight.T,
        "strided": weight[::2],
        "gate": np.float32(0.25),
        "count": np.arange(3),
        "empty": np.zeros((0, 4), np.float32),
    }


def test_arrays_and_metadata_come_back(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    metadata = {"classes": ["sky", "Straße"], "best": 0.1 + 0.2, "nothing": None}
    save_checkpoint(path, arrays, metadata)
    found = load_checkpoint(path)
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array, strict=False)
        assert found.arrays[name].shape == np.shape(array)
        assert found.arrays[name].flags.writeable
    assert {key: found.metadata[key] for key in metadata} == metadata


def test_readable_by_others_and_nothing_beside_it(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, arrays, {})
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_every_truncation_is_noticed(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, arrays, {})
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated") as error:
            load_checkpoint(path)
        assert error.value.exit_code == ExitCode.CHECKPOINT


def test_foreign_files_are_refused(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_file({"weight": arrays["weight"]}, path)
    with pytest.raises(CheckpointError, match="no checkpoint of segattn"):
        load_checkpoint(path)
    save_file({"weight": arrays["weight"]}, path, {KEY: json.dumps({"version": 99})})
    with pytest.raises(CheckpointError, match="version 99"):
        load_checkpoint(path)
    for text in ("{", "[]", "{}", "[" * 100_000):
        save_file({"weight": arrays["weight"]}, path, {KEY: text})
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(path)
    path.write_bytes(b"\x80\x04pickle" * 100)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="is a folder, a pipe or a device"):
        load_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, arrays, {"step": 1})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(File too large\).*untouched") as error:
            save_checkpoint(path, arrays, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.exit_code == ExitCode.OUTPUT
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "a", tmp_path / "missing" / "a"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_atomically(place, b"x")


def test_metadata_that_json_cannot_say_is_null(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", {}, {"best": {"miou": float("nan")}, "loss": [-float("inf"), 1.5]})
    read = load_checkpoint(tmp_path / "a.safetensors").metadata
    assert (read["best"], read["loss"]) == ({"miou": None}, [None, 1.5])


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path):
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    write_atomically(link, b"first")
    assert link.is_symlink()
    assert target.read_bytes() == b"first"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write_atomically(pipe, b"second")
        assert read.result() == b"second"
    assert pipe.is_fifo()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="where files are open is Linux's to tell")
def test_a_pipe_without_a_name_takes_what_it_is_given():
    """Standard output is one, when it is somebody's input: /dev/stdout leads to no path that exists."""
    read, write = os.pipe()
    try:
        write_atomically(Path(f"/proc/self/fd/{write}"), b"page")
        assert os.read(read, 10) == b"page"
    finally:
        os.close(read)
        os.close(write)


def test_a_header_without_an_end_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {f"empty.{number}": np.zeros(0, np.float32) for number in range(200)}, {})
    assert len(load_checkpoint(path).arrays) == 200
    assert read_weights(path).tensors
    monkeypatch.setattr("segattn_cli.runs.checkpoint.LONGEST_HEADER", 5000)
    for read in (load_checkpoint, read_weights):
        with pytest.raises(CheckpointError, match="describes more tensors than a network has"):
            read(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "best.safetensors")
    with pytest.raises(CheckpointError, match=r"is a folder, a pipe or a device"):
        load_checkpoint(tmp_path / "best.safetensors")
