"""The help of every command: whole words at any width, metavars in place of Python's types, and sentences."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from segattn_cli.app import app


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below ``command``, itself included, with what is typed for it."""
    command = command or get_command(app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands())
EVERY_COMMAND = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def options(path: tuple[str, ...]) -> list[Any]:
    """The options and arguments that are ours."""
    return [each for each in COMMANDS[path].params if "completion" not in each.name]


@EVERY_COMMAND
@pytest.mark.parametrize("columns", [80, 120])
def test_words_are_whole_and_no_type_of_python_is_shown(
    cli: Any, path: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = cli(*path, "--help").out
    assert max(map(len, shown.splitlines())) <= columns
    assert not re.search(r"<\w", shown), "a type in angle brackets"
    words = set(shown.split())
    for each in options(path):
        names = each.opts if each.param_type_name == "option" else []
        assert {*names, *(each.metavar or "").split(), *each.help.split()} <= words, each.name
    first, *rest = inspect.cleandoc(COMMANDS[path].help).replace("\b\n", "").split("\n\n")
    assert set(first.split()) <= words
    lines = {line.strip() for line in shown.splitlines()}
    for line in "\n".join(rest).splitlines():
        assert line.strip() in lines, "a line of the text is wrapped"


@EVERY_COMMAND
def test_texts_are_sentences(path: tuple[str, ...]) -> None:
    for text in (COMMANDS[path].help.partition("\n")[0], *(each.help for each in options(path))):
        assert re.match(r"[A-Z].* .*[.]$", text), text


@EVERY_COMMAND
def test_the_same_option_means_the_same_everywhere(path: tuple[str, ...]) -> None:
    """What several commands share is defined once, in shared/options.py."""
    shared = {
        "--backend": "Backend to compute with: auto, numpy, numba, cupy or reference.",
        "--force": "Replace output files that exist.",
        "--set": "Set a key of the configuration",
        "--data": "Folder of the data set",
        "--format": "Format of the annotations" if path == ("data", "import") else "Layout of the data set",
    }
    for each in options(path):
        for name in set(each.opts) & set(shared):
            assert each.help.startswith(shared[name])
