from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, softmax_cross_entropy, softmax_cross_entropy_backward


def naive(logits, labels, ignore_label, class_weights):
    """The loss and its gradient."""
    total = total_weight = 0.0
    dlogits = np.zeros(logits.shape)
    for pixel in np.ndindex(labels.shape):
        label = int(labels[pixel])
        if label == ignore_label:
            continue
        weight = 1.0 if class_weights is None else class_weights[label]
        exponentials = [math.exp(z) for z in logits[pixel]]
        probabilities = [e / sum(exponentials) for e in exponentials]
        total += weight * -math.log(probabilities[label])
        total_weight += weight
        for k, probability in enumerate(probabilities):
            dlogits[(*pixel, k)] = weight * (probability - (k == label))
    return total / total_weight, dlogits / total_weight


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ignore_label", [255, -1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 3), (7,), ()])
def test_against_loops(weighted, ignore_label, shape, rng):
    logits = rng.normal(size=(*shape, 5))
    labels = np.asarray(rng.choice([0, 1, 3, 4], shape))
    if shape:
        labels[..., 0] = ignore_label
    class_weights = rng.uniform(0.1, 3, size=5) if weighted else None
    loss, cache = softmax_cross_entropy(logits, labels, ignore_label=ignore_label, class_weights=class_weights)
    wanted, dlogits = naive(logits, labels, ignore_label, class_weights)
    assert loss.shape == ()
    assert loss == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(softmax_cross_entropy_backward(1.0, cache), dlogits, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(softmax_cross_entropy_backward(2.5, cache), 2.5 * dlogits, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_any_integer_dtype(dtype, rng):
    logits = rng.normal(size=(2, 6, 3))
    labels = np.array([[0, 1, 2, 100, 0, 1], [2, 2, 100, 0, 1, 0]])
    wanted, _ = softmax_cross_entropy(logits, labels, ignore_label=100)
    loss, cache = softmax_cross_entropy(logits, labels.astype(dtype), ignore_label=100)
    assert loss == wanted
    assert softmax_cross_entropy_backward(1.0, cache)[0, 3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
def test_where_no_pixel_counts_loss_and_gradient_are_0(dtype, class_weights):
    weights = None if class_weights is None else np.array(class_weights, dtype)
    labels = np.full((2, 3), 2 if class_weights else 255)  # void, or only classes of weight 0
    loss, cache = softmax_cross_entropy(np.ones((2, 3, 3), dtype), labels, class_weights=weights)
    assert loss == 0
    assert not np.signbit(loss)
    np.testing.assert_array_equal(softmax_cross_entropy_backward(1.0, cache), np.zeros((2, 3, 3)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits(dtype):
    logits = np.array([[1000, -1000, 0], [-1000, 1000, 0]], dtype)
    loss, cache = softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == 1000  # the mean of 0 and 2000
    wanted = np.array([[0, 0, 0], [-0.5, 0.5, 0]])
    np.testing.assert_array_equal(softmax_cross_entropy_backward(1.0, cache), wanted)


def test_logits_of_void_pixels_do_not_matter(rng):
    logits, labels = rng.normal(size=(6, 4)), np.array([0, 255, 1, 2, 255, 3])
    changed = logits + 100 * (labels == 255)[:, None]
    assert softmax_cross_entropy(logits, labels)[0] == softmax_cross_entropy(changed, labels)[0]


def test_equal_weights_are_no_weights(rng):
    logits, labels = rng.normal(size=(6, 4)), np.array([0, 255, 1, 2, 255, 3])
    loss, _ = softmax_cross_entropy(logits, labels, class_weights=np.full(4, 0.3))
    assert loss == pytest.approx(softmax_cross_entropy(logits, labels)[0], rel=1e-12)


@pytest.mark.parametrize("dloss", [2, 2.0, np.float64(2), np.array(2.0), np.array(2, np.float32)])
def test_dloss_may_be_any_scalar(dloss):
    logits = np.zeros((3, 2), np.float32)
    _, cache = softmax_cross_entropy(logits, np.array([0, 1, 0]))
    dlogits = softmax_cross_entropy_backward(dloss, cache)
    assert dlogits.dtype == np.float32
    np.testing.assert_allclose(dlogits, np.array([[-1, 1], [1, -1], [-1, 1]]) / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 4, 255]), r"labels hold 4, want 0 to 3 or the ignored 255\."),
        (np.array([0, -1, 255]), r"labels hold -1, want 0 to 3 or the ignored 255\."),
        (np.array([0, 254, 255], np.uint8), r"labels hold 254, want 0 to 3 or the ignored 255\."),
        (np.array([0.0, 1.0, 2.0]), r"labels are float64, want an integer dtype\."),
        (np.array([True, False, True]), r"labels are bool, want an integer dtype\."),
        (np.array([[0, 1, 2]]), r"labels have shape \(1, 3\), want \(3,\) as the logits have\."),
        ([0, 1, 2], r"labels have shape list, want \(3,\) as the logits have\."),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(OpError, match=f"^softmax_cross_entropy: {message}$"):
        softmax_cross_entropy(np.zeros((3, 4)), labels)


def test_class_weights_that_do_not_fit():
    with pytest.raises(OpError, match=r"^softmax_cross_entropy: class_weights has shape \(3,\), wants \(K=4\)\.$"):
        softmax_cross_entropy(np.zeros((2, 4)), np.array([0, 1]), class_weights=np.ones(3))
    with pytest.raises(OpError, match=r"class_weights is float32, wants float64 as logits is\.$"):
        softmax_cross_entropy(np.zeros((2, 4)), np.array([0, 1]), class_weights=np.ones(4, np.float32))
