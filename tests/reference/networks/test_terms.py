"""What the loss of a score map is made of, in whole networks."""

from __future__ import annotations

import numpy as np
import pytest

from reference import ops
from reference.networks import LossTerms

NETWORK = {"backbone": "tiny", "head": "dual", "scales": (1.0, 0.6), "dropout": False}


def resized(scores, problem):
    return ops.resize_bilinear(scores, problem.labels.shape[1:])[0]


def weighted_mean(losses, labels, problem):
    """Of ``losses (B, H, W)`` over the pixels that ``labels`` do not ignore, by the weights of their classes."""
    weights = np.append(problem.objective.class_weights, 0)[np.where(labels == 255, -1, labels)]
    return np.sum(weights * losses) / weights.sum()


def cross_entropies(scores, problem):
    """Of each pixel ``(B, H, W)``; what an ignored one has does not matter."""
    logits = resized(scores, problem)
    log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.where(problem.labels == 255, 0, problem.labels)
    return -np.take_along_axis(log_probability, target[..., None], -1)[..., 0]


def test_every_part_has_its_own_hard_pixels(make_problem):
    problem = make_problem(terms=LossTerms(hard_pixel_threshold=0.2, hard_pixel_fraction=0.3), **NETWORK)
    loss = problem.loss()
    for part, scores in (("main", loss.outputs.main), ("scale 0.6", loss.outputs.scales[1].main)):
        losses = cross_entropies(scores, problem)
        labelled = problem.labels != 255
        hardest = np.sort(losses[labelled])[-int(np.ceil(0.3 * labelled.sum())) :]
        hard = labelled & ((losses >= -np.log(0.2)) | (losses >= hardest[0]))
        assert 0 < hard.sum() < labelled.sum()
        wanted = weighted_mean(losses, np.where(hard, problem.labels, 255), problem)
        assert loss.parts[part] == pytest.approx(wanted, rel=1e-10)


def test_gradient_with_hard_pixels(make_problem):
    problem = make_problem(terms=LossTerms(hard_pixel_threshold=0.2, hard_pixel_fraction=0.3), **NETWORK)
    direction = problem.direction(lambda name: True)
    gradients = problem.gradients()
    predicted = sum(np.vdot(gradients[name], d) for name, d in direction.items())
    # A small step, along which no pixel becomes easy.
    slope = problem.slope(lambda params: float(problem.loss(params).total), direction, step=1e-8)
    assert predicted == pytest.approx(slope, rel=1e-4)


def test_the_loss_of_each_part_is_the_weighted_sum_of_its_terms(make_problem):
    terms = LossTerms(cross_entropy=0.5, focal=2.0, focal_gamma=1.5, dice=1.25, lovasz=0.75)
    problem = make_problem(terms=terms, **NETWORK)
    loss = problem.loss()
    wanted = {}
    for part, scores in (("main", loss.outputs.main), ("scale 0.6", loss.outputs.scales[1].main)):
        logits = resized(scores, problem)
        options = {"class_weights": np.array(problem.objective.class_weights)}
        cross_entropy, _ = ops.softmax_cross_entropy(logits, problem.labels, **options)
        focal, _ = ops.softmax_focal(logits, problem.labels, **options, gamma=1.5)
        dice, _ = ops.softmax_dice(logits, problem.labels)
        lovasz, _ = ops.lovasz_softmax(logits, problem.labels)
        values = [float(value) for value in (cross_entropy, focal, dice, lovasz)]
        wanted[part] = np.dot(values, [0.5, 2.0, 1.25, 0.75])
        if part == "main":
            names = ("cross-entropy", "focal", "dice", "lovasz")
            wanted |= {f"main {name}": value for name, value in zip(names, values, strict=True)}
    assert {part: float(loss.parts[part]) for part in wanted} == pytest.approx(wanted, rel=1e-12)
    parts = [loss.parts[part] for part in ("main", "position", "channel", "scale 1", "scale 0.6")]
    assert loss.total == pytest.approx(sum(parts), rel=1e-12)


def test_the_cross_entropy_alone_has_no_terms_beside_it(make_problem):
    problem = make_problem(**NETWORK)
    assert set(problem.loss().parts) == {"main", "position", "channel", "scale 1", "scale 0.6"}


@pytest.mark.parametrize(
    "terms",
    [
        LossTerms(focal=0.5),
        LossTerms(cross_entropy=0.0, focal=1.0, focal_gamma=0.7),
        LossTerms(cross_entropy=0.0, dice=1.0),
        LossTerms(cross_entropy=0.0, lovasz=1.0),
        LossTerms(cross_entropy=0.5, focal=0.3, dice=2.0, lovasz=0.7, hard_pixel_threshold=0.3),
    ],
    ids=lambda terms: " ".join(name for name, weight in terms.weights().items() if weight),
)
def test_gradient_of_terms(make_problem, terms):
    problem = make_problem(terms=terms, **NETWORK)
    direction = problem.direction(lambda name: True)
    gradients = problem.gradients()
    predicted = sum(np.vdot(gradients[name], d) for name, d in direction.items())
    slope = problem.slope(lambda params: float(problem.loss(params).total), direction, step=1e-8)
    assert predicted == pytest.approx(slope, rel=1e-4)


def test_terms_that_cannot_be():
    with pytest.raises(ValueError, match="cross_entropy, focal, dice and lovasz are all 0"):
        LossTerms(cross_entropy=0.0)
    with pytest.raises(ValueError, match=r"hard_pixel_threshold is 0\.7, but cross_entropy, .* is 0"):
        LossTerms(cross_entropy=0.0, focal=1.0, hard_pixel_threshold=0.7)
