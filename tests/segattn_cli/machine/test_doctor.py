"""What the doctor finds and advises."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from segattn_cli.commands.doctor import doctor
from segattn_cli.machine import facts
from segattn_cli.machine.doctor import VARIABLES, Diagnosis, advice, diagnose


@pytest.fixture
def command() -> Callable[..., Any]:
    app = typer.Typer()
    app.command()(doctor)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def healthy() -> Diagnosis:
    return Diagnosis(
        versions={"python": "3.11.7"},
        machine={"avx512": True, "usable cores": 4, "memory free, GB": 8.0},
        blas=[{"library": "openblas", "architecture": "SkylakeX", "threads": 4}],
        environment={},
        backends={"auto takes": "numba"},
        gpu={},
        threads=4,
        gflops={"float32": 400.0},
    )


def test_it_finds_what_is_there() -> None:
    report = diagnose()
    assert report.versions["numpy"].count(".") >= 1
    assert report.versions["segattn"] != "not installed"
    assert report.machine["usable cores"] >= 1
    assert report.blas, "NumPy's BLAS is known to threadpoolctl"
    assert report.threads >= 1
    assert all(gflops > 1 for gflops in report.gflops.values())
    assert report.backends["auto takes"] in ("numpy", "numba", "cupy")
    assert report.backends["cupy"] == "runs" or "cupy" in report.backends["cupy"]


def test_a_healthy_machine_needs_no_advice(healthy: Diagnosis) -> None:
    assert list(advice(healthy)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "environment": {"OPENBLAS_CORETYPE": "Haswell"},
                "blas": [{"architecture": "Haswell", "threads": 4}],
            },
            "OPENBLAS_CORETYPE=Haswell keeps matrix products from this processor's AVX-512",
        ),
        ({"environment": {"OPENBLAS_CORETYPE": "Zen"}}, "chooses OpenBLAS's kernels by hand"),
        (
            {"threads": 1, "environment": {"OMP_NUM_THREADS": "1"}},
            "runs on 1 of 4 usable cores: unset OMP_NUM_THREADS=1.",
        ),
        ({"threads": 1}, "runs on 1 of 4 usable cores, which is all that BLAS offers"),
        ({"threads": 8}, "8 threads on 4 cores: set SEGATTN_THREADS=4"),
        ({"blas": []}, "threadpoolctl does not know NumPy's BLAS"),
        ({"backends": {"auto takes": "numpy"}}, "Numba is not installed"),
        ({"environment": {"NPY_DISABLE_CPU_FEATURES": "AVX2"}}, "NPY_DISABLE_CPU_FEATURES"),
        (
            {"machine": {"avx512": True, "usable cores": 4, "memory free, GB": 0.7}},
            "Less than 2 GB of memory",
        ),
    ],
)
def test_what_slows_a_machine_down_is_said(healthy: Diagnosis, changes: dict, words: str) -> None:
    (warning,) = advice(replace(healthy, **changes))
    assert words in warning


def test_a_system_without_proc_leaves_gaps_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_read", lambda path: "")
    report = diagnose()
    assert report.machine["memory free, GB"] is None
    assert report.machine["avx512"] is False
    assert report.machine["processor"]


def test_the_command_prints_a_table(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    done = command()
    assert done.exit_code == 0, done.output
    for words in ("Versions", "BLAS", "GFLOP/s in float32", "OPENBLAS_CORETYPE=Haswell: makes", "auto takes"):
        assert words in done.stdout
    assert "none set" not in done.stdout
    assert "! OPENBLAS_CORETYPE=Haswell" in done.stdout


def test_the_command_prints_json(command: Callable) -> None:
    report = json.loads(command("--json").stdout)
    assert set(report) == {
        "versions", "machine", "blas", "environment", "backends", "threads", "gflops", "gpu", "warnings",
    }  # fmt: skip
