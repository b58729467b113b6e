"""Machine code that several processes keep in one place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Compiles once it is told to, and prints how often it compiled and how often it read from disk.
COMPILE = """
import numpy as np
from backends.numba.compile import inner

@inner
def total(x):
    return x.sum()

print("ready", flush=True)
input()
total(np.ones(3))
print(sum(total.stats.cache_misses.values()), sum(total.stats.cache_hits.values()))
"""


def test_of_two_processes_one_compiles_and_the_other_reads(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")
    (tmp_path / "script.py").write_text(COMPILE, "utf-8")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(repository)}
    command = [sys.executable, str(tmp_path / "script.py")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in processes]
    assert sorted(printed) == ["0 1\n", "1 0\n"]
