"""``--no-skips`` makes failures of skipped tests and of skipped files, and nothing of the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = '''
import pytest

def test_passes(): pass

def test_skips(): pytest.skip("no such device")

@pytest.mark.xfail
def test_fails_as_expected(): assert False
'''


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ([], "1 passed, 1 skipped, 1 xfailed"),
        (["--no-skips"], "1 failed, 1 passed, 1 xfailed"),
    ],
)
def test_no_skips(repository: Path, tmp_path: Path, options: list[str], outcome: str) -> None:
    assert outcome in run_pytest(repository, tmp_path, TESTS, options)


def test_no_skipped_file(repository: Path, tmp_path: Path) -> None:
    whole = 'import pytest\npytest.skip("no such package", allow_module_level=True)\n'
    assert "1 skipped" in run_pytest(repository, tmp_path, whole, [])
    output = run_pytest(repository, tmp_path, whole, ["--no-skips"])
    assert "1 error" in output
    assert "Must not be skipped. Skipped: no such package" in output


def run_pytest(repository: Path, folder: Path, text: str, options: list[str]) -> str:
    (folder / "test_skipping.py").write_text(text, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *options, folder]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=repository).stdout
