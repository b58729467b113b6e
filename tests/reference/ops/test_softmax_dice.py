from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, softmax_dice, softmax_dice_backward


def naive(logits, labels, ignore_label):
    """The loss, class after class; a loop over the pixels for each of its three sums."""
    pixels = [pixel for pixel in np.ndindex(labels.shape) if labels[pixel] != ignore_label]
    classes = sorted({int(labels[pixel]) for pixel in pixels})
    total = 0.0
    for c in classes:
        overlap = squares = size = 0.0
        for pixel in pixels:
            p = math.exp(logits[pixel][c]) / sum(math.exp(z) for z in logits[pixel])
            truth = labels[pixel] == c
            overlap += p * truth
            squares += p * p
            size += truth
        total += 1 - 2 * overlap / (squares + size)
    return total / len(classes)


@pytest.mark.parametrize("ignore_label", [255, -1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 3), (7,), ()])
def test_against_loops(ignore_label, shape, rng, slope):
    """Class 4 does not occur."""
    logits = rng.normal(size=(*shape, 5))
    labels = np.asarray(rng.choice([0, 1, 3], shape))
    if shape:
        labels[..., 0] = ignore_label
    loss, cache = softmax_dice(logits, labels, ignore_label=ignore_label)
    assert loss.shape == ()
    assert loss == pytest.approx(naive(logits, labels, ignore_label), rel=1e-12)
    dlogits = softmax_dice_backward(2.5, cache)
    direction = rng.normal(size=logits.shape)
    wanted = slope(lambda z: naive(z, labels, ignore_label), logits, direction)
    assert np.vdot(dlogits, direction) == pytest.approx(2.5 * wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_perfect_prediction_and_one_that_is_wrong_everywhere(dtype):
    labels = np.array([0, 1, 1, 255])
    logits = np.where(np.arange(3) == labels[:, None], 1000, -1000).astype(dtype)
    assert softmax_dice(logits, labels)[0] == 0
    assert softmax_dice(np.roll(logits, 1, axis=-1), labels)[0] == 1


def test_a_class_that_does_not_occur_has_no_part(rng):
    """Only its probability counts, by what it takes from others."""
    logits, labels = rng.normal(size=(6, 4)), np.array([0, 1, 1, 255, 0, 1])
    loss, _ = softmax_dice(logits, labels)
    merged = np.concatenate([logits[:, :2], np.logaddexp(logits[:, 2], logits[:, 3])[:, None]], axis=1)
    assert softmax_dice(merged, labels)[0] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_all_is_ignored_loss_and_gradient_are_0(dtype):
    loss, cache = softmax_dice(np.ones((2, 3, 3), dtype), np.full((2, 3), 255))
    assert loss == 0
    assert not np.signbit(loss)
    np.testing.assert_array_equal(softmax_dice_backward(1.0, cache), np.zeros((2, 3, 3)))


def test_what_does_not_fit():
    with pytest.raises(OpError, match=r"^softmax_dice: labels hold 4, want 0 to 3 or the ignored 255\.$"):
        softmax_dice(np.zeros((2, 4)), np.array([0, 4]))
