"""The solutions in docs/understand/exercises.md are right: files, changes, and commands with their output."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "understand" / "exercises.md"
#: A block of code with what the line before it names in backticks, at its end.
BLOCK = re.compile(r"^(?:[^\n]*`([\w/.]+)`[^\n`]*:\n\n)?(`{3,})(\w+)\n(.*?)^\2$", re.MULTILINE | re.DOTALL)
#: What the code that the solutions change consists of, with its tests and pages.
PARTS = ("reference", "backends", "segattn_cli", "tests", "docs", "pyproject.toml")


def exercises() -> dict[str, str]:
    """The text of each exercise by its heading."""
    _, *parts = re.split(r"^## (?=\d)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.partition("\n")[0]: part for part in parts}


def steps(text: str) -> Iterator[tuple[str, str, str]]:
    """The blocks of a solution in their order: the kind, the file that is named before it, and the text."""
    for name, _, kind, block in BLOCK.findall(text):
        yield kind, name, block


def change(folder: Path, diff: str) -> None:
    """Apply a change without line numbers: its lines of context stand in the file once."""
    head, *lines = diff.splitlines()
    path = folder / head.removeprefix("--- ")
    before = "".join(f"{line[1:]}\n" for line in lines[1:] if line[0] in " -")
    after = "".join(f"{line[1:]}\n" for line in lines[1:] if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} does not have this once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def run(folder: Path, repository: Path, transcript: str) -> None:
    """Run each command of a transcript and compare what it prints with what is shown."""
    home = folder if (folder / "reference").is_dir() else repository
    # Without files of bytecode: one belongs to a second and a length, and a sign is changed faster than that.
    environment = os.environ | {"PYTHONPATH": str(home), "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1"}
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", transcript, re.MULTILINE):
        program, *arguments = shlex.split(command)
        start = {"python": [sys.executable], "segattn": [sys.executable, "-m", "segattn_cli"]}[program]
        done = subprocess.run(
            [*start, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        wanted = shown.replace("…", "...")
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(wanted, done.stdout, flags), done.stdout
        assert done.returncode == (10 if "✗" in shown else 0)


def write(folder: Path, name: str, text: str) -> None:
    assert name, f"no file is named before:\n{text}"
    path = folder / name
    assert not path.exists(), name
    path.write_text(text, encoding="utf-8")


#: The one that adds an op runs tests of its own, for several seconds.
TITLES = [pytest.param(each, marks=[pytest.mark.slow] if "Add an op" in each else []) for each in exercises()]


@pytest.mark.parametrize("title", TITLES)
def test_a_solution_does_what_the_page_shows(title, repository, tmp_path):
    blocks = list(steps(exercises()[title]))
    kinds = {kind for kind, _, _ in blocks}
    if "diff" in kinds:
        for part in PARTS:
            copy = shutil.copytree if (repository / part).is_dir() else shutil.copy
            copy(repository / part, tmp_path / part)
    for kind, name, text in blocks:
        if kind == "diff":
            change(tmp_path, text)
        elif kind == "console":
            run(tmp_path, repository, text)
        else:
            write(tmp_path, name, text)
    assert "console" in kinds


@pytest.mark.parametrize("title", exercises())
def test_changes_fit_the_code(title, repository, tmp_path):
    for kind, _, text in steps(exercises()[title]):
        if kind == "diff":
            name = text.partition("\n")[0].removeprefix("--- ")
            if not (tmp_path / name).exists():
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(repository / name, tmp_path / name)
            change(tmp_path, text)


def test_there_are_seven_exercises_and_each_has_one_solution():
    assert len(exercises()) == 7
    for title, text in exercises().items():
        assert text.count("<summary>Solution</summary>") == text.count("</details>") == 1, title
