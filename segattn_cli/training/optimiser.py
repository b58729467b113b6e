"""The optimisers: how one step moves the parameters, over dicts of arrays of any backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from backends.contract import Ops
from reference.networks import is_trained
from segattn_cli.config import OptimiserSection
from segattn_cli.runs import ADAMW, MOMENTUM

Array = Any


class Optimiser(Protocol):
    """What moves the parameters, and the arrays that it needs from one step to the next."""

    def initial_state(self, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The state before the first step, under the names that it has in a checkpoint."""

    def step(
        self, ops: Ops, params: Mapping[str, Array], state: Mapping[str, Array], gradients: Mapping[str, Array],
        rate: float, *, scale: Array | float = 1.0, apply: Array | bool = True,
    ) -> None:
        """Change, in place, every parameter that has a gradient, and its state.

        The learning rate of a parameter is ``rate`` times :func:`rate_multiplier`. Unless the configuration lets
        them decay, too, what has one value a channel (biases, batch norms) or one in all (gates) does not decay.
        The gradients are multiplied by ``scale``. Where ``apply`` is false, nothing changes.
        """


def optimiser_of(config: OptimiserSection) -> Optimiser:
    """The optimiser that the configuration names."""
    kinds: dict[str, type[Sgd] | type[AdamW]] = {"sgd": Sgd, "adamw": AdamW}
    return kinds[config.kind](config)


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum and weight decay, as ``torch.optim.SGD``::

        g ← scale·gradient + weight_decay·w
        v ← momentum·v + g
        w ← w − rate·v

    The momentum v starts as zeros: the first step is then PyTorch's ``v ← g``.

    >>> from backends import reference
    >>> sgd, params = Sgd(OptimiserSection(momentum=0.5, weight_decay=0.0)), {"gate": np.array(1.0)}
    >>> state = sgd.initial_state(params)
    >>> for _ in range(2):
    ...     sgd.step(reference, params, state, {"gate": np.array(2.0)}, 0.1)
    >>> float(state["momentum.gate"]), float(params["gate"])
    (3.0, 0.5)
    """

    config: OptimiserSection

    def initial_state(self, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A momentum of 0 for each trained parameter."""
        return _zeros(params, MOMENTUM)

    def step(
        self, ops: Ops, params: Mapping[str, Array], state: Mapping[str, Array], gradients: Mapping[str, Array],
        rate: float, *, scale: Array | float = 1.0, apply: Array | bool = True,
    ) -> None:
        """See :class:`Optimiser`."""
        ops.sgd_update(
            [params[name] for name in gradients], [state[MOMENTUM + name] for name in gradients],
            list(gradients.values()), rates=_rates(gradients, rate, self.config),
            decays=_decays(gradients, params, self.config), momentum=self.config.momentum, scale=scale, apply=apply,
        )  # fmt: skip


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay: see :func:`reference.updates.adamw_update`.

    >>> from backends import reference
    >>> adamw, params = AdamW(OptimiserSection(kind="adamw", weight_decay=0.0)), {"gate": np.array(1.0)}
    >>> state = adamw.initial_state(params)
    >>> for _ in range(2):  # of which each moves by the rate, however long the gradient is
    ...     adamw.step(reference, params, state, {"gate": np.array(2.0)}, 0.1)
    >>> float(state["adamw.steps"]), round(float(params["gate"]), 6)
    (2.0, 0.8)
    """

    config: OptimiserSection

    def initial_state(self, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """For each trained parameter two means of 0, of gradients and of their squares; and the applied steps."""
        steps = {f"{ADAMW}steps": np.zeros((), np.float32)}  # exact up to 2²⁴
        return _zeros(params, f"{ADAMW}mean.") | _zeros(params, f"{ADAMW}square.") | steps

    def step(
        self, ops: Ops, params: Mapping[str, Array], state: Mapping[str, Array], gradients: Mapping[str, Array],
        rate: float, *, scale: Array | float = 1.0, apply: Array | bool = True,
    ) -> None:
        """See :class:`Optimiser`."""
        ops.adamw_update(
            [params[name] for name in gradients], [state[f"{ADAMW}mean.{name}"] for name in gradients],
            [state[f"{ADAMW}square.{name}"] for name in gradients], state[f"{ADAMW}steps"],
            list(gradients.values()), rates=_rates(gradients, rate, self.config),
            decays=_decays(gradients, params, self.config), betas=self.config.betas, epsilon=self.config.epsilon,
            scale=scale, apply=apply,
        )  # fmt: skip


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


def _zeros(params: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {prefix + name: np.zeros_like(value) for name, value in params.items() if is_trained(name)}


def _rates(names: Mapping[str, Array], rate: float, config: OptimiserSection) -> list[float]:
    return [rate * rate_multiplier(name, config) for name in names]


def _decays(names: Mapping[str, Array], params: Mapping[str, Array], config: OptimiserSection) -> list[float]:
    return [
        config.weight_decay if config.decay_biases_and_norms or params[name].ndim > 1 else 0.0 for name in names
    ]
