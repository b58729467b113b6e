"""``segattn data download``: the licence first, then the files, then what to do with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.data import download as downloading
from segattn_cli.data.download import Entry, Fetched


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that something was fetched into; no server is asked."""
    folders: list[Path] = []

    def fetch(repository: Any, out: Path) -> Iterator[Fetched]:
        folders.append(out)
        yield Fetched(Entry("train.txt", "0" * 40, 10**6), True, 1, 2, 10**6, 2 * 10**6)
        yield Fetched(Entry("val.txt", "0" * 40, 10**6), False, 2, 2, 2 * 10**6, 2 * 10**6)

    monkeypatch.setattr(downloading, "download", fetch)
    return folders


def test_the_licence_is_shown_and_what_comes_next(cli: Any, fetched: list[Path], tmp_path: Path) -> None:
    result = cli("data", "download", "camvid", "--out", tmp_path / "CamVid", "--accept-licence")
    assert result.code == 0
    assert "BY-NC" in result.err
    assert "2 files, 2 MB, all checked (1 were there)" in result.out
    assert f"segattn data check {tmp_path / 'CamVid'}" in result.out
    assert fetched == [tmp_path / "CamVid"]


def test_without_agreement_nothing_is_fetched(cli: Any, fetched: list[Path], tmp_path: Path) -> None:
    result = cli("data", "download", "camvid", "--out", tmp_path / "CamVid")
    assert result.code == 2
    assert "--accept-licence" in result.err
    assert fetched == []


def test_bad_input(cli: Any, fetched: list[Path], tmp_path: Path) -> None:
    assert cli("data", "download", "cityscapes", "--accept-licence").code == 2
    (tmp_path / "file").write_text("")
    result = cli("data", "download", "camvid", "--out", tmp_path / "file", "--accept-licence")
    assert result.code == 7
    assert fetched == []
