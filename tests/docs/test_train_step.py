"""The recorded step of training: what it calls a gradient is the slope of its loss."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.runs import open_model
from segattn_cli.runs.demo import DEMO

#: So small that no sky, whose pixels are nearly equal, goes over the corner of a ReLU as a whole.
STEP = 1e-8


@pytest.fixture(scope="module")
def recorded(extension):
    """``recorded(change)``: the step on a small scene, in float64."""
    module = extension("train_step")
    model, sample = open_model(DEMO), Scenes("val", SceneOptions(size=(24, 32))).load(0)

    def record(change=lambda name, y: y):
        return module.record_step(model, sample, np.float64, change)

    return record


def test_every_gradient_is_the_slope_of_the_loss(recorded):
    """Along a random direction, by central differences: of every fifth tensor, and of all around the attentions."""
    rng = np.random.default_rng(1)
    tensors = [each for each in recorded().tensors if each.gradient is not None]
    wanted = ("query", "key", "value", "attended", "gate", "fused", "conv2", "dropout", "loss")
    chosen = [each for n, each in enumerate(tensors) if n % 5 == 0 or each.name.endswith(wanted)]
    assert len(chosen) > 30
    for name, value, gradient in chosen:
        direction = rng.standard_normal(value.shape)

        def moved(step, name=name, direction=direction):
            return recorded(lambda each, y: y + step * direction if each == name else y).loss

        slope = (moved(STEP) - moved(-STEP)) / (2 * STEP)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-7), name


def test_every_tensor_is_recorded(recorded):
    step = recorded()
    names = [each.name for each in step.tensors]
    assert names[:2] == ["scale 1/backbone.conv1", "scale 1/backbone.bn1"]
    assert names.index("scale 0.5/head.classifier") < names.index("fused") < names.index("main.resized")
    assert [each.name for each in step.tensors if each.gradient is None] == ["scale_classifier.pool"]
    weights = {"main": 1, "scale 1": 1, "scale 0.5": 1, "position": 1, "channel": 1, "scale classifier": 0.1}
    assert step.loss == pytest.approx(sum(weights[part] * value for part, value in step.parts.items()))


def test_pictures(extension, recorded):
    module = extension("train_step")
    assert doctest.testmod(module).failed == 0
    sheet = module.mosaic(np.arange(-8, 8).reshape(4, 2, 2) / 8)
    assert sheet.shape in ((5, 5), (2, 11))
    assert (sheet == -128).sum() == sheet.size - 16
    colours = np.array(list(module._colours())).reshape(256, 3)
    assert tuple(colours[128]) == (255, 255, 255)
    assert (tuple(colours[255]), tuple(colours[1])) == (module.POSITIVE, module.NEGATIVE)
