from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from segattn_cli.explaining import PositionView, positions
from segattn_cli.explaining.positions import FINENESS, TOLERANCE, compact, view_positions

Pair = tuple[np.ndarray, np.ndarray]


def pair(n: int, d: int, largest: float, *, rank: int | None = None, seed: int = 0) -> Pair:
    """Query and key (n, d) float32 whose energies reach ±``largest``, products of ``rank`` numbers."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((rank or d, d)) if rank else np.eye(d)
    query, key = (rng.standard_normal((n, rank or d)) @ mix for _ in range(2))
    size = np.sqrt(largest / np.abs(query @ key.T).max())
    return np.float32(size * query), np.float32(size * key)


def probabilities(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    return softmax(query.astype(np.float64) @ key.astype(np.float64).T, axis=1)


CASES: dict[str, Pair] = {
    "diffuse": pair(130, 8, 0.2),
    "usual": pair(130, 8, 12),
    "peaked": pair(130, 8, 1000),
    "very peaked": pair(130, 8, 1e6),
    "far from zero": (pair(60, 4, 5)[0], pair(60, 4, 5)[1] + 50),
    "all zero": (np.zeros((40, 4), np.float32), np.zeros((40, 4), np.float32)),
    "all alike": (np.full((40, 4), 3, np.float32), np.full((40, 4), -2, np.float32)),
    "keys alike": (pair(40, 4, 5)[0], np.ones((40, 4), np.float32)),
    "rank 2 of 8": pair(90, 8, 20, rank=2),
    "N < D": pair(5, 16, 6),
    "N = 1": pair(1, 8, 3),
    "N = 2": pair(2, 8, 3),
    "D = 1": pair(70, 1, 8),
    "N = D = 1": pair(1, 1, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_every_row_and_column_of_the_compact_map(case: str) -> None:
    query, key = CASES[case]
    wanted = probabilities(query, key)
    found = compact(query, key)
    rows = np.array([found.row(pixel) for pixel in range(len(query))])
    columns = np.array([found.column(pixel) for pixel in range(len(query))]).T
    for which in (rows, columns):
        worst = np.abs(which - wanted).max()
        assert worst <= TOLERANCE
        assert worst == pytest.approx(found.error, rel=1e-3, abs=1e-12)
    is_rounded = found.query.stored.dtype != np.float32
    assert not is_rounded or (np.abs(rows - wanted).max(1) <= FINENESS * wanted.max(1) * (1 + 1e-6)).all()
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60), d=st.integers(1, 12), largest=st.floats(0, 2000), seed=st.integers(0, 2**32 - 1),
    tolerance=st.sampled_from([1e-1, 1e-3, 1e-6]),
)
def test_the_error_is_the_one_that_is_stated(n: int, d: int, largest: float, seed: int, tolerance: float) -> None:
    query, key = pair(n, d, largest, seed=seed)
    found = compact(query, key, tolerance)
    rows = np.array([found.row(pixel) for pixel in range(n)])
    assert np.abs(rows - probabilities(query, key)).max() == pytest.approx(found.error, rel=1e-3, abs=1e-12)
    assert found.error <= tolerance


def test_what_is_simple_takes_little_space() -> None:
    query, key = pair(200, 16, 4, rank=2)
    found = compact(query, key)
    assert found.query.stored.shape == found.key.stored.shape == (200, 2)
    assert found.query.stored.dtype.itemsize <= 2


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each map that is computed, whole or in part."""
    rows: list[int] = []
    blocks = positions._energies

    def counted(query: np.ndarray, key: np.ndarray) -> Iterator[np.ndarray]:
        rows.append(len(query))
        return blocks(query, key)

    monkeypatch.setattr(positions, "_energies", counted)
    return rows


