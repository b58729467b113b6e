"""The judge of the fuzz targets sees what breaks a rule, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
#: What an input does, and what is said of it.
FINDS = {
    "1 / 0": "division by zero",
    "attempt(lambda: 1 / 0)": "division by zero",
    "attempt(fail, DataError(''))": "no sentence",
    "attempt(fail, BackendError('x' * 3000))": "no sentence",
    "warnings.warn('odd')": "warned: odd",
    "caught(os.system, 'true')": "caused os.system",
    "caught(subprocess.run, ['true'])": "caused subprocess.Popen",
    "caught(pickle.loads, pickle.dumps(os.getcwd))": "caused pickle.find_class",
    "caught(ctypes.CDLL, None)": "caused ctypes.dlopen",
    "caught(os.mkdir, '/nowhere/x')": "caused os.mkdir",
    "caught(os.remove, FOLDER / '..' / 'nothing')": "caused os.remove",
    "caught(open, '/nowhere/x', 'w')": "caused the opening for writing",
    "caught(os.symlink, FOLDER / 'a', '/nowhere/x')": "caused os.symlink",
    "numpy.ones(300 << 20, numpy.uint8)": "MB",
    "compute(0.7)": "seconds",
}
ALLOWED = [
    "attempt(fail, DataError('It is damaged.'))",
    "(FOLDER / 'a' / 'b').mkdir(parents=True), (FOLDER / 'a' / 'b' / 'c').write_bytes(b'x')",
    "shutil.rmtree(FOLDER / 'a')",
    "open('/etc/passwd').close()",
    "once(compute, 0.7)",
    "once(numpy.ones, 300 << 20, numpy.uint8)",
]
PROGRAM = """
import ctypes, json, os, pickle, shutil, subprocess, sys, time, warnings, numpy
from fuzz import judge
from fuzz.judge import FOLDER, Judge, attempt
from backends import BackendError
from segattn_cli.errors import DataError

def fail(error):
    raise error

def caught(function, *arguments):
    try:
        function(*arguments)
    except Exception:
        pass

def compute(seconds):
    start = time.process_time()
    while time.process_time() < start + seconds:
        pass

def once(function, *arguments):
    if function not in done:
        done.append(function)
        function(*arguments)

done = []
judge.SECONDS, judge.PACE = 0.5, 60.0  # of a pace that no machine falls behind
for body in json.loads(sys.argv[1]):
    try:
        Judge(lambda data: exec(body))(b"abc")
        print()
    except Exception as error:
        print(error)
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What the judge says of each input, in a process of its own: its hooks stay until the process ends."""
    bodies = [*FINDS, *ALLOWED]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(bodies)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return dict(zip(bodies, done.stdout.splitlines(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="the judge measures memory as Linux does")
class TestJudge:
    @pytest.mark.parametrize("body", FINDS)
    def test_a_find(self, said: dict[str, str], body: str) -> None:
        assert FINDS[body] in said[body]

    @pytest.mark.parametrize("body", ALLOWED)
    def test_what_a_target_may_do(self, said: dict[str, str], body: str) -> None:
        assert said[body] == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the judge measures memory as Linux does")
def test_the_seeds_and_former_finds_are_none_today() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--replay"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == len(TARGETS)
