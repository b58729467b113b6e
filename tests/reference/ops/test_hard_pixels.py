from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, hard_pixels


def naive(logits, labels, ignore_label, threshold, least):
    """Sorts the pixels by the probability of their class, and takes from the front."""
    probabilities = {}
    for pixel in np.ndindex(labels.shape):
        label = int(labels[pixel])
        if label != ignore_label:
            exponentials = [math.exp(z) for z in logits[pixel]]
            probabilities[pixel] = exponentials[label] / sum(exponentials)
    order = sorted(probabilities, key=lambda pixel: probabilities[pixel])
    wanted = max(1, math.ceil(least * len(order)))
    hard = {pixel for n, pixel in enumerate(order) if n < wanted or probabilities[pixel] <= threshold}
    found = np.full(labels.shape, ignore_label)
    for pixel in hard:
        found[pixel] = labels[pixel]
    return found


@pytest.mark.parametrize("least", [0.0, 0.0625, 0.4, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("ignore_label", [255, -1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 3), (7,), ()])
def test_against_loops(threshold, least, ignore_label, shape, rng):
    logits = 2 * rng.normal(size=(*shape, 5))
    labels = np.asarray(rng.choice([0, 1, 3, 4], shape))
    if shape:
        labels[..., 0] = ignore_label
    found = hard_pixels(logits, labels, ignore_label=ignore_label, threshold=threshold, least=least)
    np.testing.assert_array_equal(found, naive(logits, labels, ignore_label, threshold, least))


def test_the_fraction_is_of_labelled_pixels(rng):
    labels = np.where(np.arange(100) < 60, 255, 0)
    found = hard_pixels(rng.normal(size=(100, 3)), labels, threshold=0.0, least=0.25)
    assert np.sum(found != 255) == 10


def test_ties_are_all_hard():
    logits = np.array([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    labels = np.zeros(5, int)
    for order in (slice(None), slice(None, None, -1)):
        found = hard_pixels(logits[order], labels, threshold=0.0, least=0.2)
        np.testing.assert_array_equal(found[order], [255, 0, 0, 0, 255])


def test_a_probability_of_the_threshold_is_hard():
    logits = np.zeros((3, 2))
    assert hard_pixels(logits, np.zeros(3, int), threshold=0.5, least=0.0).tolist() == [0, 0, 0]
    assert hard_pixels(logits, np.zeros(3, int), threshold=0.49, least=0.0).tolist() == [0, 0, 0], "all tie"
    logits[0, 0] = -1
    assert hard_pixels(logits, np.zeros(3, int), threshold=0.49, least=0.0).tolist() == [0, 255, 255]


def test_a_nan_is_hard(rng):
    """Its loss is NaN, which stops a training; as an easy pixel it would hide."""
    logits = rng.normal(size=(8, 3))
    logits[5] = np.nan
    found = hard_pixels(logits, np.zeros(8, int), threshold=0.0, least=0.01)
    assert found[5] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits(dtype):
    logits = np.array([[1000, -1000], [-1000, 1000], [-1000, 0]], dtype)
    assert hard_pixels(logits, np.zeros(3, int), threshold=0.5, least=0.0).tolist() == [255, 0, 0]
    assert hard_pixels(logits, np.zeros(3, int), threshold=0.0, least=0.0).tolist() == [255, 0, 255]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64"])
def test_the_dtype_of_the_labels_stays_and_they_do_not_change(dtype, rng):
    ignore_label = 255 if dtype == "uint8" else -1
    logits, labels = rng.normal(size=(9, 3)), np.array([0, 1, 2, ignore_label, 0, 1, 2, 0, ignore_label], dtype)
    before = labels.copy()
    labels.flags.writeable = logits.flags.writeable = False
    found = hard_pixels(logits, labels, ignore_label=ignore_label, threshold=0.3, least=0.0)
    assert found.dtype == dtype
    np.testing.assert_array_equal(labels, before)


def test_where_all_is_ignored_all_stays_so():
    labels = np.full((2, 3), 255)
    np.testing.assert_array_equal(hard_pixels(np.ones((2, 3, 4)), labels, threshold=0.7, least=0.5), labels)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.array([0, 4]), {}, "labels hold 4, want 0 to 3 or the ignored 255"),
        (np.array([0, 1, 2]), {}, r"labels have shape \(3,\), want \(2,\) as the logits have"),
        (np.array([0, 1]), {"threshold": 1.5}, "threshold is 1.5, wants a number from 0 to 1"),
        (np.array([0, 1]), {"threshold": float("nan")}, "threshold is nan, wants a number from 0 to 1"),
        (np.array([0, 1]), {"least": -0.1}, "least is -0.1, wants a number from 0 to 1"),
        (np.array([0, 1], np.int8), {}, "labels are int8, which cannot be the ignored 255"),
    ],
)
def test_what_does_not_fit(labels, options, message):
    with pytest.raises(OpError, match=f"^hard_pixels: {message}\\.$"):
        hard_pixels(np.zeros((2, 4)), labels, **{"threshold": 0.7, "least": 0.1} | options)
