"""The optimisers: how one step moves the parameters, over dicts of arrays of any backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from backends.contract import Ops
from reference.networks import is_trained
from segattn_cli.config import OptimiserSection
from segattn_cli.runs import ADAMW, MOMENTUM
from segattn_cli.training.rates import rate_multipliers

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

        The learning rate of a parameter is ``rate`` times its multiplier. Unless the configuration lets them decay,
        too, what has one value a channel (biases, batch norms) or one in all (gates) does not decay.
        The gradients are multiplied by ``scale``. Where ``apply`` is false, nothing changes.
        """


def optimiser_of(config: OptimiserSection, names: Iterable[str]) -> Optimiser:
    """The optimiser that the configuration names, for the parameters with these ``names``."""
    kinds: dict[str, type[Sgd] | type[AdamW]] = {"sgd": Sgd, "adamw": AdamW}
    return kinds[config.kind](config, rate_multipliers(names, config))


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum and weight decay, as ``torch.optim.SGD``::

        g ← scale·gradient + weight_decay·w
        v ← momentum·v + g
        w ← w − rate·v

    The momentum v starts as zeros: the first step is then PyTorch's ``v ← g``.

    >>> from backends import reference
    >>> params = {"gate": np.array(1.0)}
    >>> sgd = optimiser_of(OptimiserSection(momentum=0.5, weight_decay=0.0), params)
    >>> state = sgd.initial_state(params)
    >>> for _ in range(2):
    ...     sgd.step(reference, params, state, {"gate": np.array(2.0)}, 0.1)
    >>> float(state["momentum.gate"]), float(params["gate"])
    (3.0, 0.5)
    """

    config: OptimiserSection
    multipliers: Mapping[str, float]  # of the learning rate, by parameter

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
            list(gradients.values()), rates=[rate * self.multipliers[name] for name in gradients],
            decays=_decays(gradients, params, self.config), momentum=self.config.momentum, scale=scale, apply=apply,
        )  # fmt: skip


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay: see :func:`reference.updates.adamw_update`.

    >>> from backends import reference
    >>> params = {"gate": np.array(1.0)}
    >>> adamw = optimiser_of(OptimiserSection(kind="adamw", weight_decay=0.0), params)
    >>> state = adamw.initial_state(params)
    >>> for _ in range(2):  # of which each moves by the rate, however long the gradient is
    ...     adamw.step(reference, params, state, {"gate": np.array(2.0)}, 0.1)
    >>> float(state["adamw.steps"]), round(float(params["gate"]), 6)
    (2.0, 0.8)
    """

    config: OptimiserSection
    multipliers: Mapping[str, float]  # of the learning rate, by parameter

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
            list(gradients.values()), rates=[rate * self.multipliers[name] for name in gradients],
            decays=_decays(gradients, params, self.config), betas=self.config.betas, epsilon=self.config.epsilon,
            scale=scale, apply=apply,
        )  # fmt: skip


def _zeros(params: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {prefix + name: np.zeros_like(value) for name, value in params.items() if is_trained(name)}


def _decays(names: Mapping[str, Array], params: Mapping[str, Array], config: OptimiserSection) -> list[float]:
    return [
        config.weight_decay if config.decay_biases_and_norms or params[name].ndim > 1 else 0.0 for name in names
    ]
