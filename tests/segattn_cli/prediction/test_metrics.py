from __future__ import annotations

import math

import numpy as np
import pytest

from segattn_cli.errors import DataError
from segattn_cli.prediction.metrics import ConfusionMatrix


def naive_iou(pairs: list[tuple[np.ndarray, np.ndarray]], of: int) -> float | None:
    """Intersection over union by sets of pixels, image by image."""
    truth, predicted = set(), set()
    for image, (label, prediction) in enumerate(pairs):
        for index in np.ndindex(label.shape):
            if label[index] != 255:
                truth |= {(image, *index)} if label[index] == of else set()
                predicted |= {(image, *index)} if prediction[index] == of else set()
    return len(truth & predicted) / len(truth | predicted) if truth | predicted else None


@pytest.fixture
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)
    values = np.array([0, 1, 3, 255], np.uint8)  # class 2 and class 4 are not in the truth
    return [
        (rng.choice(values, (7, 5)), rng.integers(0, 4, (7, 5), np.uint8)),  # class 2 is predicted, 4 never
        (rng.choice(values, (1, 9)), rng.integers(0, 2, (1, 9), np.uint8)),
    ]


def test_every_figure_agrees_with_counting_by_sets(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    matrix = ConfusionMatrix(5)
    for label, prediction in pairs:
        matrix.update(label, prediction)
    expected = [naive_iou(pairs, of) for of in range(5)]
    assert matrix.per_class_iou == pytest.approx(expected)
    assert expected[2] == 0
    assert expected[4] is None
    assert matrix.miou == pytest.approx(sum(x for x in expected if x is not None) / 4)

    right = sum(int((label == prediction).sum()) for label, prediction in pairs)
    counted = sum(int((label != 255).sum()) for label, _ in pairs)
    assert matrix.pixel_accuracy == pytest.approx(right / counted)
    assert matrix.pixels == counted
    found = [
        np.mean(np.concatenate([prediction[label == of] for label, prediction in pairs]) == of) for of in (0, 1, 3)
    ]
    assert matrix.mean_accuracy == pytest.approx(np.mean(found))


def test_a_class_that_never_occurs_is_left_out_and_one_that_is_only_predicted_counts_as_zero() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 2, 1]]))
    assert matrix.per_class_iou == [pytest.approx(2 / 3), 1.0, 0.0, None]
    assert matrix.miou == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert matrix.per_class_accuracy == [pytest.approx(2 / 3), 1.0, None, None]


def test_predictions_on_void_do_not_count() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.full((3, 3), 255, np.uint8), np.ones((3, 3), np.uint8))
    assert matrix.pixels == 0
    assert math.isnan(matrix.miou)
    assert math.isnan(matrix.pixel_accuracy)
    assert math.isnan(matrix.mean_accuracy)


def test_small_integers_do_not_overflow() -> None:
    matrix = ConfusionMatrix(200)
    matrix.update(np.full((2, 2), 199, np.uint8), np.full((2, 2), 198, np.uint8))
    assert matrix.counts[199, 198] == 4
    assert matrix.pixels == 4


@pytest.mark.parametrize("value", [5, 200, -1])
def test_a_value_that_is_no_class_is_named(value: int) -> None:
    with pytest.raises(DataError, match=rf"label holds the value {value}, but there are 5 classes: 0 to 4"):
        ConfusionMatrix(5).update(np.array([[0, value]]), np.array([[0, 0]]))
    with pytest.raises(DataError, match=rf"prediction holds the value {value}"):
        ConfusionMatrix(5).update(np.array([[0, 0]]), np.array([[0, value]]))


def test_shapes_must_agree() -> None:
    with pytest.raises(DataError, match="label is 2×3 pixels, its prediction 3×2"):
        ConfusionMatrix(2).update(np.zeros((2, 3), int), np.zeros((3, 2), int))
