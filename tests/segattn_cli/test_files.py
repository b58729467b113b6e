"""Files and folders that are written completely or not at all: several writers, kills, and what is planted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segattn_cli import files
from segattn_cli.errors import OutputError
from segattn_cli.files import moved_into_place, remove_stale, write_atomically

pytestmark = pytest.mark.skipif(os.name == "nt", reason="locks and links are POSIX's")

WRITER = """
import sys
from pathlib import Path
from segattn_cli.files import write_atomically
path, letter, size = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    write_atomically(Path(path), letter.encode() * int(size))
"""
#: Each stops in the middle of what it writes, and says so.
UNFINISHED = {
    "file": """
import os, sys, time
from pathlib import Path
from segattn_cli import files
def wait(*_):
    print("written", flush=True)
    time.sleep(1000)
os.replace = wait
files.write_atomically(Path(sys.argv[1], "page.html"), b"new")
""",
    "folder": """
import sys, time
from pathlib import Path
from segattn_cli.files import moved_into_place
with moved_into_place({"label": Path(sys.argv[1], "page.html")}) as paths:
    paths["label"].write_bytes(b"new")
    print("written", flush=True)
    time.sleep(1000)
""",
}


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed its first line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.kill()


def test_a_reader_of_what_two_write_sees_one_of_them_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    contents = {b"a" * 300_000, b"b" * 400_000}
    write_atomically(path, b"a" * 300_000)
    with running(WRITER, path, "a", 300_000) as first, running(WRITER, path, "b", 400_000) as second:
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        while first.poll() is None or second.poll() is None:
            assert path.read_bytes() in contents
        assert (first.returncode, second.returncode) == (0, 0)
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("kind", UNFINISHED)
def test_only_what_a_killed_process_left_is_removed(tmp_path: Path, kind: str) -> None:
    with running(UNFINISHED[kind], tmp_path) as process:
        (partial,) = tmp_path.iterdir()
        remove_stale(tmp_path)
        assert [*tmp_path.iterdir()] == [partial]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [*tmp_path.iterdir()] == [partial]
    files.remove_stale_once.cache_clear()
    if kind == "file":
        write_atomically(tmp_path / "next", b"")
    else:
        with moved_into_place({"label": tmp_path / "next"}) as paths:
            paths["label"].touch()
    assert [each.name for each in tmp_path.iterdir()] == ["next"]


def test_files_of_others_stay(tmp_path: Path) -> None:
    names = {".segattn-notes.partial", ".x.partial", ".segattn-0123456789abcdef", "events.jsonl"}
    for name in names - {".x.partial"}:
        (tmp_path / name).touch()
    (tmp_path / ".x.partial").mkdir()
    (tmp_path / ".segattn-0123456789abcdef.partial").symlink_to(tmp_path / "events.jsonl")
    os.mkfifo(tmp_path / ".segattn-0123456789abcdee.partial")
    remove_stale(tmp_path)
    kept = {".segattn-0123456789abcdef.partial", ".segattn-0123456789abcdee.partial"}
    assert {each.name for each in tmp_path.iterdir()} == names | kept


@pytest.mark.parametrize("plant", ["link", "pipe", "file"])
def test_what_is_planted_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str) -> None:
    planted, precious = tmp_path / ".segattn-00.partial", tmp_path / "precious"
    precious.write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda count: "00")
    if plant == "link":
        planted.symlink_to(precious)
    elif plant == "pipe":
        os.mkfifo(planted)
    else:
        precious.rename(planted)
        precious = planted
    with pytest.raises(OutputError, match="File exists"):
        write_atomically(tmp_path / "page.html", b"new")
    assert precious.read_text() == "mine"
    assert os.path.lexists(planted)


def test_taken_for_stale_by_a_process_that_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the moment in which a file or folder is made and that in which it is locked."""
    taken = []

    def take(descriptor: int) -> bool:
        if len(taken) % 2 == 0:
            taken.append(descriptor)
            remove_stale(tmp_path)
        else:
            taken.append(descriptor)
        return lock(descriptor)

    lock = files._lock
    monkeypatch.setattr(files, "_lock", take)
    write_atomically(tmp_path / "page.html", b"new")
    with moved_into_place({"label": tmp_path / "label.png"}) as paths:
        paths["label"].write_bytes(b"new")
    assert len(taken) == 4
    written = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert written == {"page.html": b"new", "label.png": b"new"}


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
