from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, softmax_cross_entropy, softmax_focal, softmax_focal_backward


def naive(logits, labels, ignore_label, class_weights, gamma):
    """The loss and its gradient, which is by the probability first."""
    total = total_weight = 0.0
    dlogits = np.zeros(logits.shape)
    for pixel in np.ndindex(labels.shape):
        label = int(labels[pixel])
        if label == ignore_label:
            continue
        weight = 1.0 if class_weights is None else class_weights[label]
        exponentials = [math.exp(z) for z in logits[pixel]]
        probabilities = [e / sum(exponentials) for e in exponentials]
        p = probabilities[label]
        total += weight * (1 - p) ** gamma * -math.log(p)
        total_weight += weight
        dp = (gamma * (1 - p) ** (gamma - 1) * math.log(p) if gamma else 0.0) - (1 - p) ** gamma / p
        for k, probability in enumerate(probabilities):
            dlogits[(*pixel, k)] = weight * dp * p * ((k == label) - probability)
    return total / total_weight, dlogits / total_weight


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ignore_label", [255, -1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 3), (7,), ()])
def test_against_loops(gamma, weighted, ignore_label, shape, rng):
    logits = rng.normal(size=(*shape, 5))
    labels = np.asarray(rng.choice([0, 1, 3, 4], shape))
    if shape:
        labels[..., 0] = ignore_label
    options = {"ignore_label": ignore_label, "class_weights": rng.uniform(0.1, 3, size=5) if weighted else None}
    loss, cache = softmax_focal(logits, labels, gamma=gamma, **options)
    wanted, dlogits = naive(logits, labels, *options.values(), gamma)
    assert loss.shape == ()
    assert loss == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(softmax_focal_backward(2.5, cache), 2.5 * dlogits, rtol=1e-10, atol=1e-14)


def test_without_focus_it_is_the_cross_entropy(rng):
    logits, labels = rng.normal(size=(6, 4)), np.array([0, 255, 1, 2, 255, 3])
    weights = rng.uniform(0.1, 3, size=4)
    loss, _ = softmax_focal(logits, labels, class_weights=weights, gamma=0.0)
    assert loss == pytest.approx(softmax_cross_entropy(logits, labels, class_weights=weights)[0], rel=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits(dtype, gamma):
    """A pixel that is certainly right has no gradient, one that is certainly wrong that of the cross-entropy."""
    logits = np.array([[1000, -1000, 0], [-1000, 1000, 0]], dtype)
    loss, cache = softmax_focal(logits, np.array([0, 0]), gamma=gamma)
    assert loss == 1000  # the mean of 0 and 2000
    np.testing.assert_array_equal(softmax_focal_backward(1.0, cache), [[0, 0, 0], [-0.5, 0.5, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
def test_where_no_pixel_counts_loss_and_gradient_are_0(dtype, class_weights):
    weights = None if class_weights is None else np.array(class_weights, dtype)
    labels = np.full((2, 3), 2 if class_weights else 255)  # ignored, or only classes of weight 0
    loss, cache = softmax_focal(np.ones((2, 3, 3), dtype), labels, class_weights=weights)
    assert loss == 0
    np.testing.assert_array_equal(softmax_focal_backward(1.0, cache), np.zeros((2, 3, 3)))


@pytest.mark.parametrize("gamma", [-0.5, float("nan"), float("inf")])
def test_gamma_that_does_not_fit(gamma):
    with pytest.raises(OpError, match=rf"^softmax_focal: gamma is {gamma}, wants a finite number of at least 0\.$"):
        softmax_focal(np.zeros((2, 4)), np.array([0, 1]), gamma=gamma)


def test_what_does_not_fit():
    with pytest.raises(OpError, match=r"^softmax_focal: labels hold 4, want 0 to 3 or the ignored 255\.$"):
        softmax_focal(np.zeros((2, 4)), np.array([0, 4]))
    with pytest.raises(OpError, match=r"^softmax_focal: class_weights has shape \(3,\), wants \(K=4\)\.$"):
        softmax_focal(np.zeros((2, 4)), np.array([0, 1]), class_weights=np.ones(3))
