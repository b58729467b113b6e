"""The pages on the check and on exit codes say what is so."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from backends.tolerances import TOLERANCES
from segattn_cli.checking.network_checks import ADDED_UP
from segattn_cli.errors import ExitCode


def test_the_page_on_the_check_runs(repository: Path) -> None:
    outcome = doctest.testfile(str(repository / "docs" / "check.md"), module_relative=False)
    assert outcome.attempted
    assert not outcome.failed


def test_the_page_on_the_check_has_the_table_of_tolerances(repository: Path) -> None:
    text = (repository / "docs" / "check.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (\w+) \| ([^|]+) \| (\d+) \|", text)
    assert {name: int(allowance) for name, _, allowance in rows} == {
        name: precision.allowance for name, precision in TOLERANCES.items()
    }
    assert {name: float(tolerance) for name, tolerance, _ in rows[:2]} == {
        name: TOLERANCES[name].tolerance for name in ("float64", "float32")
    }
    assert f"{ADDED_UP * TOLERANCES['float32'].allowance} times" in text


def test_the_page_on_exit_codes_has_them_all(repository: Path) -> None:
    text = (repository / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| (\w+) \|", text, re.M) == [(str(int(code)), code.name) for code in ExitCode]
