"""Machine code that several processes keep in one place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

numba = pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")

#: Compiles once it is told to; prints how often it compiled, how often it read from disk, and a hash of a result.
COMPILE = """
import hashlib
import numpy as np
from backends.numba.machine_code import stored
from backends.numba.resize_bilinear import resize_bilinear

@stored
def total(x):
    return x.sum()

print("ready", flush=True)
input()
total(np.ones(3))
print(sum(total.stats.cache_misses.values()), sum(total.stats.cache_hits.values()))
x = np.random.default_rng(0).standard_normal((2, 20, 30, 8)).astype(np.float32)
print(hashlib.sha256(resize_bilinear(x, (50, 70))[0]).hexdigest())
"""
#: Prints the hashes of all outputs and gradients of all ops, in the cases of the cross-check.
COMPUTE = """
import hashlib, json
import numpy as np
from backends import get_backend
from segattn_cli.checking.cases import CASES, cases

def cast(x):
    return x.astype(np.float32) if getattr(x, "dtype", None) == np.float64 else x

def arrays(x):
    return [y for each in x for y in arrays(each)] if isinstance(x, (tuple, list)) else [] if x is None else [x]

ops, hashes = get_backend("numba"), {}
for op in list(CASES)[:-2]:  # without concatenate and stack
    for case in cases(op):
        inputs = [[cast(each) for each in x] if isinstance(x, list) else cast(x) for x in case.inputs]
        y, cache = getattr(ops, op)(*inputs, **{name: cast(value) for name, value in case.options.items()})
        dy = np.random.default_rng(0).standard_normal(np.shape(y)).astype(np.float32)[()]
        for n, result in enumerate(arrays([y, getattr(ops, op + "_backward")(dy, cache)])):
            hashes[f"{op}, {case.name}, {n}"] = hashlib.sha256(np.ascontiguousarray(result)).hexdigest()
print(json.dumps(hashes))
"""


def run(code: str, cache: Path, repository: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(repository)}
    script = cache.with_suffix(".py")
    script.write_text(code, "utf-8")
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True, env=environment)


def test_of_two_processes_one_compiles_and_the_other_reads(repository: Path, tmp_path: Path) -> None:
    processes = [run(COMPILE, tmp_path / "cache", repository) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate()[0].splitlines() for process in processes]
    assert sorted(lines[0] for lines in printed) == ["0 1", "1 0"]
    assert printed[0][1] == printed[1][1]  # the same bits


@pytest.mark.slow  # compiles all loops
def test_ops_have_the_same_bits_where_they_are_compiled_and_where_they_are_read(
    repository: Path, tmp_path: Path
) -> None:
    first, second = (hashes(tmp_path / "cache", repository) for _ in range(2))
    assert [name for name in first if first[name] != second[name]] == []
    assert len(first) > 400


def hashes(cache: Path, repository: Path) -> dict[str, Any]:
    return json.loads(run(COMPUTE, cache, repository).communicate()[0])
