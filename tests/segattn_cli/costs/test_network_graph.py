"""The graph of a network, which is recorded while the network computes: compared with other walks through it."""

from __future__ import annotations

import pytest

from reference.networks import NetworkConfig, build_network
from segattn_cli.config import PRESETS, load_config
from segattn_cli.costs.layers import layer_costs
from segattn_cli.costs.network_graph import IMAGE, by_layer, by_module, grouped, network_graph

EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def built(preset, classes=8):
    return build_network(load_config(preset).network_config(classes))


@EVERY_PRESET
def test_the_costs_are_those_of_the_layers(preset):
    network = built(preset)
    graph, layers = network_graph(network, 65, 97), layer_costs(network, 65, 97)
    for nodes in (graph, grouped(graph, by_layer), grouped(graph, by_module)):
        assert sum(node.parameters for node in nodes) == sum(each.parameters for each in layers)
        assert sum(node.multiply_adds for node in nodes) == sum(each.multiply_adds for each in layers)
    shapes = {each.name: each.shape[1:] for each in layers if each.shape[0] == 1}
    for node in graph:
        for scope, shape in node.shapes.items():
            if node.name in shapes or f"{scope}/{node.name}" in shapes:
                assert shapes[f"{scope}/{node.name}" if scope in network.scopes and scope else node.name] == shape


@EVERY_PRESET
def test_inputs_are_nodes_that_come_first(preset):
    graph = network_graph(built(preset), 65, 97)
    for nodes in (graph, grouped(graph, by_layer), grouped(graph, by_module)):
        known = {IMAGE}
        for node in nodes:
            assert node.inputs
            assert known.issuperset(node.inputs), node.name
            known.add(node.name)


@EVERY_PRESET
def test_places_are_lines_that_call_the_op(preset, repository):
    for node in network_graph(built(preset), 65, 97):
        (op,) = node.ops
        lines = (repository / node.place.file).read_text(encoding="utf-8").splitlines()
        call = " ".join(lines[node.place.line - 1 : node.place.line + 3])
        wanted = {"+": " + ", "scale_max": "fuse(", "scale_mean": "fuse("}.get(op, f"ops.{op}(")
        assert wanted in call, node


def test_the_edges_are_those_of_the_papers_figures():
    """Figures 2 and 3 of DANet, and figure 2 of Attention to Scale."""
    config = NetworkConfig(classes=5, head="dual", scales=(1.0, 0.5), scale_classifier="attached")
    graph = grouped(network_graph(build_network(config), 64, 96), by_layer)
    inputs = {node.name: set(node.inputs) for node in graph}
    position, channel = "head.position", "head.channel"
    for branch in (position, channel):
        assert inputs[f"{branch}.reduce"] == {"backbone.conv5"}
        assert inputs[f"{branch}.gate"] == {f"{branch}.reduce", f"{branch}.attended"}
        assert inputs[f"{branch}.refine"] == {f"{branch}.gate"}
        assert inputs[f"{branch}.classifier"] == {f"{branch}.refine"}
    for part in ("query", "key", "value"):
        assert inputs[f"{position}.{part}"] == {f"{position}.reduce"}
    assert inputs[f"{position}.attended"] == {f"{position}.{part}" for part in ("query", "key", "value")}
    assert inputs[f"{channel}.attended"] == {f"{channel}.reduce"}
    assert inputs["DualAttentionHead +"] == {f"{position}.refine", f"{channel}.refine"}
    assert inputs["backbone.conv1"] == {IMAGE, "AttentionToScale resize_bilinear"}
    assert inputs["features.on_grid"] == {"DualAttentionHead +"}
    assert inputs["scale_attention.conv1"] == {"ScaleAttention concatenate"}
    assert inputs["fused"] == {"AttentionToScale stack", "scale_attention.conv2"}
    training = {node.name for node in graph if node.training_only}
    assert training >= {f"{position}.classifier", "channel.on_grid", "scale_classifier"}
    assert not training & {"head.classifier", "main.on_grid", "fused"}


def test_a_residual_is_an_input():
    graph = network_graph(build_network(NetworkConfig(classes=5, backbone="resnet18", head="fcn")), 64, 96)
    inputs = {node.name: node.inputs for node in graph}
    assert inputs["backbone.layer1.0.bn2"] == ("backbone.layer1.0.conv2", "backbone.maxpool")
    assert inputs["backbone.layer2.0.bn2"] == ("backbone.layer2.0.conv2", "backbone.layer2.0.downsample.1")


def test_each_scale_has_its_shapes():
    config = NetworkConfig(classes=5, head="dual", scales=(1.0, 0.5), scale_classifier="attached")
    shapes = {node.name: node.shapes for node in network_graph(build_network(config), 64, 96)}
    assert shapes["backbone.conv5"] == {"scale 1": (8, 12, 128), "scale 0.5": (4, 6, 128)}
    assert shapes["DualAttentionHead +"] == {"scale 1": (8, 12, 32), "scale 0.5": (4, 6, 32)}
    assert shapes["main.on_grid"] == {"scale 1": (8, 12, 5), "scale 0.5": (8, 12, 5)}
    assert shapes["AttentionToScale stack"] == {"": (2, 8, 12, 5)}
    assert shapes["scale_classifier"] == {"": (3, 3)}


def test_scales_whose_names_begin_alike_are_told_apart():
    network = build_network(NetworkConfig(classes=5, head="fcn", scales=(1.0, 1.5, 0.5, 0.55)))
    graph = network_graph(network, 64, 96)
    by_name = {node.name: node for node in graph}
    assert set(by_name["main.on_grid"].shapes) == {"scale 1", "scale 1.5", "scale 0.5", "scale 0.55"}
    assert [name for name in by_name if "scale 1" in name or ".5" in name] == []
    total = sum(each.multiply_adds for each in layer_costs(network, 64, 96))
    assert sum(node.multiply_adds for node in graph) == total
