"""The cost of each layer, in the order in which the network computes them."""

from __future__ import annotations

import re
from collections import UserDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from reference.layers import Context, is_trained
from reference.networks import Network
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

#: A convolution of a backbone's stem or of VGG, with the norm or the pool that belongs to it.
STAGE = re.compile(r"(?:conv|bn|pool)(\d+)(?:_\d+)?")


class LayerCost(NamedTuple):
    """What one layer, or a group of them, costs for one image."""

    name: str  # with several scales, "scale 0.5/" and so on before it
    shape: tuple[int, ...]  # of its output; of a group, the last one's
    parameters: int  # trained values; where scales share them, with the first
    statistics: int  # running means and variances
    multiply_adds: int
    output_bytes: int  # of all outputs of a group
    training_only: bool  # whether it is computed in training only


def layer_costs(network: Network, height: int, width: int) -> list[LayerCost]:
    """The cost of each layer on an image ``(height, width)``, named as an observer of the context sees it.

    >>> from reference.networks import NetworkConfig, build_network
    >>> first, *_ = layer_costs(build_network(NetworkConfig(classes=5, head="fcn")), 64, 96)
    >>> first.name, first.shape, first.parameters, first.multiply_adds
    ('backbone.conv1', (1, 32, 48, 16), 432, 663552)
    """
    meter = CostMeter()
    ops = CountingOps(meter)
    shapes = {name: ShapeArray(shape, np.float32, meter) for name, shape in network.shapes().items()}
    params = _Parameters(shapes)
    images = ShapeArray((1, height, width, 3), np.float32, meter)

    predicting: set[str] = set()
    network.predict(images, Context(ops, params, observe=lambda name, _: predicting.add(name)))

    costs: list[LayerCost] = []
    known: set[str] = set()

    def observe(name: str, y: ShapeArray) -> None:
        sizes = {each: shapes[each].size for each in params.read - known}  # that scales share: with the first scale
        known.update(sizes)
        trained = sum(size for each, size in sizes.items() if is_trained(each))
        training_only = name not in predicting
        statistics = sum(sizes.values()) - trained
        costs.append(LayerCost(name, y.shape, trained, statistics, meter.forward, y.nbytes, training_only))
        params.read, meter.forward = set(), 0

    params.read, meter.forward = set(), 0
    network.forward(images, Context(ops, params, observe=observe))
    return costs


def grouped(layers: Iterable[LayerCost]) -> list[LayerCost]:
    """The layers of each module as one: ``backbone.layer1``, ``head.position``, ``head.classifier`` and so on.

    >>> from reference.networks import NetworkConfig, build_network
    >>> network = build_network(NetworkConfig(classes=5, head="fcn", backbone="resnet18"))
    >>> [group.name.removeprefix("backbone.") for group in grouped(layer_costs(network, 64, 96))]
    ['conv1', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4', 'head.reduce', 'head.classifier']
    """
    groups: dict[str, LayerCost] = {}
    for layer in layers:
        name = module_of(layer.name)
        before = groups.get(name, LayerCost(name, (), 0, 0, 0, 0, True))
        groups[name] = LayerCost(
            name,
            layer.shape,
            before.parameters + layer.parameters,
            before.statistics + layer.statistics,
            before.multiply_adds + layer.multiply_adds,
            before.output_bytes + layer.output_bytes,
            before.training_only and layer.training_only,
        )
    return list(groups.values())


def module_of(name: str) -> str:
    """The module that the layer ``name`` belongs to: the first two parts of its name; classifiers stand alone.

    >>> [module_of(name) for name in ("scale 0.5/backbone.layer1.0.conv2", "backbone.bn1", "backbone.conv3_2.relu")]
    ['scale 0.5/backbone.layer1', 'backbone.conv1', 'backbone.conv3']
    >>> [module_of(name) for name in ("head.position.classifier", "main scale 0.5.on_grid")]
    ['head.position.classifier', 'on_grid']
    """
    scope, slash, layer = name.rpartition("/")
    if layer.endswith(".on_grid"):
        return "on_grid"
    parts = layer.split(".")
    if parts[-1] == "classifier":
        return name
    stage = STAGE.fullmatch(parts[1]) if parts[0] == "backbone" else None
    return scope + slash + (f"backbone.conv{stage[1]}" if stage else ".".join(parts[:2]))


class _Parameters(UserDict[str, ShapeArray]):
    """Parameters that record which of them have been read since ``read`` was cleared."""

    def __init__(self, arrays: Mapping[str, ShapeArray]) -> None:
        super().__init__(arrays)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> ShapeArray:
        array = super().__getitem__(name)
        self.read.add(name)
        return array
