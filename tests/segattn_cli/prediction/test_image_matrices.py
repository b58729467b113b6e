"""Confusion matrices by image, and bootstrap intervals against naive loops and what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from segattn_cli.prediction import image_matrices
from segattn_cli.prediction.image_matrices import ImageMatrices, interval, nonzero_cells, resample
from segattn_cli.prediction.metrics import ConfusionMatrix


def dense(images: int, classes: int, seed: int = 0) -> list[np.ndarray]:
    """Confusion matrices, most of whose cells are 0; the last class is nowhere, the last image empty."""
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 90, (images, classes, classes)) * (rng.random((images, classes, classes)) < 0.4)
    matrices[:, -1] = matrices[:, :, -1] = 0
    matrices[-1] = 0
    return list(matrices)


def of(matrices: list[np.ndarray]) -> ImageMatrices:
    names = [f"image {n}" for n in range(len(matrices))]
    return ImageMatrices.of(len(matrices[0]), names, [nonzero_cells(each) for each in matrices])


def miou_of(counts: np.ndarray) -> float:
    matrix = ConfusionMatrix(len(counts))
    matrix.counts = counts
    return matrix.miou


def test_the_metrics_are_those_of_confusion_matrices() -> None:
    matrices = dense(7, 5)
    sparse = of(matrices)
    assert sparse.right.tolist() == [np.diagonal(each).tolist() for each in matrices]
    assert sparse.truth.tolist() == [each.sum(1).tolist() for each in matrices]
    assert sparse.predicted.tolist() == [each.sum(0).tolist() for each in matrices]
    assert sparse.miou == pytest.approx(miou_of(sum(matrices)), rel=1e-14)
    assert sparse.mious == pytest.approx([miou_of(each) for each in matrices], nan_ok=True)
    assert np.isnan(sparse.mious[-1])
    assert np.isnan(sparse.iou[-1])


def test_resamples_are_metrics_of_images_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = dense(6, 4)
    sparse = of(matrices)
    # Drawing is a matter of the random numbers: the same are used here, one resample after the other.
    monkeypatch.setattr(image_matrices, "DRAWN_TOGETHER", 6 * 7)  # 50 resamples in eight parts
    drawn = resample(sparse.right, sparse.union, 50)
    random = image_matrices.stream("bootstrap", 0, 6)
    for number in range(50):
        chosen = [matrices[n] for n in random.integers(0, 6, 6)]
        assert drawn.miou[number] == pytest.approx(miou_of(sum(chosen)), nan_ok=True)
    assert drawn.iou.shape == (50, 4)


def test_the_resamples_do_not_depend_on_how_many_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = of(dense(6, 4))
    together = resample(sparse.right, sparse.union)
    monkeypatch.setattr(image_matrices, "DRAWN_TOGETHER", 1)
    assert np.array_equal(resample(sparse.right, sparse.union).miou, together.miou, equal_nan=True)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """With one class whose union is the same in all images, mIoU is a mean, whose interval is known."""
    rng = np.random.default_rng(1)
    right = rng.integers(0, 101, (200, 1))
    union = np.full((200, 1), 100)
    found = interval(resample(right, union).miou)
    assert found is not None
    fractions = right[:, 0] / 100
    error = 1.96 * fractions.std() / np.sqrt(200)
    assert found.low == pytest.approx(fractions.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(fractions.mean() + error, abs=0.1 * error)


def test_resamples_of_the_same_images_are_paired() -> None:
    """A network that is better by one pixel in a hundred everywhere is so in every resample."""
    rng = np.random.default_rng(2)
    right, union = rng.integers(0, 99, (30, 2)), np.full((30, 2), 100)
    difference = resample(right + 1, union).miou - resample(right, union).miou
    assert difference == pytest.approx(np.full(2000, 0.01))


def test_an_interval_of_nothing() -> None:
    assert interval(np.full(5, np.nan)) is None
    assert interval(np.array([np.nan, 2.0])) == (2, 2)
    assert interval(np.array([-1.0, 1.0])).holds_zero
    assert not interval(np.array([0.1, 0.2])).holds_zero