def test_a_row_that_is_unlike_those_tried_first_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    monkeypatch.setattr(positions, "TRIED", 8)
    query, key = pair(400, 8, 1)
    key[:, 7] = np.linspace(-1, 1, 400)
    query[:, 7] = 0
    query[1] = 2 * np.eye(8)[7]  # not among the eight rows that are tried first, and alone in what it looks for
    found = compact(query, key)
    assert computed.count(400) == 4  # two maps, twice: the first time in vain
    assert found.query.stored.dtype != np.float32
    assert np.abs(found.row(1) - probabilities(query, key)[1]).max() <= found.error * (1 + 1e-6) <= TOLERANCE

    monkeypatch.setattr(positions, "ATTEMPTS", 1)
    assert compact(query, key).query.stored.dtype == np.float32


def test_the_search_looks_at_few_maps_even_in_vain(computed: list[int]) -> None:
    query, key = pair(1000, 64, 3000)
    assert compact(query, key, tolerance=0).query.stored.dtype == np.float32
    assert computed.count(1000) == 3  # for the log-sum-exps, and to measure the error of what is kept
    assert computed.count(positions.TRIED) <= 2 * 2 * 7  # two widths, bisection over 64 ranks, two maps each


@pytest.fixture(params=[10**6, 5 * 63, 1])
def view(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PositionView:
    """A view of 7×9 pixels, computed at once, in blocks that do not come out even, and row by row."""
    monkeypatch.setattr(positions, "BLOCK", request.param)
    rng = np.random.default_rng(3)
    attended, features = rng.standard_normal((2, 63, 5)).astype(np.float32)
    features[4] = 0
    return view_positions(0.5, (7, 9), -0.25, *pair(63, 3, 6), attended, features)


def test_the_view_of_the_whole_map_by_loops(view: PositionView) -> None:
    n = 63
    rng = np.random.default_rng(3)
    attended, features = rng.standard_normal((2, n, 5)).astype(np.float32)
    features[4] = 0
    received, reach, shares = np.zeros(n), np.zeros(n), np.zeros(n)
    for j in range(n):
        energy = [sum(np.float64(q) * k for q, k in zip(view.query[j], view.key[i], strict=True)) for i in range(n)]
        total = sum(np.exp(e) for e in energy)
        row = [np.exp(e) / total for e in energy]
        received += row
        reach[j] = np.exp(-sum(p * np.log(p) for p in row))
        if j != 4:
            shares[j] = 0.25 * np.sqrt(sum(attended[j] ** 2)) / np.sqrt(sum(features[j] ** 2))
        np.testing.assert_allclose(view.row(j).ravel(), row, rtol=1e-9)
    np.testing.assert_allclose(view.received.ravel(), received, rtol=1e-9)
    np.testing.assert_allclose(view.reach.ravel(), reach, rtol=1e-9)
    np.testing.assert_allclose(view.fractions.ravel(), shares, rtol=1e-5)
    assert view.fraction == pytest.approx(0.25 * np.linalg.norm(attended) / np.linalg.norm(features), rel=1e-5)
    assert view.received.sum() == pytest.approx(n)
    for pixel in (0, 31, 62):
        assert view.column(pixel).sum() == pytest.approx(view.received.flat[pixel])


def test_rows_of_enormous_energies_have_no_nan() -> None:
    query, key = pair(30, 4, 1e20)
    ones = np.ones((30, 2), np.float32)
    view = view_positions(1, (5, 6), 1.0, query, key, ones, ones)
    for values in (view.received, view.reach, view.row(3), view.column(3)):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(view.reach, 1)  # each row has one winner


def test_a_gate_that_lets_in_nothing_and_features_that_are_nothing() -> None:
    query, key = pair(6, 2, 1)
    zeros, ones = np.zeros((6, 3), np.float32), np.ones((6, 3), np.float32)
    assert view_positions(1, (2, 3), 0.0, query, key, ones, ones).fraction == 0
    empty = view_positions(1, (2, 3), 1.0, query, key, ones, zeros)
    assert empty.fraction == 0
    assert not empty.fractions.any()


def test_pixels_of_the_grid_divide_the_picture_evenly(view: PositionView) -> None:
    for y in range(41):
        for x in range(50):
            row = max(n for n in range(7) if 41 * n <= 7 * y)
            column = max(n for n in range(9) if 50 * n <= 9 * x)
            assert view.pixel_at(x / 50, y / 41) == 9 * row + column
    assert view.pixel_at(1.0, 1.0) == 62
