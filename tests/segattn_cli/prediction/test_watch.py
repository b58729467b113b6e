"""A watched folder gives every picture once, when it is whole."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.prediction.watch import has_twin, watch

INTERVAL = 0.2


class Watcher:
    """Watches in a thread; ``seen`` are the pictures so far."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.seen: list[Path] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(folder, out))
        self.thread.start()

    def run(self, folder: Path, out: Path) -> None:
        for path in watch(folder, out, self.stop.is_set, interval=INTERVAL):
            self.seen.append(path)  # one by one: a test looks on

    def wait_for(self, count: int) -> list[str]:
        end = time.monotonic() + 10
        while len(self.seen) < count and time.monotonic() < end:
            time.sleep(0.01)
        return [path.name for path in self.seen]


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "early.png")
    made = Watcher(tmp_path / "in", tmp_path / "in" / "out")
    yield made
    made.stop.set()
    made.thread.join(timeout=10)
    assert not made.thread.is_alive()


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def test_what_is_there_and_what_comes(watcher: Watcher, tmp_path: Path) -> None:
    assert watcher.wait_for(1) == ["early.png"]
    save(tmp_path / "in" / "deep" / "late.jpg")
    save(tmp_path / "in" / "out" / "result.png")
    save(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "empty.png").touch()
    assert watcher.wait_for(2) == ["early.png", "late.jpg"]
    time.sleep(5 * INTERVAL)
    assert len(watcher.seen) == 2


def test_a_file_that_grows_is_waited_for(watcher: Watcher, tmp_path: Path) -> None:
    watcher.wait_for(1)
    path = tmp_path / "in" / "slow.png"
    with open(path, "wb") as file:
        for _ in range(12):
            file.write(b"x" * 100)
            file.flush()
            assert path not in watcher.seen
            time.sleep(INTERVAL / 5)
    assert watcher.wait_for(2) == ["early.png", "slow.png"]
    assert path.stat().st_size == 1200


def test_one_that_changes_comes_again(watcher: Watcher, tmp_path: Path) -> None:
    watcher.wait_for(1)
    time.sleep(3 * INTERVAL)
    (tmp_path / "in" / "early.png").write_bytes(b"something else")
    assert watcher.wait_for(2) == ["early.png", "early.png"]


def test_names_come_and_go(watcher: Watcher, tmp_path: Path) -> None:
    """Renamed is new; folders vanish while they are listed; links to nothing and folders called like pictures."""
    watcher.wait_for(1)
    inside = tmp_path / "in"
    (inside / "early.png").rename(inside / "renamed.png")
    (inside / "link.png").symlink_to(inside / "nothing")
    (inside / "folder.png").mkdir()
    os.mkfifo(inside / "pipe.png")
    for number in range(30):
        save(inside / "brief" / str(number) / "gone.png")
        shutil.rmtree(inside / "brief")
        time.sleep(INTERVAL / 40)
    assert watcher.wait_for(2) == ["early.png", "renamed.png"]
    (inside / "link.png").unlink()
    (inside / "link.png").symlink_to(inside / "renamed.png")
    assert watcher.wait_for(3)[2:] == ["link.png"]
    time.sleep(3 * INTERVAL)
    assert len(watcher.seen) == 3


def test_a_folder_that_is_back_is_nothing_new(watcher: Watcher, tmp_path: Path) -> None:
    watcher.wait_for(1)
    (tmp_path / "in").rename(tmp_path / "away")
    time.sleep(3 * INTERVAL)
    (tmp_path / "away").rename(tmp_path / "in")
    save(tmp_path / "in" / "late.png")
    assert watcher.wait_for(2) == ["early.png", "late.png"]
    time.sleep(3 * INTERVAL)
    assert len(watcher.seen) == 2


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
