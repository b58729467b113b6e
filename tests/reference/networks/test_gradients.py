"""The gradients of whole networks against central differences: no other check can see a wiring error."""

from __future__ import annotations

import numpy as np
import pytest

from reference.networks import LossWeights, is_trained
from reference.networks.config import FUSIONS, HEADS, SCALE_CLASSIFIERS


def assert_gradient_is_slope(problem, measure, chosen=lambda name: True, *, step=1e-6, rel=2e-6):
    """The inner product of gradient and direction is the slope, and each parameter has a gradient."""
    gradients = problem.gradients()
    direction = problem.direction(chosen)
    assert direction
    assert set(direction) <= set(gradients)
    predicted = sum(float(np.vdot(gradients[name], d)) for name, d in direction.items())
    slope = problem.slope(measure, direction, step)
    assert predicted == pytest.approx(slope, rel=rel, abs=1e-8)


@pytest.mark.parametrize(
    ("head", "channel_form"), [(head, "released") for head in HEADS] + [("channel", "paper"), ("dual", "paper")]
)
def test_one_scale(make_problem, head, channel_form):
    problem = make_problem(backbone="tiny", head=head, channel_form=channel_form)
    assert_gradient_is_slope(problem, lambda params: problem.loss(params).total)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("extra_supervision", [0.0, 1.0])
@pytest.mark.parametrize("scale_classifier", SCALE_CLASSIFIERS)
def test_scales(make_problem, head, fusion, extra_supervision, scale_classifier):
    weights = LossWeights(position=0.7, channel=1.3, extra_supervision=extra_supervision, scale_classifier=0.4)
    problem = make_problem(
        weights, backbone="tiny", head=head, fusion=fusion, scales=(1.0, 0.6), scale_classifier=scale_classifier
    )
    if scale_classifier != "detached":
        assert_gradient_is_slope(problem, lambda params: problem.loss(params).total)
        return

    # A probe: what it learns from does not see it.
    def without_probe(params):
        loss = problem.loss(params)
        return loss.total - 0.4 * loss.parts["scale classifier"]

    def is_probe(name):
        return name.startswith("scale_classifier")

    assert_gradient_is_slope(problem, without_probe, lambda name: not is_probe(name))
    assert_gradient_is_slope(problem, lambda params: problem.loss(params).total, is_probe)


@pytest.mark.parametrize(
    "config",
    [
        {"backbone": "resnet18", "head": "dual", "align_corners": True},
        {"backbone": "resnet18", "head": "fcn", "multi_grid": (4, 8), "deep_stem": True},
        {"backbone": "resnet50", "head": "fcn", "output_stride": 16},
        {
            "backbone": "resnet18", "head": "position", "auxiliary_head": True, "deep_stem": True,
            "stem_channels": 32,
        },
        {"backbone": "vgg16", "head": "largefov", "scales": (0.5, 1.0)},
    ],
    ids=lambda config: f"{config['backbone']}-{config['head']}",
)
def test_backbones(make_problem, config):
    problem = make_problem(size=(33, 40), **config)
    # A step along millions of parameters crosses kinks of the many ReLUs: a smaller one crosses fewer.
    assert_gradient_is_slope(problem, lambda params: problem.loss(params).total, step=3e-9, rel=2e-4)


@pytest.mark.parametrize(
    ("head", "scales", "output_stride", "size"),
    [
        ("fcn", (1.0,), 8, (24, 33)),
        ("dual", (1.0, 0.6), 8, (24, 33)),
        ("dual", (0.6, 1.0), 32, (41, 48)),  # layer3's map is the larger
    ],
)
def test_auxiliary_head(make_problem, head, scales, output_stride, size):
    """Of the auxiliary head itself, and of what lies below it and the main head: layer3 and the stem."""
    problem = make_problem(
        LossWeights(auxiliary=2.5), backbone="resnet18", head=head, scales=scales, auxiliary_head=True,
        output_stride=output_stride, size=size,
    )

    def total(params):
        return problem.loss(params).total

    assert_gradient_is_slope(problem, total, lambda name: name.startswith("auxiliary_head."), step=1e-7, rel=2e-5)
    for part in ("backbone.layer3.1.", "backbone.bn1."):
        assert_gradient_is_slope(problem, total, lambda name, part=part: name.startswith(part), step=1e-8, rel=1e-4)


