"""What cannot be written is refused before the work begins; a path whose links never end is a path like others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segattn_cli.commands.shared.json import STDOUT
from segattn_cli.commands.shared.output_paths import require_replaceable, require_writable
from segattn_cli.errors import OutputError
from segattn_cli.runs.names import labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("there/new")
    return tmp_path


@pytest.mark.parametrize("name", ["new", "file", "link", "there/new"])
def test_what_can_be_made_or_replaced(folder: Path, name: str) -> None:
    require_replaceable(folder / name, None, STDOUT, Path("/dev/null"))
    assert sorted(each.name for each in folder.iterdir()) == ["file", "link", "there"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("there", "is a folder: name a file"), (".", "is a folder: name a file"), ("no/new", "There is no folder"),
     ("file/new", "There is no folder")],
)  # fmt: skip
def test_what_can_be_neither(folder: Path, name: str, sentence: str) -> None:
    for require in (require_replaceable, lambda path: require_writable(path, force=True)):
        with pytest.raises(OutputError, match=sentence):
            require(folder / name)


def test_where_nothing_may_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    with pytest.raises(OutputError, match="may not be written to: choose another path for new"):
        require_replaceable(folder / "there" / "new", folder / "new")


def test_what_exists_is_not_replaced_without_force(folder: Path) -> None:
    with pytest.raises(OutputError, match="exists already: replace it with --force"):
        require_writable(folder / "file", force=False)
    require_writable(folder / "file", force=True)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this system has no links")
def test_a_link_that_never_ends_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert labels([tmp_path / "loop" / "first", tmp_path / "loop" / "second"]) == ["first", "second"]
