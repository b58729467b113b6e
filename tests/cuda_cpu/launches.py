"""The backend's own tests, run on the stand-in: whether they pass, and every kernel that they launch.

``tests/backends/cupy`` runs as it does on a GPU, beside the files of ``on_stand_in``, in processes of their own,
where nobody else notices that CuPy was replaced. :func:`run_on_stand_in` starts them, a process for each core.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OWN = "tests/backends/cupy"
#: Of the tests under the marker gpu those that are not run here: what is large on purpose, and what needs cuDNN.
LEFT_OUT = ("test_memory.py", "test_cudnn.py")
ON_STAND_IN = "tests/cuda_cpu/on_stand_in"
FILES = (OWN, *sorted(f"{ON_STAND_IN}/{path.name}" for path in (ROOT / ON_STAND_IN).glob("*.py")))
WORKERS = 2


class Launches(NamedTuple):
    sources: dict[str, str]  # .cu file → the text that NVRTC gets
    options: list[str]  # what the backend tells NVRTC
    threads: dict[str, dict[str, int]]  # .cu file → instantiation → threads of its largest block
    places: set[tuple[str, int]]  # wrapper file and line of each launch


class Run(NamedTuple):
    code: int  # 0 where all passed
    output: str
    launches: Launches


class Seen:
    """Notes each launch, in the process that makes it."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.options: set[tuple[str, ...]] = set()
        self.threads: dict[str, dict[str, int]] = {}
        self.places: set[tuple[str, int]] = set()

    def note(self, kernel: Any, block: tuple[int, ...]) -> None:
        frame = sys._getframe(2)  # launch(), which its caller has told the file
        file: str = frame.f_locals["file"]
        assert frame.f_back is not None
        self.places.add((Path(frame.f_back.f_code.co_filename).name, frame.f_back.f_lineno))
        self.sources[file] = kernel.source
        kernels = self.threads.setdefault(file, {})
        kernels[kernel.name] = max(kernels.get(kernel.name, 0), math.prod(block))

    def write(self, path: Path) -> None:
        (options,) = self.options or {()}
        text = json.dumps([self.sources, options, self.threads, sorted(self.places)])
        path.write_text(text, "utf-8")


@cache
def run_on_stand_in() -> list[Run]:
    """Run all of it, shared out over :data:`WORKERS` processes."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(lambda worker: _run(worker, Path(folder) / f"{worker}.json"), range(WORKERS)))


def _run(worker: int, found: Path) -> Run:
    own = {"SEGATTN_SHARE": f"{worker} {WORKERS}", "SEGATTN_LAUNCHES": str(found)}
    done = pytest_on_stand_in(*FILES, *(f"--ignore={OWN}/{file}" for file in LEFT_OUT), environment=own)
    if not found.exists():
        raise RuntimeError(f"The tests did not run on the stand-in:\n{done.stdout}\n{done.stderr}")
    sources, options, threads, places = json.loads(found.read_text("utf-8"))
    return Run(
        done.returncode, done.stdout + done.stderr,
        Launches(sources, options, threads, {(file, line) for file, line in places}),
    )  # fmt: skip


def pytest_on_stand_in(
    *arguments: str, environment: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run pytest on the stand-in, in a process of its own."""
    command = [
        sys.executable, "-m", "pytest", "-p", "tests.cuda_cpu.plugin", "-p", "no:cacheprovider", "--no-skips",
        "-m", "not torch", "--durations=15", *arguments,
    ]  # fmt: skip
    # A core each: NumPy's threads would wait for each other.
    own = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | (environment or {})
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, env=os.environ | own)


def find_launches() -> Launches:
    """What all processes have launched."""
    found = [run.launches for run in run_on_stand_in()]
    merged = Launches({}, max(each.options for each in found), {}, set())
    for each in found:
        merged.sources.update(each.sources)
        merged.places.update(each.places)
        for file, threads in each.threads.items():
            kernels = merged.threads.setdefault(file, {})
            kernels |= {name: max(count, kernels.get(name, 0)) for name, count in threads.items()}
    return merged
