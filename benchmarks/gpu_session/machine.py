"""The machine of a session: its GPU, its packages, and what it lacks. Nothing imported here may be missing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from benchmarks.gpu_session.commands import PYTHON, ROOT

#: Packages whose versions are recorded.
RECORDED = (
    "cupy-cuda13x", "cupy-cuda12x", "numpy", "torch", "nvidia-cudnn-cu13", "nvidia-cudnn-frontend", "ml_dtypes",
    "pydantic", "typer", "rich", "mpi4py", "nvidia-nccl-cu13", "pytest",
)  # fmt: skip
_GPU = """
import json, cupy
runtime = cupy.cuda.runtime
card = runtime.getDeviceProperties(0)
free, total = runtime.memGetInfo()
print(json.dumps({
    "device": card["name"].decode(), "cards": runtime.getDeviceCount(),
    "compute capability": f"{card['major']}.{card['minor']}",
    "memory, GB": round(total / 1e9, 1), "free, GB": round(free / 1e9, 1),
    "CUDA of the driver": runtime.driverGetVersion(), "CUDA runtime": runtime.runtimeGetVersion(),
}))
"""


@dataclass(frozen=True)
class Machine:
    """Where a session runs."""

    device: str
    cards: int = 0
    reason: str = ""  # why there is no GPU
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str = "unknown"
    changed: bool | None = None  # whether files differ from the commit; None where git cannot tell

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(backend: str, commit: str | None, *, stand_in: bool) -> Machine:
    """Ask the GPU, the packages and git."""
    device, cards, reason = "none" if backend == "cupy" else "the CPU", 0, ""
    facts: dict[str, Any] = {}
    if stand_in:
        device, cards = "CuPy's stand-in on the CPU", 1
    elif backend == "cupy":
        facts, reason = _gpu()
        if facts:
            device, cards = facts["device"], facts["cards"]
            facts["driver"] = _driver()
    head, changed = (commit, None) if commit else _checkout()
    return Machine(device, cards, reason, facts, _versions(RECORDED), head or "unknown", changed)


def missing_packages() -> str:
    """What the command ``segattn`` needs and this Python does not have; "" if nothing is missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [each for each in project["dependencies"] if ";" not in each]  # Numba's loops are for other machines
    return "; ".join(filter(None, map(_missing, needed)))


def _missing(requirement: str) -> str:
    """What is wrong with a package that is needed as ``name>=version``.

    >>> _missing("no-such-package>=1.0")
    'no-such-package (1.0 or newer) is not installed'
    >>> _missing("pytest>=1.0"), _missing("pytest>=999.0").partition(" is")[2]
    ('', ' older than 999.0')
    """
    name, _, wanted = requirement.partition(">=")
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} ({wanted} or newer) is not installed"
    if _numbers(found) < _numbers(wanted):
        return f"{name} {found} is older than {wanted}"
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def lacks(need: str, machine: Machine, backend: str, *, stand_in: bool = False) -> str:
    """Why a step that needs ``need`` cannot run; "" if it can.

    Needs are ``backend`` (what it computes on), ``gpu`` (or its stand-in), ``card`` (no stand-in), ``clock`` (no
    stand-in, but maybe a CPU), ``two cards``, ``tool``, ``mpi``, ``compute-sanitizer``, and names of modules.
    """
    if need in ("gpu", "card") and backend != "cupy":
        return f"it needs the backend cupy, and this is a session of {backend}"
    if need in ("backend", "gpu", "card", "clock"):
        if stand_in:
            return "" if need in ("backend", "gpu") else "the stand-in has neither a clock nor a memory of its own"
        return "" if machine.cards or backend != "cupy" else f"there is no GPU: {machine.reason}"
    if need == "two cards":
        return "" if backend != "cupy" or machine.cards > 1 else "there is one card, and each rank needs its own"
    if need == "tool":
        missing = missing_packages()
        return f"the command segattn cannot start: {missing}" if missing else ""
    if need == "mpi":
        if find_spec("mpi4py") is None:
            return "mpi4py is not installed"
        return "" if shutil.which("mpiexec") else "mpiexec is not installed"
    if need == "compute-sanitizer":
        return "" if shutil.which(need) else f"{need} is not installed"
    return "" if find_spec(need) else f"{need} is not installed"


def _gpu() -> tuple[dict[str, Any], str]:
    """Facts about the first GPU, or why there is none."""
    try:
        asked = subprocess.run([PYTHON, "-c", _GPU], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return {}, "it did not answer within 60 s"
    if asked.returncode == 0:
        return json.loads(asked.stdout), ""
    return {}, (asked.stderr.strip().splitlines() or ["CuPy failed"])[-1]


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return output.partition("\n")[0].strip()
    return "unknown"


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _checkout() -> tuple[str | None, bool | None]:
    if not (ROOT / ".git").exists():
        return None, None
    with suppress(OSError, subprocess.SubprocessError):
        head, changes = (
            subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
        return head, bool(changes)
    return None, None
