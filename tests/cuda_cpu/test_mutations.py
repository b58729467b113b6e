"""A test that cannot fail is a defect: each error of ``mutations.toml``, put into a copy of the code, is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .compiled import BUILD
from .extra import needs_extra
from .launches import OWN, ROOT, WORKERS, pytest_on_stand_in

pytestmark = [pytest.mark.cuda_cpu, needs_extra]

MUTATIONS = {
    mutation["breaks"]: mutation
    for mutation in tomllib.loads((Path(__file__).parent / "mutations.toml").read_text("utf-8"))["mutation"]
}
COPIED = ("backends", "reference", "segattn_cli", "tests/backends", "tests/cuda_cpu", "tests/segattn_cli/training")
TESTS_FAILED = 1  # pytest's exit status


def node(test: str) -> str:
    """``test`` of ``mutations.toml`` as pytest names it."""
    return f"tests/cuda_cpu/on_stand_in/{test}" if "::" in test else f"{OWN}/test_ops.py::{test}"


def copy(folder: Path) -> Path:
    """What the tests on the stand-in need of the repository."""
    for part in COPIED:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copyfile(ROOT / file, folder / file)
    return folder


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    environment = {"SEGATTN_CUDA_CPU_BUILD": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1"}
    return pytest_on_stand_in(*map(node, tests), environment=environment, cwd=folder)


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """What became of the test of each mutation that is asked for, under the mutation."""
    items = (item for item in request.session.items if item.originalname == "test_is_seen")
    wanted = [item.callspec.params["breaks"] for item in items]
    copies = [copy(tmp_path_factory.mktemp("copy")) for _ in range(WORKERS)]

    def mutated(mutation):
        folder = copies.pop()
        file = folder / "backends" / "cupy" / mutation["file"]
        original = file.read_text("utf-8")
        try:
            file.write_text(original.replace(mutation["text"], mutation["replacement"]), "utf-8")
            return run(folder, mutation["test"])
        finally:
            file.write_text(original, "utf-8")
            copies.append(folder)

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(zip(wanted, pool.map(mutated, map(MUTATIONS.__getitem__, wanted)), strict=True))


@pytest.mark.parametrize("breaks", MUTATIONS)
def test_is_of_this_backend(breaks):
    text = (ROOT / "backends" / "cupy" / MUTATIONS[breaks]["file"]).read_text("utf-8")
    assert text.count(MUTATIONS[breaks]["text"]) == 1, "The mutation is stale: its text must be there once."


@pytest.mark.parametrize("breaks", MUTATIONS)
def test_is_seen(results, breaks):
    result = results[breaks]
    assert result.returncode == TESTS_FAILED, f"{result.stdout}\n{result.stderr}"
    assert "1 failed" in result.stdout


def test_without_a_mutation_all_pass(tmp_path):
    result = run(copy(tmp_path), *sorted({mutation["test"] for mutation in MUTATIONS.values()}))
    assert result.returncode == os.EX_OK, result.stdout
