from __future__ import annotations

import numpy as np
import pytest

from backends import get_backend
from reference.layers import Context
from reference.networks import NetworkConfig, build_network
from segattn_cli.checking.network_checks import NETWORKS
from segattn_cli.costs.cost import inference
from segattn_cli.costs.layers import grouped, layer_costs


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_that_a_real_pass_shows(name: str) -> None:
    network = build_network(NETWORKS[name])
    seen: list[tuple] = []
    ctx = Context(
        get_backend("numpy"), network.initialise(0), observe=lambda name, x: seen.append((name, x.shape, x.nbytes))
    )
    network.forward(np.zeros((1, 41, 57, 3), np.float32), ctx)
    assert [(layer.name, layer.shape, layer.output_bytes) for layer in layer_costs(network, 41, 57)] == seen


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_add_up_to_the_whole(name: str) -> None:
    network = build_network(NETWORKS[name])
    whole = inference(network, 1, 41, 57)
    layers = layer_costs(network, 41, 57)
    for rows in (layers, grouped(layers)):
        assert sum(row.parameters for row in rows) == whole.parameters
        assert sum(row.statistics for row in rows) == whole.statistics
        assert sum(row.output_bytes for row in rows) == sum(layer.output_bytes for layer in layers)
        assert sum(row.multiply_adds for row in rows if not row.training_only) == whole.multiply_adds


def test_a_layer_has_its_initial_values() -> None:
    """A convolution its weight, its norm the rest; the gate belongs to the sum, the attention itself has none."""
    layers = {layer.name: layer for layer in layer_costs(build_network(NETWORKS["resnet18-dual"]), 41, 57)}
    found = {name: (layers[name].parameters, layers[name].statistics) for name in (
        "backbone.conv1", "backbone.bn1", "backbone.maxpool", "head.position.query", "head.position.attended",
        "head.position.gate", "head.channel.gate", "head.classifier",
    )}  # fmt: skip
    assert found == {
        "backbone.conv1": (49 * 3 * 64, 0),
        "backbone.bn1": (128, 128),
        "backbone.maxpool": (0, 0),
        "head.position.query": (128 * 16 + 16, 0),
        "head.position.attended": (0, 0),
        "head.position.gate": (1, 0),
        "head.channel.gate": (1, 0),
        "head.classifier": (128 * 11 + 11, 0),
    }
    attended = layers["head.position.attended"]
    assert (attended.shape, attended.multiply_adds) == ((1, 6 * 8, 128), (6 * 8) ** 2 * (16 + 128))


def test_scales_share_parameters_and_work_less() -> None:
    groups = {group.name: group for group in grouped(layer_costs(build_network(NETWORKS["tiny-fcn"]), 64, 96))}
    config = NetworkConfig(classes=5, head="fcn", output_stride=4, scales=(1.0, 0.5), fusion="mean")
    scaled = {group.name: group for group in grouped(layer_costs(build_network(config), 64, 96))}
    first, second = scaled["scale 1/backbone.conv5"], scaled["scale 0.5/backbone.conv5"]
    assert first == groups["backbone.conv5"]._replace(name=first.name)
    assert (second.parameters, second.statistics) == (0, 0)
    assert 4 * second.multiply_adds == first.multiply_adds
    assert [name for name in scaled if "/" not in name] == ["on_grid", "fused"]


def test_what_only_training_computes_is_told_apart() -> None:
    config = NetworkConfig(classes=3, backbone="resnet18", head="dual", auxiliary_head=True)
    groups = grouped(layer_costs(build_network(config), 64, 96))
    assert [group.name for group in groups if group.training_only] == [
        "head.position.classifier", "head.channel.classifier", "auxiliary_head.reduce", "auxiliary_head.classifier",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            NetworkConfig(classes=3, backbone="vgg16", head="largefov"),
            [*(f"backbone.conv{stage}" for stage in range(1, 6)), "head.fc6", "head.fc7", "head.fc8"],
        ),
        (
            NetworkConfig(classes=3, backbone="resnet18", head="channel", deep_stem=True),
            ["backbone.conv1", "backbone.maxpool", *(f"backbone.layer{stage}" for stage in range(1, 5)),
             "head.channel", "head.classifier"],
        ),
    ],
)  # fmt: skip
def test_modules(config: NetworkConfig, names: list[str]) -> None:
    found = [group.name for group in grouped(layer_costs(build_network(config), 64, 96))]
    found = ["backbone.conv1" if name == "backbone.bn1" else name for name in found]
    assert found == names
