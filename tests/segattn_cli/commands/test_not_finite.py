"""A network whose weights are finite, but so large that its scores are not: every command says so with code 9."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segattn_cli.errors import ExitCode
from segattn_cli.runs.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def absurd(tmp_path_factory: pytest.TempPathFactory, model_of: Callable[..., Path]) -> Path:
    path = model_of(tmp_path_factory.mktemp("absurd") / "model.safetensors")
    checkpoint = load_checkpoint(path)
    weight = checkpoint.arrays["head.classifier.weight"]
    save_checkpoint(
        path, {**checkpoint.arrays, "head.classifier.weight": np.full_like(weight, 3e38)}, checkpoint.metadata
    )
    return path


COMMANDS = {
    "infer": ["photos", "--out", "out"],
    "infer in windows": ["photos", "--out", "out", "--window", "16,16"],
    "infer to json": ["photos", "--out", "out", "--json", "--scores"],
    "eval": ["--limit", "1"],
    "eval to json": ["--limit", "1", "--json", "-", "--flip"],
    "explain": ["photos/a.jpg", "--out", "out.html"],
}  # fmt: skip


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_predicted(
    cli: Any, absurd: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, backend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli(name.split()[0], absurd, *COMMANDS[name], "--backend", backend)
    assert done.code == ExitCode.NON_FINITE
    assert done.out == ""
    assert done.err.count("scores hold a NaN or an infinity") == 1
    assert "Warning" not in done.err
    assert not list(tmp_path.glob("out*/*"))


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="pip install onnxruntime")
def test_what_is_exported_is_checked(cli: Any, absurd: Path, tmp_path: Path) -> None:
    done = cli("export", absurd, "--out", tmp_path / "net.onnx", "--check", "--backend", "reference")
    assert done.code == ExitCode.NON_FINITE
    assert "scores hold a NaN or an infinity" in done.err


def test_a_report_has_the_curves(cli: Any, absurd: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("data.scenes={size=[24, 32], train=4, val=3}", "training.max_steps=1", "training.batch_size=2",
                "network.head_channels=8", "network.scale_attention_channels=8")  # fmt: skip
    sets = [part for each in settings for part in ("--set", each)]
    assert cli("train", "--out", run, "--backend", "reference", *sets).code == ExitCode.OK
    (run / "best.safetensors").write_bytes(absurd.read_bytes())
    (run / "report.html").unlink()
    done = cli("report", run, "--backend", "reference")
    assert done.code == ExitCode.NON_FINITE
    assert "scores hold a NaN or an infinity" in done.err
    assert (run / "report.html").stat().st_size
