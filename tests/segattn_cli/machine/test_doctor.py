"""What the doctor finds and advises."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from segattn_cli.commands.doctor import doctor
from segattn_cli.machine import facts
from segattn_cli.machine.doctor import VARIABLES, Diagnosis, advice, diagnose

MACHINE = {
    "avx512": True, "cores": 4, "allowed cores": 4, "quota, cores": None, "usable cores": 4, "load": 0.4,
    "memory free, GB": 8.0,
}  # fmt: skip


@pytest.fixture
def command() -> Callable[..., Any]:
    app = typer.Typer()
    app.command()(doctor)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def healthy() -> Diagnosis:
    return Diagnosis(
        versions={"python": "3.11.7"},
        machine=MACHINE,
        blas=[{"library": "openblas", "architecture": "SkylakeX", "threads": 4}],
        environment={},
        backends={"auto takes": "numba"},
        gpu={},
        threads=4,
        gflops={"float32": 400.0},
        cores_obtained=3.9,
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
            {"machine": MACHINE | {"memory free, GB": 0.7}},
            "Less than 2 GB of memory",
        ),
        (
            {"machine": MACHINE | {"load": 11.3}, "cores_obtained": 1.6},
            "busy (load 11.3): 4 threads of segattn got 1.6 of 4 cores just now, so that a computation takes about "
            "2.5 times as long.",
        ),
        (
            {"machine": MACHINE | {"load": None}, "cores_obtained": 2.0},
            "Other programs are busy: 4 threads of segattn got 2.0 of 4 cores",
        ),
        (
            {"machine": MACHINE | {"quota, cores": 1.5, "usable cores": 2}, "threads": 2, "cores_obtained": 1.5},
            "the time of 1.5 of 4 cores, so that it computes at 38% of the speed",
        ),
        (
            {"machine": MACHINE | {"cores": 16}},
            "allows 4 of 16 cores",
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


@pytest.mark.parametrize("part", [1.0, 0.25])
def test_cores_obtained_are_the_part_of_the_time_in_which_the_threads_ran(part: float) -> None:
    ticks = count()

    def clock() -> float:  # of all threads
        return next(ticks) / 100

    def own_time() -> float:
        return part * next(ticks) / 100

    assert facts.cores_obtained(1, 2.0, clock=clock, own_time=own_time) == pytest.approx(part, rel=0.05)


def test_threads_get_no_more_cores_than_they_are() -> None:
    assert 0 < facts.cores_obtained(2, 0.05) <= 2.1


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
        "cores_obtained",
    }  # fmt: skip
