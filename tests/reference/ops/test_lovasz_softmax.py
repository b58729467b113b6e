from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, lovasz_softmax, lovasz_softmax_backward


def jaccard_loss(truth, wrong):
    """Of sets of pixels: those of the class, and those that are predicted wrongly (equation 6 of the paper)."""
    return len(wrong) / len(truth | wrong)


def naive(logits, labels, ignore_label):
    """The loss by its definition: each pixel in turn joins the set of wrong ones, the largest error first."""
    pixels = [pixel for pixel in np.ndindex(labels.shape) if labels[pixel] != ignore_label]
    classes = sorted({int(labels[pixel]) for pixel in pixels})
    total = 0.0
    for c in classes:
        errors = {}
        for pixel in pixels:
            p = math.exp(logits[pixel][c]) / sum(math.exp(z) for z in logits[pixel])
            errors[pixel] = 1 - p if labels[pixel] == c else p
        truth = {pixel for pixel in pixels if labels[pixel] == c}
        wrong: set[tuple[int, ...]] = set()
        for pixel in sorted(pixels, key=lambda pixel, errors=errors: -errors[pixel]):
            before = jaccard_loss(truth, wrong)
            wrong.add(pixel)
            total += errors[pixel] * (jaccard_loss(truth, wrong) - before)
    return total / len(classes)


@pytest.mark.parametrize("ignore_label", [255, -1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 3), (7,), ()])
def test_against_loops(ignore_label, shape, rng, slope):
    """Class 4 does not occur."""
    logits = rng.normal(size=(*shape, 5))
    labels = np.asarray(rng.choice([0, 1, 3], shape))
    if shape:
        labels[..., 0] = ignore_label
    loss, cache = lovasz_softmax(logits, labels, ignore_label=ignore_label)
    assert loss.shape == ()
    assert loss == pytest.approx(naive(logits, labels, ignore_label), rel=1e-12)
    dlogits = lovasz_softmax_backward(2.5, cache)
    direction = rng.normal(size=logits.shape)
    wanted = slope(lambda z: naive(z, labels, ignore_label), logits, direction)
    assert np.vdot(dlogits, direction) == pytest.approx(2.5 * wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_certain_predictions_it_is_one_minus_the_mean_iou(dtype, rng):
    labels, predicted = rng.integers(0, 4, (2, 50))
    labels[:5] = 255
    logits = np.where(np.arange(5) == predicted[:, None], 1000, -1000).astype(dtype)
    loss, _ = lovasz_softmax(logits, labels)
    kept, given = labels[5:], predicted[5:]
    ious = [np.sum((kept == c) & (given == c)) / np.sum((kept == c) | (given == c)) for c in range(4)]
    assert loss == pytest.approx(1 - np.mean(ious), rel=1e-6)


def test_equal_errors_keep_the_order_of_the_pixels():
    """All errors are 1/2: the first pixel is the first to be wrong."""
    labels = np.array([0, 1, 0])
    loss, cache = lovasz_softmax(np.zeros((3, 2)), labels)
    assert loss == 0.5
    # Class 0: Δ is 1/2, 2/3, 1; class 1: 1/2, 1, 1 with the second pixel, then without change.
    of_class_0 = np.array([1 / 2, 1 / 6, 1 / 3]) * [-1, 1, -1]
    of_class_1 = np.array([1 / 2, 1 / 2, 0]) * [1, -1, 1]
    dlogits = (of_class_0 - of_class_1) / 2 / 4  # half of each, and the derivative of a softmax at 1/2
    np.testing.assert_allclose(lovasz_softmax_backward(1.0, cache)[:, 0], dlogits, atol=1e-15)


def test_many_pixels_in_float32(rng):
    """A slope is the difference of two numbers near 1, and not computed as such."""
    logits, labels = rng.normal(size=(100_000, 3)), rng.integers(0, 3, 100_000)
    exact, exact_cache = lovasz_softmax(logits.astype(np.float32).astype(np.float64), labels)
    loss, cache = lovasz_softmax(logits.astype(np.float32), labels)
    assert loss == pytest.approx(exact, rel=1e-6)
    total, wanted = (
        np.abs(lovasz_softmax_backward(1.0, each)).sum(dtype=np.float64) for each in (cache, exact_cache)
    )
    assert total == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_all_is_ignored_loss_and_gradient_are_0(dtype):
    loss, cache = lovasz_softmax(np.ones((2, 3, 3), dtype), np.full((2, 3), 255))
    assert loss == 0
    np.testing.assert_array_equal(lovasz_softmax_backward(1.0, cache), np.zeros((2, 3, 3)))


def test_what_does_not_fit():
    with pytest.raises(OpError, match=r"^lovasz_softmax: labels hold 4, want 0 to 3 or the ignored 255\.$"):
        lovasz_softmax(np.zeros((2, 4)), np.array([0, 4]))
