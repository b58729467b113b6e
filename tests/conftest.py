"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that would be skipped fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _taken_seriously((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _taken_seriously((yield), collector.config)


def _taken_seriously(report: Report, config: pytest.Config) -> Report:
    """With ``--no-skips`` a skip is a failure, for the same reason."""
    if report.skipped and config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"Must not be skipped. {reason}"
    return report


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20190616)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The CamVid data set, which is real and not part of the repository."""
    folder = ROOT.parent / "shared" / "data" / "camvid"
    if not folder.is_dir():
        pytest.skip("CamVid is not at ../shared/data/camvid")
    return folder


@pytest.fixture(scope="session")
def slope() -> Callable[..., float]:
    """``slope(f, x, direction)``: the derivative of the scalar ``f`` at ``x`` along ``direction``, in float64."""

    def central_difference(
        f: Callable[[np.ndarray], float], x: np.ndarray, direction: np.ndarray, step: float = 1e-6
    ) -> float:
        assert x.dtype == np.float64
        return float(f(x + step * direction) - f(x - step * direction)) / (2 * step)

    return central_difference
