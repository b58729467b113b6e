"""Standard streams, paths that cannot be used, full disks, and two processes in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from segattn_cli.errors import ExitCode

from .file_faults import REFUSALS
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


#: Commands with a path in each of their places: {p} is the path.
PATHS = {
    "train": [
        ("train", "{p}", "--dry-run"), ("train", "--data", "{p}", "--dry-run"),
        ("train", *TRAIN[3:], "--out", "{p}"), ("train", "--resume", "--out", "{p}"),
        ("train", "--weights", "{p}", "--dry-run"),
    ],
    "eval": [
        ("eval", "{p}", "--backend", "numpy"), ("eval", "{w}/run", "--backend", "numpy", "--data", "{p}"),
        *(("eval", "{w}/run", "--backend", "numpy", option, "{p}") for option in ("--json", "--confusion")),
        ("eval", "{w}/run", "--with", "{p}"),
    ],
    "infer": [
        ("infer", "{p}", "{w}/images", "--backend", "numpy"),
        ("infer", "{w}/run", "{p}", "--out", "{w}/o", "--backend", "numpy"),
        ("infer", "{w}/run", "{w}/images/a.png", "--out", "{p}", "--backend", "numpy"),
        ("infer", "{w}/run", "--watch", "{p}/x", "--out", "{w}/o", "--backend", "numpy"),
    ],
    "export": [
        ("export", "{p}", "--out", "{w}/n.safetensors"),
        ("export", "{w}/run", "--to", "state-dict", "--out", "{p}"),
    ],
    "explain": [
        ("explain", "{p}", "{w}/images/a.png", "--out", "{w}/e.html", "--backend", "numpy"),
        ("explain", "{w}/run", "{p}", "--out", "{w}/e.html", "--backend", "numpy"),
        *(("explain", "{w}/run", "{w}/images/a.png", "--out", "{w}/e.html", "--force", option, "{p}", "--backend",
           "numpy") for option in ("--png", "--npz")),
        ("explain", "{w}/run", "{w}/images/a.png", "--out", "{p}", "--backend", "numpy"),
    ],
    "report": [("report", "{p}", "--backend", "numpy"), ("report", "{w}/run", "--curves-only", "--out", "{p}")],
    "summary": [("summary", "{p}"), ("summary", "{w}/run", "--json", "{p}")],
    "weights": [
        ("weights", "show", "{p}"), ("weights", "import", "{p}", "--out", "{w}/m.safetensors"),
        ("weights", "import", "{w}/run/best.safetensors", "--out", "{p}"),
    ],
    "data": [
        ("data", "check", "{p}"), ("data", "check", "{w}/data", "--json", "{p}"),
        ("data", "import", "{p}", "--out", "{w}/i"), ("data", "import", "{w}/export", "--out", "{p}"),
        ("data", "import", "{w}/export", "--images", "{p}", "--out", "{w}/i"),
        ("data", "import", "{w}/export", "--classes", "{p}", "--out", "{w}/i"),
        ("data", "sample", "scenes", "--count", "1", "--out", "{p}"),
    ],
    "ablate": [("ablate", "{p}")],
}  # fmt: skip


@pytest.fixture(scope="module")
def odd_paths(folder: Path) -> Iterator[list[Path]]:
    """Names that are too long, folders and files that may not be searched, read or written."""
    closed, listed, still = (folder / name for name in ("closed", "unlisted", "still"))
    for each in (closed, listed, still):
        each.mkdir()
        (each / "a.png").write_bytes((folder / "images" / "a.png").read_bytes())
    closed.chmod(0o000)
    listed.chmod(0o311)
    still.chmod(0o555)
    unreadable = folder / "unreadable"
    unreadable.touch(mode=0o000)
    yield [
        folder / ("x" * 300), folder.joinpath(*["b" * 200] * 25), closed, closed / "a.png", listed,
        still / "new", unreadable, unreadable / "below", Path("/dev/null/x"),
    ]  # fmt: skip
    for each in (closed, listed, still):
        each.chmod(0o700)


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_cannot_be_used(name, processes, folder, odd_paths):
    problems = []
    for path in odd_paths:
        for arguments in PATHS[name]:
            for made in ("o", "i", "e.html", "n.safetensors", "m.safetensors"):
                each = folder / made
                shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
            given = [part.replace("{p}", str(path)) for part in filled(arguments, folder)]
            ended = processes.run(given, folder, obeys_modes=True)
            sentences = [line for line in ended.err.splitlines() if line.startswith("segattn: ")]
            usage = ended.code == ExitCode.USAGE  # by Typer, in a box
            if "Traceback" in ended.err or not (usage or (ended.code in REFUSALS and sentences)):
                problems.append(f"{' '.join(given)[-150:]} → {ended.code}: {said(ended)}")
    assert not problems, "\n".join(problems)


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
