"""The gradients of one step: of one batch, or of several that count as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Ops
from backends.precision import cast_weights
from reference.layers.context import BatchStatistics, Context, DrawMask, Observe
from reference.networks import Objective
from segattn_cli.data import Batch, stream

Array = Any


class Gradients(NamedTuple):
    """Results of one step, still on the device."""

    loss: Array  # ()
    parts: dict[str, Array]  # each ()
    gradients: dict[str, Array]  # multiplied by the scale of the loss
    norm: Array  # () float64, of all of them together
    statistics: list[dict[str, BatchStatistics]]  # of the batch norms, batch by batch
    scale_weights: Array | None  # (S,), mean over all pixels


@dataclass(frozen=True)
class Differentiator:
    """Takes the gradients of ``objective`` with the ops of a backend.

    ``seed`` is of the dropout masks: they depend on it, the step, the batch and the layer's name alone, and NumPy
    draws them, so they are the same on every backend and wherever a run was taken up. Without
    ``batch_statistics`` the batch norms are frozen. Maps and weights have ``dtype``, where one is given.
    """

    objective: Objective
    ops: Ops
    seed: int
    batch_statistics: bool
    dtype: np.dtype | None = None

    def gradients(
        self, params: Mapping[str, Array], batches: Sequence[Batch], step: int, observe: Observe | None = None,
        *, scale: Array | float = 1.0,
    ) -> Gradients:
        """The gradients of the mean loss over the labelled pixels of all ``batches``, as if they were one.

        They are multiplied by ``scale``.

        A cross-entropy is a mean over the labelled pixels, so each batch is weighted by its fraction of them.
        Some see one batch at a time: batch norms; the scale classifier, whose mean is over images; and hard pixels,
        Dice and Lovász-softmax, whose loss of a batch is weighted by its labelled pixels, too.
        """
        weights = params if self.dtype is None else cast_weights(params, self.dtype)
        loss: Any = 0.0
        parts: dict[str, Array] = {}
        gradients: dict[str, Array] = {}
        statistics = []
        scale_weights: list[Array] = []
        for number, (batch, fraction) in enumerate(zip(batches, self._fractions(batches), strict=True)):
            ctx = Context(
                self.ops, weights, save_for_backward=True, batch_statistics=self.batch_statistics,
                draw_mask=self._draw_mask(step, number), observe=observe,
            )
            images = self.ops.asarray(batch.images)
            if self.dtype is not None:
                images = images.astype(self.dtype, copy=False)
            result = self.objective.forward(images, self.ops.asarray(batch.labels), ctx)
            _add(gradients, self.objective.backward(ctx, fraction * scale))
            loss = loss + fraction * result.total
            _add(parts, {name: fraction * part for name, part in result.parts.items()})
            statistics.append(ctx.statistics)
            if result.outputs.scale_weights is not None:
                mean = result.outputs.scale_weights.astype(np.float32, copy=False).mean((0, 1, 2))  # (S,)
                scale_weights.append(mean)
        return Gradients(
            loss, parts, gradients, self.ops.sum_of_squares(list(gradients.values())) ** 0.5, statistics,
            sum(scale_weights) / len(scale_weights) if scale_weights else None,
        )

    def _fractions(self, batches: Sequence[Batch]) -> list[float]:
        if len(batches) == 1:
            return [1.0]
        labelled = [self._labelled(batch.labels) for batch in batches]
        total = sum(labelled)
        return [each / total if total else 0.0 for each in labelled]

    def _labelled(self, labels: np.ndarray) -> float:
        """The number of labelled pixels, each multiplied by the weight of its class."""
        classes = self.objective.network.config.classes
        weights = self.objective.class_weights or [1.0] * classes
        pixels = np.bincount(labels[labels != self.objective.ignore_label], minlength=classes)
        return float(pixels @ np.asarray(weights))

    def _draw_mask(self, step: int, number: int) -> DrawMask:
        def draw(name: str, shape: tuple[int, ...], rate: float) -> Array:
            rng = stream(f"dropout {name}", self.seed, step, number)
            return self.ops.asarray(rng.random(shape, np.float32) >= rate)

        return draw


def _add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value
