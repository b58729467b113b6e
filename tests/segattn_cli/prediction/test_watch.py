"""A watched folder gives every picture once, when it is whole."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.prediction.watch import has_twin, watch

#: Seconds after which a test gives up waiting for what always comes, however busy the machine is.
DEADLINE = 300


class Watcher:
    """Watches in a thread that rests after each look, until a test lets it look again."""

    def __init__(self, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.stop = threading.Event()
        self.free = False  # looks again and again, without rest
        self.rests, self.again = threading.Semaphore(0), threading.Semaphore(0)
        monkeypatch.setattr("segattn_cli.prediction.watch._sleep", self.rest)
        self.thread = threading.Thread(target=self.run, args=(folder, out))
        self.thread.start()
        self.wait()

    def run(self, folder: Path, out: Path) -> None:
        for path in watch(folder, out, self.stop.is_set):
            self.seen.append(path.name)

    def rest(self, seconds: float, should_stop: object) -> None:
        if not self.free:
            self.rests.release()
            self.again.acquire()

    def wait(self) -> None:
        assert self.rests.acquire(timeout=DEADLINE)

    def look(self, times: int) -> list[str]:
        """The names given in the next so many looks."""
        before = len(self.seen)
        for _ in range(times):
            self.again.release()
            self.wait()
        return self.seen[before:]

    @contextmanager
    def looking_all_the_time(self) -> Iterator[None]:
        self.free = True
        self.again.release()
        yield
        self.free = False
        self.wait()


@pytest.fixture
def watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    """Has looked once at a folder with one picture."""
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "early.png")
    made = Watcher(tmp_path / "in", tmp_path / "in" / "out", monkeypatch)
    yield made
    made.stop.set()
    made.again.release()
    made.thread.join(timeout=DEADLINE)
    assert not made.thread.is_alive()


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def test_what_is_there_and_what_comes(watcher: Watcher, tmp_path: Path) -> None:
    assert watcher.seen == []  # it may still be written
    assert watcher.look(1) == ["early.png"]
    save(tmp_path / "in" / "deep" / "late.jpg")
    save(tmp_path / "in" / "out" / "result.png")
    save(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "empty.png").touch()
    assert watcher.look(2) == ["late.jpg"]
    assert watcher.look(5) == []


def test_a_file_that_grows_is_waited_for(watcher: Watcher, tmp_path: Path) -> None:
    watcher.look(1)
    with open(tmp_path / "in" / "slow.png", "wb") as file:
        for _ in range(5):
            file.write(b"x" * 100)
            file.flush()
            assert watcher.look(1) == []
    assert watcher.look(1) == ["slow.png"]


def test_one_that_changes_comes_again(watcher: Watcher, tmp_path: Path) -> None:
    watcher.look(3)
    (tmp_path / "in" / "early.png").write_bytes(b"something else")
    assert watcher.look(3) == ["early.png"]


def test_names_come_and_go(watcher: Watcher, tmp_path: Path) -> None:
    """Renamed is new; folders vanish while they are listed; links to nothing and folders called like pictures."""
    watcher.look(1)
    inside = tmp_path / "in"
    (inside / "early.png").rename(inside / "renamed.png")
    (inside / "link.png").symlink_to(inside / "nothing")
    (inside / "folder.png").mkdir()
    os.mkfifo(inside / "pipe.png")
    with watcher.looking_all_the_time():
        for number in range(30):
            save(inside / "brief" / str(number) / "gone.png")
            shutil.rmtree(inside / "brief")
    watcher.look(2)
    assert [name for name in watcher.seen if name != "gone.png"] == ["early.png", "renamed.png"]
    (inside / "link.png").unlink()
    (inside / "link.png").symlink_to(inside / "renamed.png")
    assert watcher.look(5) == ["link.png"]


def test_a_folder_that_is_back_is_nothing_new(watcher: Watcher, tmp_path: Path) -> None:
    watcher.look(1)
    (tmp_path / "in").rename(tmp_path / "away")
    assert watcher.look(3) == []
    (tmp_path / "away").rename(tmp_path / "in")
    save(tmp_path / "in" / "late.png")
    assert watcher.look(5) == ["late.png"]


def test_a_large_folder_is_no_busy_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a look takes, four times as long is rest."""
    looks: list[float] = []

    def slow(*_: object) -> list[Path]:
        looks.append(time.monotonic())
        time.sleep(0.05)
        return []

    monkeypatch.setattr("segattn_cli.prediction.watch.walk_images", slow)
    list(watch(tmp_path, tmp_path / "out", lambda: len(looks) == 3, interval=0.01))
    assert looks[1] - looks[0] >= 0.25


def test_twins(tmp_path: Path) -> None:
    for name in ("sun.jpg", "sun.PNG", "moon.jpg", "moon.txt"):
        (tmp_path / name).touch()
    assert [has_twin(tmp_path / name) for name in ("sun.jpg", "sun.PNG", "moon.jpg")] == [True, True, False]


def test_what_is_left_out_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.heic").touch()
    left_out: list[str] = []
    looks = iter(range(6))
    for _ in watch(
        tmp_path / "in", tmp_path / "out", lambda: next(looks, None) is None, interval=0.01,
        leave_out=lambda each: left_out.append(each.path.name),
    ):
        pass
    assert left_out == ["photo.heic"]
