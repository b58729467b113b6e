"""``segattn infer`` on videos, frames and a watched folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.images import read_image
from segattn_cli.errors import ExitCode
from segattn_cli.inference import Predictor
from segattn_cli.runs import open_model


@pytest.fixture
def frames(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(folder / f"f{number}.png")
    return folder


def test_frames_to_a_video_and_the_video_again(cli: Any, run: Path, frames: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
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
    pytest.importorskip("av", reason="PyAV is not installed")
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    done = cli("infer", run, bad, frames / "f0.png", "--out", tmp_path / "out")
    assert done.code == ExitCode.PARTIAL
    assert "bad.mp4 is damaged or no video at all" in done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f0.png"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--video", "drive.avi"], "--video names a file in --out"),
        (["--video", "../drive.mp4"], "--video names a file in --out"),
        (["--video", "drive.mp4", "--fps", "0"], "--fps wants frames a second"),
        (["--video", "drive.mp4", "--fps", "many"], "--fps wants frames a second"),
        (["--video", "drive.mp4", "--entropy"], "--entropy is for pictures"),
        (["--watch", "."], "leave other inputs"),
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


def test_nothing_to_do(cli: Any, run: Path, tmp_path: Path) -> None:
    done = cli("infer", run, "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (ExitCode.USAGE, 1)
    assert "give --watch DIR" in done.err
    assert cli("infer", run, "--out", tmp_path / "out", "--watch", tmp_path / "none").code == ExitCode.DATA
    assert cli("infer", run, "--out", tmp_path, "--watch", tmp_path).code == ExitCode.USAGE


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_watched_folder(run: Path, frames: Path) -> None:
    out = frames / "out"
    command = [
        *(sys.executable, "-m", "segattn_cli.app", "infer", str(run), "--watch", str(frames)),
        *("--out", str(out), "--json", "--confidence"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
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
        assert process.wait(timeout=20) == ExitCode.PARTIAL
    model = open_model(run)
    from backends import get_backend

    predictor = Predictor(model.network, model.params, get_backend("numpy"), size=model.config.data.size)
    with Image.open(out / "deep" / "f0.png") as label:
        found = np.asarray(label)
    assert (found == predictor.label(read_image(frames / "f0.png"))).mean() > 0.99
    with subprocess.Popen([*command, "--resume"], stdout=subprocess.PIPE, text=True) as again:
        assert again.stdout is not None
        said = [json.loads(again.stdout.readline())["status"] for _ in range(5)]
        again.send_signal(signal.SIGTERM)
        assert sorted(said) == ["failed", "skipped", "skipped", "skipped", "skipped"]
        assert again.wait(timeout=20) == ExitCode.PARTIAL
