"""Sentences are wrapped at words on a terminal, and never in a file or a pipe."""

from __future__ import annotations

import io
import sys

import pytest

from segattn_cli.commands.shared import terminal

SENTENCE = "A class that occurs neither in the truth nor in the predictions has no IoU and is left out."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_with_markup(sentence: str) -> None:
    terminal.console().print(terminal.plain(sentence))


@pytest.mark.parametrize("show", [terminal.say, show_with_markup])
@pytest.mark.parametrize("columns", [30, 80])
def test_a_terminal_breaks_no_word(monkeypatch: pytest.MonkeyPatch, show: object, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", Terminal())
    show(SENTENCE)  # type: ignore[operator]
    lines = sys.stdout.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) > 1
    assert max(map(len, lines)) <= columns
    assert " ".join(line.strip() for line in lines) == SENTENCE


@pytest.mark.parametrize("show", [terminal.say, show_with_markup])
def test_a_pipe_has_each_sentence_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], show: object
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    show(50 * SENTENCE)  # type: ignore[operator]
    assert capsys.readouterr().out == 50 * SENTENCE + "\n"


def test_messages_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stderr", Terminal())
    terminal.complain(SENTENCE)
    lines = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert " ".join(lines) == f"segattn: {SENTENCE}"
    assert max(map(len, lines)) <= 40


def test_paths_are_never_broken_and_markup_in_them_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys, "stdout", Terminal())
    path = "runs/" + 10 * "a-long-name/" + "[bold]x"
    terminal.say(f"Report: {path}")
    terminal.show_next(f"segattn eval {path}")
    out = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert path in out
    assert f"  segattn eval {path}\n" in out  # to be copied as it is
    assert terminal.plain("[bold]x\x1b[31m") == "\\[bold]x?[31m"
