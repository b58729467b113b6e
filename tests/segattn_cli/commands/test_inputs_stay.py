"""No command writes a result onto what it reads, or two results onto one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segattn_cli.errors import ExitCode


@pytest.fixture
def folder(cli: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shards, a checkpoint, a configuration and a study, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    for number in (1, 2):
        assert cli("eval", "best.safetensors", "--shard", f"{number}/2", "--save", f"{number}.npz").code == 0
    Path("mine.toml").write_text('[network]\nhead = "fcn"\n', encoding="utf-8")
    study = 'preset = "tiny-scenes"\nseeds = 1\n[rows.dual]\n[rows.fcn]\nnetwork.head = "fcn"\n'
    Path("study.toml").write_text(study, encoding="utf-8")
    Path("link.npz").symlink_to("1.npz")
    return tmp_path


def test_inputs_stay(cli: Any, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for command in (
        "merge 1.npz 2.npz --save 1.npz",
        "merge 1.npz 2.npz --json link.npz",
        "compare 1.npz 2.npz --json 2.npz",
        "compare 1.npz 2.npz --markdown 1.npz",
        "compare 1.npz 2.npz --csv 1.npz",
        "eval best.safetensors --json best.safetensors",
        "eval best.safetensors --confusion best.safetensors",
        "eval 1.npz --with best.safetensors --json best.safetensors",
        "export best.safetensors --to state-dict --out best.safetensors --force",
        "weights import best.safetensors --out best.safetensors --force",
        "summary mine.toml --json mine.toml",
        "ablate study.toml --out new --markdown study.toml",
    ):
        done = cli(*command.split())
        assert (command, done.code) == (command, ExitCode.USAGE)
        assert "is an input and would be overwritten: choose another path." in done.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_two_results_are_not_one_file(cli: Any, folder: Path) -> None:
    for command in (
        "merge 1.npz 2.npz --save new.npz --json ./new.npz",
        "compare 1.npz 2.npz --markdown new --csv new",
        "eval best.safetensors --json new --confusion new",
    ):
        done = cli(*command.split())
        assert (command, done.code) == (command, ExitCode.USAGE)
        assert "is named for two outputs: choose another path for one of them." in done.err
    assert not (folder / "new").exists()
