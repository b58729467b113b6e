"""How tests run: reasons of skips are printed, ``--no-skips`` makes failures of them, a process has one thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from threadpoolctl import threadpool_info

TESTS = '''
import pytest

def test_passes(): pass

@pytest.mark.parametrize("n", range(3))
def test_skips(n): pytest.skip("no such device")

@pytest.mark.slow
def test_large(): assert False

@pytest.mark.xfail
def test_fails_as_expected(): assert False
'''
MODULE = 'import pytest\npytest.skip("no such package", allow_module_level=True)\n'


def run_pytest(repository: Path, folder: Path, *options: str) -> str:
    (folder / "test_one.py").write_text(TESTS, "utf-8")
    (folder / "test_whole.py").write_text(MODULE, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow", "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *options, folder]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=repository).stdout


def test_reasons_of_skips_are_printed(repository: Path, tmp_path: Path) -> None:
    """Once each, with how many tests or files it is the reason of, from other processes too."""
    output = run_pytest(repository, tmp_path, "-n", "1")
    assert "1 passed, 5 skipped, 1 xfailed" in output
    lines = output.splitlines()
    for line in ("1 file: no such package", "3 tests: no such device", "1 test: slow tests: make test-all"):
        assert lines.count(line) == 1


def test_no_skips(repository: Path, tmp_path: Path) -> None:
    """A skipped test and a skipped file fail, for the same reason; ``-m slow`` asks for slow tests."""
    options = "--no-skips", "--continue-on-collection-errors", "-m", "slow or not slow"
    output = run_pytest(repository, tmp_path, *options)
    assert "4 failed, 1 passed, 1 xfailed, 1 error" in output
    assert "Must not be skipped. no such package" in output
    assert "Must not be skipped. no such device" in output


def test_one_thread_for_each_process() -> None:
    counts = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    assert counts == {int(os.environ["OMP_NUM_THREADS"])}
