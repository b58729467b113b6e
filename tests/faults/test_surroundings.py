"""Standard streams, full disks, and two processes in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from segattn_cli.errors import ExitCode

from .forks import Ended
from .scenarios import (
    ARRAYS,
    CHECK,
    EVAL,
    EXPLAIN,
    IMPORT,
    INFER,
    PNGS,
    SAMPLE,
    STATE_DICT,
    TRAIN,
    WEIGHTS,
    filled,
    meanings,
    said,
    unfinished,
)

pytestmark = pytest.mark.faults

RESULTS = {
    "summary": ("summary", "{w}/run"), "check": ("data", "check", "{w}/data"), "help": ("train", "--help"),
    "eval": ("eval", "{w}/run", "--backend", "numpy"), "infer": (*INFER, "--force"), "train": TRAIN,
}  # fmt: skip
#: What is in the place of standard streams, and how a command may then end.
STREAMS = {
    "full output": ({"stdout": "/dev/full"}, {ExitCode.OUTPUT}),
    "full messages": ({"stderr": "/dev/full"}, {ExitCode.OK}),
    "closed output": ({"stdout": "closed"}, {ExitCode.OK}),
    "all closed": ({"stdin": "closed", "stdout": "closed", "stderr": "closed"}, {ExitCode.OK}),
    "no reader": ({"stdout": "gone"}, {ExitCode.CLOSED_PIPE}),
    "no reader of messages": ({"stderr": "gone"}, {ExitCode.OK}),
    "slow reader of messages": ({"stderr": "slow"}, {ExitCode.OK}),
}  # fmt: skip


def require_no_traceback(ended: Ended) -> None:
    assert "Traceback" not in ended.err, ended.err
    assert "Exception ignored" not in ended.err, ended.err


@pytest.fixture(scope="module")
def folder(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("surroundings") / "folder"
    shutil.copytree(template, made)
    return made


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("name", RESULTS)
def test_streams(name, streams, processes, folder):
    shutil.rmtree(folder / "out", ignore_errors=True)
    replaced, codes = STREAMS[streams]
    ended = processes.run(filled(RESULTS[name], folder), folder, streams=replaced)
    require_no_traceback(ended)
    assert ended.code in codes, said(ended)
    if name == "train":  # whatever becomes of its messages
        assert (folder / "out" / "report.html").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("name", RESULTS)
def test_encodings(name, encoding, processes, folder):
    shutil.rmtree(folder / "out", ignore_errors=True)
    ended = processes.run(filled(RESULTS[name], folder), folder, encoding=encoding)
    require_no_traceback(ended)
    assert ended.code == 0, said(ended)


def test_two_trainings_in_one_folder(processes, folder):
    shutil.rmtree(folder / "out", ignore_errors=True)
    command = filled(TRAIN, folder)
    assert processes.run(command, folder).code == 0
    whole = meanings(folder, ("out",))
    for _ in range(3):
        shutil.rmtree(folder / "out")
        ended = processes.run(command, folder, beside=command)
        assert sorted((ended.code, ended.beside)) == [ExitCode.OK, ExitCode.OUTPUT]
        assert meanings(folder, ("out",)) == whole
        assert not unfinished(folder)


@pytest.mark.parametrize("command", [PNGS, ARRAYS], ids=["images", "arrays"])
def test_two_processes_that_predict_into_one_folder(command, processes, folder):
    shutil.rmtree(folder / "out", ignore_errors=True)
    arguments = [*filled(command, folder), "--force"]
    assert processes.run(arguments, folder).code == 0
    whole = meanings(folder, ("out",))
    for _ in range(3):
        shutil.rmtree(folder / "out")
        ended = processes.run(arguments, folder, beside=arguments)
        assert (ended.code, ended.beside) == (0, 0), said(ended)
        assert meanings(folder, ("out",)) == whole
        assert not unfinished(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 kB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=40k", "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk may not be mounted here ({mounted.stderr.strip()}): needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    "command", [TRAIN, PNGS, ARRAYS, STATE_DICT, WEIGHTS, EXPLAIN, IMPORT, SAMPLE, EVAL, CHECK],
    ids=lambda command: " ".join(command[:2]).replace("{w}/", ""),
)  # fmt: skip
def test_a_full_disk(command, processes, template, disk, tmp_path):
    """Nothing unfinished and nothing damaged is left on it, and all is as ever once there is room."""
    work = tmp_path / "work"
    shutil.copytree(template, work)
    outputs = [part.replace("{w}", str(disk)) if f"{command[n - 1]}" in WRITTEN else part
               for n, part in enumerate(command)]  # fmt: skip
    (disk / "filler").write_bytes(bytes(36 * 1024))
    ended = processes.run(filled(tuple(outputs), work), disk)
    require_no_traceback(ended)
    assert ended.code in (ExitCode.OK, ExitCode.OUTPUT), said(ended)
    assert ended.code == ExitCode.OUTPUT or os.path.getsize(disk / "filler")
    assert not unfinished(disk)
    assert not [each for each in meanings(disk, ("out",)).values() if each.startswith("damaged")]
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    for name in ("out", "maps"):
        if command is not TRAIN or not (disk / "out" / "config.toml").exists():
            shutil.rmtree(disk / name, ignore_errors=True)
    if (disk / "out" / "config.toml").exists():
        again = ["train", "--resume", "--out", str(disk / "out")]
    else:
        again = filled(tuple(outputs), work)
    ended = processes.run(again, disk)
    assert ended.code in (ExitCode.OK, ExitCode.PARTIAL), said(ended)
    assert not unfinished(disk)


#: Options whose value is an output.
WRITTEN = {"--out", "--json", "--confusion", "--save", "--npz", "--png"}
