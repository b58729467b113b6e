"""The learning rate of each parameter, as a multiple of the schedule's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from segattn_cli.config import OptimiserSection


def rate_multipliers(names: Iterable[str], config: OptimiserSection) -> dict[str, float]:
    """The factor of each parameter of a network: a product of those that the configuration has for it.

    In the backbone it is ``layer_decay^d``, where d is 1 in the last stage and grows by 1 from stage to stage
    towards the image (Clark et al., ELECTRA, ICLR 2020; Bao et al., BEiT, ICLR 2022): what a pretrained backbone
    learnt first changes least.

    >>> config = OptimiserSection(classifier_multiplier=10.0, bias_multiplier=2.0, layer_decay=0.5)
    >>> names = ("backbone.conv1_2.weight", "backbone.conv2_1.bias", "head.fc6.weight", "head.fc8.bias")
    >>> list(rate_multipliers(names, config).values())
    [0.25, 1.0, 1.0, 20.0]
    """
    names = list(names)
    stages = sorted({_stage(name) for name in names if _is_of_backbone(name)})
    return {
        name: _by_part(name, config)
        * (config.layer_decay ** (len(stages) - stages.index(_stage(name))) if _is_of_backbone(name) else 1.0)
        for name in names
    }


def _by_part(name: str, config: OptimiserSection) -> float:
    multiplier = 1.0
    if not _is_of_backbone(name):
        multiplier *= config.head_multiplier
    if ".classifier." in name or name.startswith("head.fc8."):
        multiplier *= config.classifier_multiplier
    if name.endswith(".bias"):
        multiplier *= config.bias_multiplier
    return multiplier


def _is_of_backbone(name: str) -> bool:
    return name.startswith("backbone.")


def _stage(name: str) -> tuple[bool, int]:
    """What orders the stages of a backbone from the image on: a ResNet's stem comes before its layers.

    >>> sorted(map(_stage, ("backbone.layer1.0.conv1.weight", "backbone.bn1.bias", "backbone.conv3_1.weight")))
    [(False, 1), (False, 3), (True, 1)]
    """
    found = re.match(r"backbone\.(layer|conv|bn)(\d)", name)
    assert found is not None, name
    return found[1] == "layer", int(found[2])
