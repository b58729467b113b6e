"""``segattn infer`` on videos, frames and a watched folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.images import read_image
from segattn_cli.errors import ExitCode
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import open_model

#: Seconds after which what hangs is killed: no process takes as long, however busy the machine is.
DEADLINE = 300


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive a test that fails: a watch has no end of its own, nor has waiting for it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        emergency = threading.Timer(DEADLINE, process.kill)
        emergency.start()
        try:
            yield process
        finally:
            emergency.cancel()
            process.kill()


@pytest.fixture
def frames(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(folder / f"f{number}.png")
    return folder


def test_frames_to_a_video_and_the_video_again(cli: Any, run: Path, frames: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    out = tmp_path / "out"
    done = cli("infer", run, frames, "--out", out, "--video", "drive.mp4", "--fps", "5", "--json")
    assert done.code == ExitCode.OK
    said, summary = map(json.loads, done.out.splitlines())
    assert (said["frames"], said["size"], said["rate"], said["broken"]) == (3, [24, 32], "5", None)
    assert summary["summary"]["segmented"] == 1
    with av.open(said["video"]) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3
    again = cli("infer", run, out / "drive.mp4", frames / "f0.png", "--out", tmp_path / "again")
    assert again.code == ExitCode.OK
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["drive.mp4", "f0.png"]
    assert cli("infer", run, out / "drive.mp4", "--out", tmp_path / "again").code == ExitCode.OUTPUT
    assert cli("infer", run, out / "drive.mp4", "--out", tmp_path / "again", "--resume").err == "1 skipped\n"
    assert cli("infer", run, frames, "--out", out, "--video", "drive.mp4").code == ExitCode.OUTPUT


def test_a_bad_video_does_not_stop_the_rest(cli: Any, run: Path, frames: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    done = cli("infer", run, bad, frames / "f0.png", "--out", tmp_path / "out")
    assert done.code == ExitCode.PARTIAL
    assert "bad.mp4 is damaged or no video at all" in done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f0.png"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--video", "drive.avi"], "--video must be the name of a file in --out"),
        (["--video", "../drive.mp4"], "--video must be the name of a file in --out"),
        (["--fps", "5"], "--fps is for a --video"),
        (["--video", "drive.mp4", "--fps", "0"], "--fps must be 0.001 to 1000 frames"),
        (["--video", "drive.mp4", "--fps", "1e-9"], "--fps must be 0.001 to 1000 frames"),
        (["--video", "drive.mp4", "--fps", "many"], "--fps must be 0.001 to 1000 frames"),
        (["--video", "drive.mp4", "--entropy"], "--entropy is for images"),
        (["--watch", "."], "leave out other inputs"),
    ],
)
def test_what_does_not_go_together(
    cli: Any, run: Path, frames: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    done = cli("infer", run, frames, "--out", tmp_path / "out", *options)
    assert done.code == ExitCode.USAGE
    assert says in done.err
    assert done.err.count("\n") == 1


def test_without_pyav(cli: Any, run: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    done = cli("infer", run, frames, "--out", tmp_path / "out", "--video", "drive.mp4")
    assert done.code == ExitCode.BACKEND
    assert done.err.splitlines()[-1].endswith("install it with pip install 'segattn[video]'.")
    (frames / "drive.mp4").touch()
    done = cli("infer", run, frames / "f0.png", frames / "drive.mp4", "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (ExitCode.BACKEND, 1)
    assert not (tmp_path / "out").exists()  # before the work, not after


def test_nothing_to_do(cli: Any, run: Path, tmp_path: Path) -> None:
    done = cli("infer", run, "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (ExitCode.USAGE, 1)
    assert "--watch DIR" in done.err
    assert cli("infer", run, "--out", tmp_path / "out", "--watch", tmp_path / "none").code == ExitCode.DATA
    assert cli("infer", run, "--out", tmp_path, "--watch", tmp_path).code == ExitCode.USAGE
    (tmp_path / "deep").mkdir()
    above = cli("infer", run, "--out", tmp_path, "--watch", tmp_path / "deep")
    assert (above.code, above.err.count("\n")) == (ExitCode.USAGE, 1)
    assert "images might be replaced" in above.err
    (tmp_path / "deep" / "drive.mp4").touch()
    file = cli("infer", run, "--out", tmp_path / "deep" / "drive.mp4", "--watch", tmp_path / "deep")
    assert (file.code, file.err.count("\n")) == (ExitCode.OUTPUT, 1)
    assert cli("infer", run, tmp_path / "deep", "--out", tmp_path / "out").err.endswith("name videos themselves.\n")


def test_frames_that_cannot_be_used(cli: Any, run: Path, frames: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    make = ["infer", run, frames, "--out", tmp_path / "out", "--video", "drive.mp4", "--json"]
    (frames / "f2.png").write_bytes(b"no picture")
    done = cli(*make)
    assert done.code == ExitCode.PARTIAL
    said, summary = map(json.loads, done.out.splitlines())
    assert (said["frames"], said["broken"]) == (2, f"{frames / 'f2.png'} is damaged or no image at all.")
    (frames / "f0.png").write_bytes(b"no picture")
    done = cli(*make, "--force")
    assert done.code == ExitCode.DATA
    said, summary = map(json.loads, done.out.splitlines())
    assert (said["status"], summary["summary"]["failed"]) == ("failed", 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drive.mp4"]  # the one of before


def test_a_video_that_does_not_fit_into_memory(
    cli: Any, run: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")

    def too_large(self: Predictor, image: np.ndarray, output: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Predictor, "maps", too_large)
    done = cli("infer", run, frames, "--out", tmp_path / "out", "--video", "drive.mp4")
    assert done.code == ExitCode.DATA
    assert "drive.mp4 needs more memory than there is: try a --window." in done.err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_video_that_is_interrupted_leaves_nothing(run: Path, frames: Path, tmp_path: Path, number: int) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    for copy in range(4000):  # it is far from done, however late the signal comes
        os.link(frames / "f0.png", frames / f"g{copy}.png")
    out = tmp_path / "out"
    command = ["infer", str(run), str(frames), "--out", str(out), "--video", "drive.mp4"]
    with started([sys.executable, "-m", "segattn_cli.app", *command]) as process:
        end = time.monotonic() + DEADLINE
        while not (out.exists() and any(out.rglob("drive.mp4"))) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait() == ExitCode.INTERRUPTED
    assert list(out.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_watched_pictures_keep_their_names(run: Path, tmp_path: Path) -> None:
    """Whichever of two that differ in their ending came first, after a restart too."""
    folder, out = tmp_path / "in", tmp_path / "in" / "out"
    folder.mkdir()
    command = [
        *(sys.executable, "-m", "segattn_cli.app", "infer", str(run), "--watch", str(folder)),
        *("--out", str(out), "--json"),
    ]

    def said(process: subprocess.Popen[str]) -> tuple[str, str, str]:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        return Path(found["input"]).name, found["status"], Path(found["label"]).name

    with started(command) as process:
        Image.new("RGB", (9, 8)).save(folder / "sun.png")
        assert said(process) == ("sun.png", "segmented", "sun.png")
        Image.new("RGB", (7, 6)).save(folder / "sun.jpg")
        assert said(process) == ("sun.jpg", "segmented", "sun.jpg.png")
        Image.new("RGB", (5, 4)).save(folder / "moon.png")
        assert said(process) == ("moon.png", "segmented", "moon.png")
        (folder / "moon.png").unlink()
        Image.new("RGB", (3, 2)).save(folder / "moon.jpg")
        assert said(process) == ("moon.jpg", "segmented", "moon.jpg.png")  # moon.png is that of the other
        (folder / "moon.jpg").unlink()
        process.send_signal(signal.SIGINT)
        assert process.wait() == ExitCode.OK
    command.append("--resume")
    with started(command) as process:
        assert said(process) == ("sun.jpg", "skipped", "sun.jpg.png")
        assert said(process) == ("sun.png", "segmented", "sun.png.png")
        process.send_signal(signal.SIGINT)
        assert process.wait() == ExitCode.OK
    assert read_image(out / "sun.jpg.png").shape == (6, 7, 3)
    assert read_image(out / "sun.png.png").shape == read_image(out / "sun.png").shape == (8, 9, 3)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_watched_folder(run: Path, frames: Path) -> None:
    out = frames / "out"
    command = [
        *(sys.executable, "-m", "segattn_cli.app", "infer", str(run), "--watch", str(frames)),
        *("--out", str(out), "--json", "--confidence"),
    ]
    with started(command) as process:
        assert process.stdout is not None
        first = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [Path(each["label"]).name for each in first] == ["f0.png", "f1.png", "f2.png"]
        (frames / "broken.png").write_bytes(b"no picture")
        assert json.loads(process.stdout.readline())["status"] == "failed"
        (frames / "deep").mkdir()
        Image.fromarray(read_image(frames / "f0.png")).save(frames / "deep" / "f0.bmp")
        assert Path(json.loads(process.stdout.readline())["label"]) == out / "deep" / "f0.png"
        process.send_signal(signal.SIGINT)
        summary = json.loads(process.stdout.readline())["summary"]
        assert (summary["segmented"], summary["failed"]) == (4, 1)
        assert process.wait() == ExitCode.PARTIAL
    model = open_model(run)
    from backends import get_backend

    predictor = Predictor(model.network, model.params, get_backend("numpy"), size=model.config.data.size)
    with Image.open(out / "deep" / "f0.png") as label:
        found = np.asarray(label)
    assert (found == predictor.label(read_image(frames / "f0.png"))).mean() > 0.99
    with started([*command, "--resume"]) as again:
        assert again.stdout is not None
        said = [json.loads(again.stdout.readline())["status"] for _ in range(5)]
        again.send_signal(signal.SIGTERM)
        assert sorted(said) == ["failed", "skipped", "skipped", "skipped", "skipped"]
        assert again.wait() == ExitCode.PARTIAL
