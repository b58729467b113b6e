"""Which pixels an outline encloses: those whose centre lies inside, by the even-odd rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segattn_cli.data.annotations import regions
from segattn_cli.data.annotations.regions import Ellipse, Outline, Polygon, fill, is_degenerate, rectangle

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
#: Corners on a grid of half pixels, where centres lie on edges, and anywhere, far outside, too.
COORDINATES = st.integers(-8, 40).map(lambda n: n / 2) | st.floats(-30, 30, allow_subnormal=False)
RINGS = arrays(np.float64, st.tuples(st.integers(3, 9), st.just(2)), elements=COORDINATES)


def on_image(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    region = outline.region(size)
    image = np.zeros(size, bool)
    region.window(image)[...] = region.mask
    return image


def naive(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A pixel at a time: how many edges a ray from its centre to the left crosses."""
    inside = np.zeros(size, bool)
    for row, column in np.ndindex(size):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            if y0 <= y < y1 and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x:
                inside[row, column] ^= True
    return inside


class TestPolygons:
    @given(RINGS, SIZES)
    def test_are_filled_as_by_a_pixel_at_a_time(self, ring: np.ndarray, size: tuple[int, int]) -> None:
        np.testing.assert_array_equal(on_image(Polygon((ring,)), size), naive(ring, size))

    @given(RINGS, SIZES)
    def test_mean_the_same_from_any_corner_and_in_both_directions(
        self, ring: np.ndarray, size: tuple[int, int]
    ) -> None:
        mask = on_image(Polygon((ring,)), size)
        np.testing.assert_array_equal(on_image(Polygon((ring[::-1],)), size), mask)
        np.testing.assert_array_equal(on_image(Polygon((np.roll(ring, 1, axis=0),)), size), mask)

    @given(RINGS, st.integers(0, 8), st.integers(0, 8), SIZES)
    def test_that_share_an_edge_neither_overlap_nor_leave_a_gap(
        self, ring: np.ndarray, first: int, second: int, size: tuple[int, int]
    ) -> None:
        """A cut between two corners divides a ring in two, whose crossings add up."""
        first, second = sorted((first % len(ring), second % len(ring)))
        one, other = ring[first : second + 1], np.concatenate([ring[second:], ring[: first + 1]])
        parts = [on_image(Polygon((part,)), size) for part in (one, other)]
        np.testing.assert_array_equal(parts[0] ^ parts[1], on_image(Polygon((ring,)), size))

    def test_of_many_corners_need_no_more_memory_than_a_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ring = np.random.default_rng(0).uniform(-5, 25, (300, 2))
        whole = fill(ring, (20, 20))
        monkeypatch.setattr(regions, "BLOCK", 7)
        np.testing.assert_array_equal(fill(ring, (20, 20)).mask, whole.mask)

    def test_more_than_255_crossings_at_a_pixel(self) -> None:
        there_and_back = np.array([[1, 0], [1, 4]] * 200 + [[1, 0], [3, 0], [3, 4], [1, 4]], float)
        np.testing.assert_array_equal(on_image(Polygon((there_and_back,)), (4, 4)).sum(0), [0, 4, 4, 0])

    def test_outside_of_the_image_enclose_nothing(self) -> None:
        assert fill(rectangle(50, 50, 60, 60), (4, 4)).mask.size == 0
        assert not on_image(Polygon((rectangle(-9, 1, -1, 3),)), (4, 4)).any()

    def test_in_fractions_of_the_image(self) -> None:
        mask = on_image(Polygon((rectangle(0.5, 0, 1, 0.5),), relative=True), (2, 4))
        assert mask.astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


class TestSeveralRings:
    def test_a_ring_within_is_a_hole_and_one_within_that_an_island(self) -> None:
        rings = [rectangle(edge, edge, 9 - edge, 9 - edge) for edge in (4, 0, 2)]
        region = Polygon(tuple(rings)).region((9, 9))
        expected = np.zeros((9, 9), bool)
        expected[:], expected[2:7, 2:7], expected[4, 4] = True, False, True
        np.testing.assert_array_equal(region.mask, expected)
        assert region.holes == 1

    def test_rings_that_overlap_partly_are_united(self) -> None:
        region = Polygon((rectangle(0, 0, 3, 1), rectangle(2, 0, 5, 1))).region((1, 6))
        assert region.mask.tolist() == [[True] * 5]
        assert region.holes == 0

    def test_a_ring_that_is_there_twice_counts_once(self) -> None:
        ring = rectangle(0, 0, 3, 2)
        assert Polygon((ring, ring[::-1])).region((2, 4)).mask.all()
        assert Polygon((ring, rectangle(3, 0, 4, 2), ring)).region((2, 4)).mask.all()

    def test_rings_that_enclose_no_centre(self) -> None:
        assert not Polygon((rectangle(0, 0, 0.2, 0.2), rectangle(1, 1, 1.2, 1.2))).region((3, 3)).mask.any()


@pytest.mark.parametrize("angle", [0, 30, 90, 200])
def test_an_ellipse(angle: float) -> None:
    """Beside a polygon of its points."""
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    points = np.stack([9.3 * np.cos(turn), 4.1 * np.sin(turn)], -1) @ [[cos, sin], [-sin, cos]] + [11, 8.5]
    ellipse = on_image(Ellipse(11, 8.5, 9.3, 4.1, angle), (18, 20))
    np.testing.assert_array_equal(ellipse, on_image(Polygon((points,)), (18, 20)))


def test_rectangles_turn_clockwise_on_the_screen() -> None:
    np.testing.assert_allclose(rectangle(0, 0, 4, 2, angle=90), [[3, -1], [3, 3], [1, 3], [1, -1]], atol=1e-12)
    turned = rectangle(0, 0, 4, 2, angle=90, around=(0, 0))
    np.testing.assert_allclose(turned, [[0, 0], [0, 4], [-2, 4], [-2, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("ring", "degenerate"),
    [
        ([[0, 0], [1, 1]], True),
        ([[2, 2]] * 4, True),
        ([[0, 0], [3, 1], [6, 2], [1.5, 0.5]], True),
        ([[0, 0], [3, 1], [6, 2.5]], False),
        ([[0, 0], [2, 2], [2, 0], [0, 2]], False),  # a bow tie, whose signed area is 0
    ],
)
def test_rings_that_enclose_nothing(ring: list[list[float]], degenerate: bool) -> None:
    assert is_degenerate(np.array(ring, float)) is degenerate
