"""Stochastic gradient descent with momentum and weight decay, over dicts of arrays of any backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.contract import Ops
from segattn_cli.config import OptimiserSection

Array = Any


def sgd_step(
    ops: Ops, params: Mapping[str, Array], momentum: Mapping[str, Array], gradients: Mapping[str, Array],
    rate: float, config: OptimiserSection, *, scale: Array | float = 1.0, apply: Array | bool = True,
) -> None:
    """One step, in place, for every parameter that has a gradient; as ``torch.optim.SGD``::

        g ← scale·gradient + weight_decay·w
        v ← momentum·v + g
        w ← w − rate·multiplier·v

    The multiplier is :func:`rate_multiplier`. Unless the configuration lets them decay, too, what has one value a
    channel (biases, batch norms) or one in all (gates) does not. ``momentum`` starts as zeros: the first step is
    then PyTorch's ``v ← g``. Where ``apply`` is false, nothing changes.

    >>> import numpy as np
    >>> from backends import reference
    >>> params, momentum = {"gate": np.array(1.0)}, {"gate": np.array(0.0)}
    >>> config = OptimiserSection(momentum=0.5, weight_decay=0.0)
    >>> for _ in range(2):
    ...     sgd_step(reference, params, momentum, {"gate": np.array(2.0)}, 0.1, config)
    >>> float(momentum["gate"]), float(params["gate"])
    (3.0, 0.5)
    """
    decays = [
        config.weight_decay if config.decay_biases_and_norms or params[name].ndim > 1 else 0.0 for name in gradients
    ]
    ops.sgd_update(
        [params[name] for name in gradients], [momentum[name] for name in gradients], list(gradients.values()),
        rates=[rate * rate_multiplier(name, config) for name in gradients], decays=decays, momentum=config.momentum,
        scale=scale, apply=apply,
    )


def rate_multiplier(name: str, config: OptimiserSection) -> float:
    """The learning rate of a parameter as a multiple of the schedule's.

    >>> config = OptimiserSection(head_multiplier=2.0, classifier_multiplier=10.0, bias_multiplier=2.0)
    >>> [rate_multiplier(name, config) for name in ("backbone.conv1.weight", "head.fc6.weight", "head.fc8.bias")]
    [1.0, 2.0, 40.0]
    """
    multiplier = 1.0
    if not name.startswith("backbone."):
        multiplier *= config.head_multiplier
    if ".classifier." in name or name.startswith("head.fc8."):
        multiplier *= config.classifier_multiplier
    if name.endswith(".bias"):
        multiplier *= config.bias_multiplier
    return multiplier
