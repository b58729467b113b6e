"""Tables on a terminal: numbers are whole at any width."""

from __future__ import annotations

import re
import sys

import pytest

from segattn_cli.commands.shared.tables import show_text_table

HEADINGS = ["run", "mIoU", "95 % interval", ""]
ROWS = [["fcn", "0.287 ± 0.020", "", ""], ["a [b]", "0.329", "−0.002 to +0.087", "cannot be told apart"]]


def shown(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_text_table(HEADINGS, ROWS)
    text = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    return [line.rstrip() for line in text.splitlines()]


def test_a_table_where_there_is_room(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(80, monkeypatch, capsys)
    assert " run              mIoU      95 % interval" in lines
    assert " a [b]           0.329   −0.002 to +0.087   cannot be told apart" in lines


def test_a_paragraph_for_each_row_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(40, monkeypatch, capsys) == [
        "fcn: mIoU 0.287 ± 0.020",
        "a [b]: mIoU 0.329, 95 % interval −0.002",
        "to +0.087, cannot be told apart",
        "",
    ]
