"""Who may import whom: command line → engine → backends → reference; and a command line that is quick to start."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("reference", "backends", "segattn_cli", "benchmarks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

#: Files → what they must not import, not even inside a function. The first entry that fits counts.
FORBIDDEN = {
    "reference/ops": {"reference.updates", "reference.layers", "reference.networks"},
    "reference/updates": {"reference.ops", "reference.layers", "reference.networks"},
    "reference/layers": {"reference.networks"},
    "backends": {
        "segattn_cli", "benchmarks", "torch", "reference.layers", "reference.networks", "typer", "rich", "pydantic",
    },
    "segattn_cli/commands": {"cupy", "scipy", "torch", "segattn_cli.benchmarking.baselines"},
    "segattn_cli/__main__.py": {"numpy", "cupy", "scipy", "torch"},
    "segattn_cli/app.py": {"numpy", "cupy", "scipy", "torch"},
    "segattn_cli/benchmarking/cuda.py": {"segattn_cli.commands", "segattn_cli.app", "typer", "rich"},
    "segattn_cli/ranks/nccl.py": {"segattn_cli.commands", "segattn_cli.app", "typer", "rich", "torch"},
    "segattn_cli/benchmarking/baselines": {"reference", "segattn_cli.commands", "segattn_cli.app", "typer", "rich"},
    "segattn_cli/benchmarking": {"segattn_cli.commands", "segattn_cli.app", "typer", "rich", "cupy"},
    "segattn_cli": {"segattn_cli.commands", "segattn_cli.app", "typer", "rich", "cupy", "torch", "benchmarks"},
}
#: What `segattn --help` can do without.
HEAVY = {"numpy", "torch", "scipy", "cupy", "pydantic", "PIL", "matplotlib", "safetensors", "threadpoolctl", "rich"}
HEAVY |= {"onnx", "onnxruntime", "numba"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(source: str) -> list[str]:
    """The modules that a file imports, also those inside functions."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module stands"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return modules


def within(modules: list[str], packages: set[str]) -> list[str]:
    return [each for each in modules if any(f"{each}.".startswith(f"{package}.") for package in packages)]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_run_one_way(path: Path) -> None:
    forbidden = next((modules for files, modules in FORBIDDEN.items() if name(path).startswith(files)), set())
    assert within(imported(path.read_text(encoding="utf-8")), forbidden) == []


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith("reference")], ids=name)
def test_the_reference_imports_numpy_and_nothing_else(path: Path) -> None:
    modules = imported(path.read_text(encoding="utf-8"))
    assert set(modules) == set(within(modules, {"reference", "numpy", *sys.stdlib_module_names}))


def test_the_command_line_loads_nothing_heavy() -> None:
    script = "import sys, segattn_cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = done.stdout.split()
    assert "segattn_cli.commands.check" in loaded
    assert not HEAVY & {module.partition(".")[0] for module in loaded}


def test_the_rules_see_what_is_hidden_in_a_function() -> None:
    source = "import os\n\ndef f():\n    from scipy import linalg\n    from reference.layers import Context\n"
    modules = imported(source)
    assert modules == ["os", "scipy.linalg", "reference.layers.Context"]
    assert within(modules, {"scipy", "reference.layers"}) == modules[1:]
    assert within(["scipython.linalg"], {"scipy"}) == []
