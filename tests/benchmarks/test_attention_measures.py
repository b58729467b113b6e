"""What is measured of the network that comes with segattn, on a few scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.attention_measures import (
    changed,
    closed,
    loss_ratio,
    require_measurable,
    result_of,
    sharpness,
    small_scale_weights,
    variants,
)
from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.errors import UsageError
from segattn_cli.runs import open_model
from segattn_cli.runs.demo import DEMO


@pytest.fixture(scope="module")
def model():
    return open_model(DEMO)


@pytest.fixture(scope="module")
def scenes():
    return Scenes("test", SceneOptions(count=4))


def test_without_its_attentions_the_network_mistakes_roads_for_plazas(model, scenes):
    """Each is enough, and nothing else of the network sees the sky from the asphalt."""
    iou = {
        name: result_of(each, scenes).per_class_iou["road"]
        for name, each in {
            "whole": model, "one": closed(model, "position"), "none": closed(model, "position", "channel"),
        }.items()
    }  # fmt: skip
    assert iou["whole"] > 0.85
    assert iou["one"] > 0.8
    assert iou["none"] < 0.7
    assert model.params["head.position.gate"] != 0  # of the model itself nothing changed


def test_what_has_nothing_to_measure_is_refused(model, scenes):
    whole = Scenes("test", SceneOptions())
    require_measurable(model, whole)
    one_scale = changed(model, scales=(1.0,), scale_classifier="none")
    streets = replace(model, classes=tuple("abcdefgh"))
    for each, dataset, sentence in (
        (one_scale, whole, "no dual head at several scales"),
        (streets, whole, "no class car"),
        (model, scenes, "has 4 images; 32 or more"),
    ):
        with pytest.raises(UsageError, match=sentence):
            require_measurable(each, dataset)


def test_every_variant_differs_from_the_network_as_trained(model, scenes):
    one = Scenes("test", SceneOptions(count=1))
    results = [result_of(each, one).confusion for _, each in variants(model)]
    assert all((result != results[0]).any() for result in results[1:])


def test_equal_logits_give_both_scales_half_of_the_weight(model, scenes):
    equal = changed(model)
    for name in ("scale_attention.conv2.weight", "scale_attention.conv2.bias"):
        equal.params[name] = np.zeros_like(equal.params[name])
    by_class, (by_height, cars) = small_scale_weights(equal, scenes)
    np.testing.assert_allclose(by_class, 0.5, atol=1e-6)
    np.testing.assert_allclose(by_height[cars > 0], 0.5, atol=1e-6)
    assert cars.sum() >= 4
    assert small_scale_weights(model, scenes)[0].max() < 0.5


def test_ratios_and_sharpness(model, scenes):
    trained = changed(model, scales=(1.0,), scale_classifier="none")
    assert loss_ratio(trained, scenes, batches=1, size=2) > 1
    released, paper = (sharpness(changed(model, channel_form=form), scenes, 1) for form in ("released", "paper"))
    assert 1 / 32 < released.largest <= 1
    assert 1 <= released.reach <= 192
    assert released.own < paper.own  # least similar, most similar
