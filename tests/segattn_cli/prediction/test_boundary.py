"""Boundary IoU against erosion, mask by mask, as its authors compute it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from segattn_cli.errors import UsageError
from segattn_cli.prediction.boundary import BoundaryIoU, near_outline


def eroded_away(mask: np.ndarray, distance: int) -> np.ndarray:
    """The pixels of ``mask`` that 3×3 erosions remove, where nothing lies beyond the edge of the image."""
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


def blobs(seed: int, size: tuple[int, int], classes: int) -> np.ndarray:
    """Labels in patches, some of them narrower than the boundary."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (size[0] // 6 + 1, size[1] // 5 + 1))
    return np.kron(coarse, np.ones((6, 5), int))[: size[0], : size[1]].astype(np.uint8)


@pytest.mark.parametrize("width", [0.001, 0.02, 0.06])
def test_it_is_what_erosion_gives_class_by_class(width: float) -> None:
    boundary = BoundaryIoU(5, width=width)
    intersection, union = np.zeros(5, int), np.zeros(5, int)
    for seed, size in enumerate([(40, 61), (33, 24), (7, 9)]):
        label, prediction = blobs(seed, size, 4), blobs(seed, size, 4)
        noise = np.random.default_rng(seed).random(size) < 0.03
        prediction[noise] = 3
        distance = max(1, round(width * math.sqrt(size[0] ** 2 + size[1] ** 2)))
        boundary.update(label, prediction)
        for k in range(5):
            true, predicted = eroded_away(label == k, distance), eroded_away(prediction == k, distance)
            intersection[k] += (true & predicted).sum()
            union[k] += (true | predicted).sum()
    assert boundary.intersection.tolist() == intersection.tolist()
    assert boundary.union.tolist() == union.tolist()
    assert boundary.per_class[4] is None
    known = [i / u for i, u in zip(intersection, union, strict=True) if u]
    assert boundary.mean == pytest.approx(np.mean(known))


def test_an_edge_to_ignored_pixels_is_no_outline_whatever_is_predicted_there() -> None:
    label = np.zeros((21, 21), np.uint8)
    label[8:13, 8:13] = 255
    outline = near_outline(label, label != 255, 2)
    assert outline[2:-2, 2:-2].sum() == 0
    assert outline.sum() == 21 * 21 - 17 * 17  # the edge of the image alone

    counts = []
    for guess in (0, 1):
        boundary = BoundaryIoU(2, width=0.07)
        prediction = np.zeros_like(label)
        prediction[8:13, 8:13] = guess
        boundary.update(label, prediction)
        counts.append((boundary.intersection.tolist(), boundary.union.tolist()))
    assert counts[0] == counts[1] == ([21 * 21 - 17 * 17, 0], [21 * 21 - 17 * 17, 0])


def test_it_judges_outlines_where_iou_hardly_does() -> None:
    """A large disc that is predicted a little too small loses little of its area and much of its outline."""
    rows, columns = np.mgrid[:400, :400]
    radius = np.hypot(rows - 200, columns - 200)
    label, prediction = (radius < 150).astype(np.uint8), (radius < 145).astype(np.uint8)
    boundary = BoundaryIoU(2)
    boundary.update(label, prediction)
    iou = ((label & prediction).sum()) / (label | prediction).sum()
    assert iou > 0.93
    assert boundary.per_class[1] < 0.5


def test_images_without_a_labelled_pixel_and_perfect_ones() -> None:
    boundary = BoundaryIoU(2)
    boundary.update(np.full((5, 5), 255, np.uint8), np.ones((5, 5), np.uint8))
    assert boundary.per_class == [None, None]
    assert math.isnan(boundary.mean)
    label = blobs(1, (30, 30), 2)
    boundary.update(label, label)
    assert boundary.per_class == [1, 1]


@pytest.mark.parametrize("width", [0, -0.1, 1.5, math.nan])
def test_a_width_that_is_no_fraction(width: float) -> None:
    with pytest.raises(UsageError, match=r"fraction of the diagonal in \(0, 1\]"):
        BoundaryIoU(2, width=width)