@pytest.mark.parametrize(
    ("head", "scales", "output_stride"),
    [("fcn", (1.0,), 16), ("dual", (1.0, 0.6), 32), ("position", (0.6, 1.0), 8)],
)
def test_decoder(make_problem, head, scales, output_stride):
    """Of the decoder itself, of the head that it follows, and of layer1, whose output it takes beside layer2."""
    problem = make_problem(
        LossWeights(auxiliary=2.5), backbone="resnet18", head=head, scales=scales, decoder=True,
        output_stride=output_stride, size=(41, 48),
    )

    def total(params):
        return problem.loss(params).total

    for part in ("decoder.", "head."):
        assert_gradient_is_slope(problem, total, lambda name, part=part: name.startswith(part), step=1e-8, rel=1e-4)
    for part in ("backbone.layer1.1.", "backbone.bn1."):
        assert_gradient_is_slope(problem, total, lambda name, part=part: name.startswith(part), step=1e-8, rel=1e-4)


def test_frozen_norms(make_problem):
    """With running statistics in training, gradients are those of the running statistics' formula."""
    problem = make_problem(backbone="tiny", head="dual")
    problem.context = lambda params=None, make=problem.context: _frozen(make(params))
    assert_gradient_is_slope(problem, lambda params: problem.loss(params).total)


def _frozen(ctx):
    ctx.batch_statistics = False
    return ctx


def test_dloss_scales_every_gradient(make_problem):
    problem = make_problem(backbone="tiny", head="dual", scales=(1.0, 0.5), scale_classifier="attached")
    whole = problem.gradients()
    ctx = problem.context()
    problem.objective.forward(problem.images, problem.labels, ctx)
    half = problem.objective.backward(ctx, 0.5)
    for name in whole:
        np.testing.assert_allclose(half[name], 0.5 * whole[name], rtol=1e-9, atol=1e-14)


def test_every_trained_parameter_gets_a_gradient(make_problem):
    problem = make_problem(backbone="tiny", head="dual", scales=(1.0, 0.75, 0.5), scale_classifier="attached")
    gradients = problem.gradients()
    assert set(gradients) == {name for name in problem.params if is_trained(name)}
    for name, gradient in gradients.items():
        assert gradient.shape == problem.params[name].shape, name
        assert np.any(gradient), f"{name} has no gradient at all"


def test_no_scale_is_left_without_attention_gradient(make_problem):
    """Multiplying one scale's scores only, by weights that sum to one, is a known mistake: nothing would learn."""
    problem = make_problem(backbone="tiny", head="fcn", scales=(1.0, 0.75, 0.5))
    gradient = problem.gradients()["scale_attention.conv2.weight"]  # (C, S)
    assert np.all(np.abs(gradient).max(axis=0) > 1e-6)


def test_scale_attention_leaves_its_start(make_problem):
    """At the start the scales weigh the same and only the last convolution learns; after one step, both do."""
    problem = make_problem(backbone="tiny", head="fcn", scales=(1.0, 0.5))
    for name in ("scale_attention.conv2.weight", "scale_attention.conv2.bias"):
        problem.params[name] = np.zeros_like(problem.params[name])
    np.testing.assert_allclose(problem.loss().outputs.scale_weights, 0.5)
    first = problem.gradients()
    assert not np.any(first["scale_attention.conv1.weight"])
    problem.params |= {name: problem.params[name] - 0.1 * gradient for name, gradient in first.items()}
    assert np.any(problem.gradients()["scale_attention.conv1.weight"])
