"""What a report says about the machine and the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from segattn_cli.benchmarking import machine
from segattn_cli.benchmarking.machine import checkout, examine


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_a_checkout_knows_its_commit_and_whether_it_was_changed(repository: Path) -> None:
    commit, changed = checkout(repository)
    assert commit is not None
    assert len(commit) >= 7
    assert changed is False
    (repository / "new").write_text("what git does not know may be a result")
    assert checkout(repository) == (commit, False)
    (repository / "file").write_text("two")
    assert checkout(repository) == (commit, True)


def test_elsewhere_nobody_knows(repository: Path, tmp_path: Path) -> None:
    (repository / "site-packages").mkdir()
    assert checkout(repository / "site-packages") == (None, None)  # not the repository around it


def test_a_processor_has_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "matmul_gflops", lambda dtype, size, repeats: 123.0)
    found = examine()
    assert found.peaks == {"float32": 123.0}
    assert set(found.as_json()) == {"machine", "versions", "kernels", "commit", "changed"}
    assert len(found.machine["date"]) == 10
