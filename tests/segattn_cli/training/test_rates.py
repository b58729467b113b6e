"""The learning rates of parameters beside each other."""

from __future__ import annotations

import pytest

from reference.networks import NetworkConfig, build_network
from segattn_cli.config import OptimiserSection
from segattn_cli.training.rates import rate_multipliers

#: Backbone → a parameter of each of its stages, from the image on.
STAGES = {
    "resnet18": ("conv1.weight", "layer1.0.conv1.weight", "layer2.1.bn2.bias", "layer3.0.bn1.weight",
                 "layer4.1.conv2.weight"),
    "resnet101": ("bn1.weight", "layer1.0.conv3.weight", "layer2.0.downsample.0.weight", "layer3.22.conv1.weight",
                  "layer4.2.bn3.bias"),
    "vgg16": ("conv1_2.weight", "conv2_1.bias", "conv3_3.weight", "conv4_1.weight", "conv5_3.bias"),
    "tiny": ("conv1.weight", "bn2.weight", "conv3.weight", "bn4.bias", "conv5.weight"),
}  # fmt: skip


def network(backbone, **options):
    head = "largefov" if backbone == "vgg16" else "dual"
    return build_network(NetworkConfig(classes=3, backbone=backbone, head=head, **options)).shapes()


def test_head_classifiers_and_biases():
    config = OptimiserSection(head_multiplier=10.0, classifier_multiplier=3.0, bias_multiplier=2.0)
    names = {
        "backbone.layer1.0.conv1.weight": 1, "backbone.bn1.bias": 2, "scale_attention.conv1.weight": 10,
        "scale_classifier.weight": 10, "head.position.classifier.weight": 30, "head.fc7.weight": 10,
        "head.fc8.weight": 30, "head.fc8.bias": 60, "auxiliary_head.reduce.conv.weight": 10,
        "auxiliary_head.classifier.weight": 30,
    }  # fmt: skip
    assert rate_multipliers(names, config) == names


@pytest.mark.parametrize("backbone", STAGES)
def test_each_stage_is_slower_than_the_next_and_the_head_as_fast_as_before(backbone):
    found = rate_multipliers(network(backbone), OptimiserSection(layer_decay=0.5))
    assert [found[f"backbone.{name}"] for name in STAGES[backbone]] == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    heads = {name: each for name, each in found.items() if not name.startswith("backbone.")}
    assert heads
    assert set(heads.values()) == {1.0}


def test_a_deep_stem_is_one_stage():
    found = rate_multipliers(network("resnet50", deep_stem=True), OptimiserSection(layer_decay=0.9))
    stem = {each for name, each in found.items() if name.startswith(("backbone.conv1", "backbone.bn1"))}
    assert stem == {0.9**5}


def test_the_factors_are_multiplied():
    config = OptimiserSection(layer_decay=0.5, bias_multiplier=2.0)
    assert rate_multipliers(network("vgg16"), config)["backbone.conv5_1.bias"] == 1.0
