"""What all tests share."""

from __future__ import annotations

import gc
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

# NumPy, PyTorch and Numba read these when they are loaded: before the first import of NumPy. Tests run in several
# processes side by side, so each computes on one thread; tests of threads choose their number themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a thread that waits leaves its core to the others
os.environ.setdefault("NUMBA_NUM_THREADS", "4")  # the most that a test may choose, on any machine

import numpy as np
import pytest

with suppress(ImportError):  # make test-gpu installs nothing
    from hypothesis import HealthCheck, settings

    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parents[1]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
#: Tests with these marks are skipped unless ``-m`` names the mark: what they are, and how to run them.
ON_REQUEST = {
    "slow": "slow tests: make test-all",
    "faults": "kills and errors of file calls: make test-faults",
    "cuda_cpu": "CUDA kernels without a GPU: make test-cuda",
}


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for mark, reason in ON_REQUEST.items():
        if mark not in config.option.markexpr:
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(pytest.mark.skipif(True, reason=reason), append=False)


def pytest_collection_finish() -> None:
    """Exempt all imported modules and collected tests from garbage collections, which take 0.3 s each with them."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print why tests were skipped, a line for each reason."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for report in terminalreporter.stats.get("skipped", []):
        unit = "test" if isinstance(report, pytest.TestReport) else "file"
        counts[_reason(report)][unit] += 1
    if counts:
        terminalreporter.section("skipped")
    for reason, count in counts.items():
        units = ", ".join(f"{number} {unit}{'s' if number > 1 else ''}" for unit, number in count.items())
        terminalreporter.line(f"{units}: {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why the test or the file was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _taken_seriously(report: Report, config: pytest.Config) -> Report:
    """With ``--no-skips`` a skip is a failure, for the same reason."""
    if report.skipped and config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"Must not be skipped. {_reason(report)}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_flush_to_the_disk() -> Iterator[None]:
    """What a test writes need not outlast a power cut, and a flush takes as long as a step of a small training."""

    def fsync(descriptor: int) -> None:
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


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
        pytest.skip("CamVid is not there: segattn data download camvid --out ../shared/data/camvid")
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
