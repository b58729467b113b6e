"""The gradients of one step: of one batch, or of several that count as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Ops
from reference.layers.context import BatchStatistics, Context, DrawMask, Observe
from reference.networks import Objective
from segattn_cli.data import Batch, stream

Array = Any


class Gradients(NamedTuple):
    """What the batches of one step gave."""

    loss: float
    parts: dict[str, float]
    gradients: dict[str, Array]
    norm: float  # of all gradients together
    statistics: list[dict[str, BatchStatistics]]  # what the batch norms measured, batch by batch
    scale_weights: tuple[float, ...] | None  # mean over all pixels


@dataclass(frozen=True)
class Differentiator:
    """Takes the gradients of ``objective`` with the ops of a backend.

    ``seed`` is of the dropout masks: they depend on it, the step, the batch and the layer's name alone, and NumPy
    draws them, so they are the same on every backend and wherever a run was taken up. Without
    ``batch_statistics`` the batch norms are frozen.
    """

    objective: Objective
    ops: Ops
    seed: int
    batch_statistics: bool

    def gradients(
        self, params: Mapping[str, Array], batches: Sequence[Batch], step: int, observe: Observe | None = None
    ) -> Gradients:
        """The gradients of the mean loss over the counted pixels of all ``batches``, as if they were one.

        A cross-entropy is a mean over the pixels that count, so each batch has the share of them that are in it.
        Two things see one batch at a time still: batch norms, and the scale classifier, whose mean is over images.
        """
        loss = 0.0
        parts: dict[str, float] = {}
        gradients: dict[str, Array] = {}
        statistics = []
        scale_weights: list[np.ndarray] = []
        for number, (batch, share) in enumerate(zip(batches, self._shares(batches), strict=True)):
            ctx = Context(
                self.ops, params, keep_caches=True, batch_statistics=self.batch_statistics,
                draw_mask=self._draw_mask(step, number), observe=observe,
            )
            result = self.objective.forward(self.ops.asarray(batch.images), self.ops.asarray(batch.labels), ctx)
            _add(gradients, self.objective.backward(ctx, share))
            loss += share * self._float(result.total)
            _add(parts, {name: share * self._float(part) for name, part in result.parts.items()})
            statistics.append(ctx.statistics)
            if result.outputs.scale_weights is not None:
                scale_weights.append(self.ops.to_numpy(result.outputs.scale_weights).mean((0, 1, 2)))  # (S,)
        return Gradients(
            loss, parts, gradients, self._norm(gradients), statistics,
            tuple(np.mean(scale_weights, 0).tolist()) if scale_weights else None,
        )

    def _shares(self, batches: Sequence[Batch]) -> list[float]:
        if len(batches) == 1:
            return [1.0]
        counted = [self._counted(batch.labels) for batch in batches]
        total = sum(counted)
        return [each / total if total else 0.0 for each in counted]

    def _counted(self, labels: np.ndarray) -> float:
        """How many pixels count, each by the weight of its class."""
        classes = self.objective.network.config.classes
        weights = self.objective.class_weights or [1.0] * classes
        pixels = np.bincount(labels[labels != self.objective.ignore_label], minlength=classes)
        return float(pixels @ np.asarray(weights))

    def _draw_mask(self, step: int, number: int) -> DrawMask:
        def draw(name: str, shape: tuple[int, ...], rate: float) -> Array:
            rng = stream(f"dropout {name}", self.seed, step, number)
            return self.ops.asarray(rng.random(shape, np.float32) >= rate)

        return draw

    def _norm(self, gradients: Mapping[str, Array]) -> float:
        squares = [(gradient * gradient).sum(dtype=np.float64) for gradient in gradients.values()]
        return math.sqrt(self._float(sum(squares)))

    def _float(self, scalar: Array) -> float:
        return float(self.ops.to_numpy(scalar))


def _add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value
