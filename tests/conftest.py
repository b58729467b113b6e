"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


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
