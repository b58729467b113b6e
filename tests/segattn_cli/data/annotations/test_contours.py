"""Label maps to polygons and back: the same label map, whichever program fills them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline
from scipy import ndimage

from segattn_cli.data.annotations.contours import Contour, contours
from segattn_cli.data.annotations.regions import fill

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
#: Patches of few labels, and one label with specks: holes in holes, and pixels that touch at corners.
LABEL_MAPS = arrays(np.uint8, SHAPES, elements=st.integers(0, 3)) | arrays(
    np.uint8, SHAPES, elements=st.integers(1, 3), fill=st.just(0)
)


def painted(found: Iterator[Contour], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The label map of contours, and how many of them each pixel lies in."""
    labels, times = np.full(shape, -1), np.zeros(shape, int)
    for label, ring in found:
        region = fill(ring, (shape[0], shape[1]))
        region.window(labels)[region.mask] = label
        region.window(times)[region.mask] += 1
    return labels, times


@given(LABEL_MAPS)
def test_the_same_label_map_comes_back(labels: np.ndarray) -> None:
    back, times = painted(contours(labels), labels.shape)
    np.testing.assert_array_equal(back, labels)
    assert (times == 1).all()


@given(LABEL_MAPS)
def test_holes_are_holes_to_programs_that_fill_all_that_is_wound_around(labels: np.ndarray) -> None:
    """Matplotlib fills by the winding number, and not by the even-odd rule."""
    rows, columns = np.indices(labels.shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], -1)
    times = np.zeros(labels.size, int)
    for label, ring in contours(labels):
        inside = Outline(np.concatenate([ring, ring[:1]])).contains_points(centres)
        assert (labels.ravel()[inside] == label).all()
        times += inside
    assert (times == 1).all()


@given(LABEL_MAPS)
def test_there_is_one_ring_for_each_connected_region(labels: np.ndarray) -> None:
    counts = [ndimage.label(labels == label)[1] for label in np.unique(labels)]
    assert len(list(contours(labels))) == sum(counts)


@given(LABEL_MAPS)
def test_neighbouring_corners_are_never_on_one_line(labels: np.ndarray) -> None:
    """Each edge is horizontal or vertical, and, but for slits, none goes on in the direction of the last."""
    for _, ring in contours(labels):
        steps = np.diff(np.concatenate([ring, ring[:2]]), axis=0)
        assert (np.count_nonzero(steps, axis=1) == 1).all()
        assert not ((np.sign(steps[1:]) == np.sign(steps[:-1])).all(1)).any()


def test_a_hole_is_joined_by_a_slit() -> None:
    labels = np.ones((4, 4), int)
    labels[2, 1:3] = 0
    (label, ring), hole = contours(labels)
    assert label == 1
    assert hole.ring.tolist() == [[1, 2], [3, 2], [3, 3], [1, 3]]
    down_and_around = [[1, 0], [1, 3], [3, 3], [3, 2], [1, 2], [1, 0]]
    assert ring.tolist() == [[0, 0], *down_and_around, [4, 0], [4, 4], [0, 4]]


@given(LABEL_MAPS, st.sampled_from([0.6, 1.0, 2.5]))
def test_simplified_outlines_change_only_what_is_near_an_outline(labels: np.ndarray, tolerance: float) -> None:
    back, _ = painted(contours(labels, tolerance), labels.shape)
    padded = np.pad(labels.astype(int), 1, mode="edge")
    changed = np.argwhere(back != labels)
    rows, columns = np.indices(np.array(labels.shape) + 1)
    mixed = np.zeros(rows.shape, bool)  # vertices on an outline between labels
    for dy in (0, 1):
        for dx in (0, 1):
            shifted = padded[dy : dy + rows.shape[0], dx : dx + rows.shape[1]]
            mixed |= shifted != padded[: rows.shape[0], : rows.shape[1]]
    for row, column in changed:
        distance = np.hypot(rows - row - 0.5, columns - column - 0.5)[mixed].min()
        assert distance <= tolerance + np.sqrt(0.5)


def test_neighbours_keep_a_common_outline_when_they_are_simplified() -> None:
    rows, columns = np.indices((60, 80))
    labels = 1 * (np.hypot(rows - 20, columns - 20) < 15) + 2 * (columns > 30 + 8 * np.sin(rows / 6))
    exact, simple = (list(contours(labels, tolerance)) for tolerance in (0, 1))
    assert sum(len(ring) for _, ring in simple) < 0.3 * sum(len(ring) for _, ring in exact)
    back, times = painted(iter(simple), labels.shape)
    assert (times == 1).all()
    assert (back != labels).mean() < 0.03


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_maps_of_one_label(shape: tuple[int, int]) -> None:
    (contour,) = contours(np.zeros(shape, np.uint8))
    height, width = shape
    assert contour.ring.tolist() == [[0, 0], [width, 0], [width, height], [0, height]]
