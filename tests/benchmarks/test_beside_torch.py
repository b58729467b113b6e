"""One recipe trained by both: the table, and that results that are there are not computed again."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from benchmarks import beside_torch, command_line

pytestmark = pytest.mark.torch

SETTINGS = (
    "data.scenes={size=[24, 32], train=13, val=3}", "augmentation.crop=[24, 32]", "network.head_channels=8",
    "network.scale_attention_channels=8", "training.batch_size=2", "training.backend=numpy", "training.max_steps=4",
)  # fmt: skip


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """``call(*options)``: the exit code, stdout and stderr of the command with OUT in ``tmp_path``."""

    def run(*options: str):
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        arguments = ["tiny-scenes", *settings, "--out", str(tmp_path / "out"), *options]
        monkeypatch.setattr(sys, "argv", ["beside_torch", *arguments])
        with pytest.raises(SystemExit) as end:
            command_line.run(beside_torch.main)
        return end.value.code, *capsys.readouterr()

    return run


def test_both_are_trained_once(call, tmp_path, monkeypatch):
    code, out, _ = call("--seeds", "5")
    assert code == 0
    ours = json.loads((tmp_path / "out" / "segattn-5" / "result.json").read_text())
    theirs = json.loads((tmp_path / "out" / "torch" / "5" / "result.json").read_text())
    assert ours["seed"] == theirs["seed"] == 5
    assert ours["steps"] == theirs["steps"] == 4
    row = out.splitlines()[2]
    assert row.startswith(f"| 5 | {100 * ours['last_miou']:.1f} | ")
    assert f" | {100 * theirs['miou']:.1f} | " in row
    monkeypatch.setattr(beside_torch.subprocess, "run", None)  # nothing is started
    assert call("--seeds", "5") == (0, out, "seed 5: segattn\nseed 5: PyTorch\n")
    code, out, err = call("--seeds", "5", "--set", "training.max_steps=5")
    assert (code, out) == (7, "")
    assert "another configuration" in err


def test_a_training_that_fails_ends_the_command_with_its_exit_code(call):
    code, out, _ = call("--seeds", "5", "--set", "training.batch_size=50")
    assert (code, out) == (4, "")
