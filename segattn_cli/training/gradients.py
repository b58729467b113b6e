"""The gradients of one step: of one batch, or of several that count as one, on one or several ranks."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Ops
from backends.precision import cast_weights
from reference.layers.context import BatchStatistics, Context, DrawMask, Finish, Observe
from reference.networks import Objective
from segattn_cli.data import Batch, stream
from segattn_cli.ranks.communicator import ALONE, Communicator, on_all
from segattn_cli.ranks.sums import BucketSum, TreeSum, collect_arrays

Array = Any


class Gradients(NamedTuple):
    """Results of one step, still on the device; the same on all ranks."""

    loss: Array  # ()
    parts: dict[str, Array]  # each ()
    gradients: dict[str, Array]  # multiplied by the scale of the loss
    norm: Array  # () float64, of all of them together
    statistics: list[dict[str, BatchStatistics]]  # of the batch norms, batch by batch
    scale_weights: Array | None  # (S,), mean over all pixels
    seconds: list[float]  # that each rank took for its batches, without the waiting for others


class _Pass(NamedTuple):
    """Results of one batch, weighted as in the step."""

    loss: Array  # ()
    parts: dict[str, Array]  # each ()
    statistics: dict[str, BatchStatistics]
    scale_weights: Array | None  # (S,)


class _Expected(NamedTuple):
    """What the first pass shows of a gradient in all passes."""

    additions: int
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class Differentiator:
    """Takes the gradients of ``objective`` with the ops of a backend.

    ``seed`` is of the dropout masks: they depend on it, the step, the batch and the layer's name alone, and NumPy
    draws them, so they are the same on every backend and wherever a run was taken up. Without
    ``batch_statistics`` the batch norms are frozen; where they are ``synchronised``, they use the statistics of the
    batches that all ranks compute at the same time. Maps and weights have ``dtype``, where one is given.
    """

    objective: Objective
    ops: Ops
    seed: int
    batch_statistics: bool
    dtype: np.dtype | None = None
    synchronised: bool = False
    #: Of each gradient, in the order in which they are whole.
    _expected: dict[str, _Expected] = field(default_factory=dict, init=False, repr=False, compare=False)

    def gradients(
        self, params: Mapping[str, Array], batches: Sequence[Batch], step: int, *, scale: Array | float = 1.0,
        comm: Communicator = ALONE,
    ) -> Gradients:
        """The gradients of the mean loss over the labelled pixels of all batches of a step, as if they were one.

        ``batches`` are those of this rank; every rank has as many. The gradients are multiplied by ``scale``, and
        those of the batches are added in the order of a :class:`~segattn_cli.ranks.sums.TreeSum`.

        A cross-entropy is a mean over the labelled pixels, so each batch is weighted by its fraction of them.
        Some see one batch at a time: batch norms; the scale classifier, whose mean is over images; and hard pixels,
        Dice and Lovász-softmax, whose loss of a batch is weighted by its labelled pixels, too.

        From the second step on, the gradients are sent to the other ranks while the last batch is computed, each as
        soon as it is whole. A rank that fails then sends zeros, for which the others may wait, before all end.
        """
        fractions = self.fractions(batches, comm)
        trees: defaultdict[str, TreeSum[Array]] = defaultdict(TreeSum)
        sums = BucketSum(comm)
        passes: list[_Pass] = []
        names: list[str] = []
        is_early = bool(self._expected) and comm.size > 1

        def finish(name: str, gradient: Array) -> None:
            trees[name].add(gradient)
            sums.add(name, trees.pop(name).value())

        def differentiate() -> float:
            began = time.perf_counter()
            early = finish if is_early else None
            for gradients, one in self._passes(params, batches, step, fractions, scale, comm, finish=early):
                names[:] = gradients
                for name in names:
                    if name not in sums:
                        trees[name].add(gradients.pop(name))
                passes.append(one)
            return time.perf_counter() - began

        try:
            seconds = on_all(comm, differentiate, "the gradients of its batches")
        except Exception:
            if is_early:
                sums.add_rest({name: (each.shape, each.dtype) for name, each in self._expected.items()})
            raise
        for name, tree in trees.items():
            sums.add(name, tree.value())
        summed = sums.sums()
        gradients = {name: summed[name] for name in names}
        own_statistics = [one.statistics for one in passes]
        passes = _of_all_ranks(comm, passes)
        loss: Any = 0.0
        parts: dict[str, Array] = {}
        for one in passes:
            loss = loss + one.loss
            parts = {name: parts[name] + part for name, part in one.parts.items()} if parts else one.parts
        scale_weights = [one.scale_weights for one in passes if one.scale_weights is not None]
        return Gradients(
            loss, parts, gradients, self.ops.sum_of_squares(list(gradients.values())) ** 0.5,
            own_statistics if self.synchronised else [one.statistics for one in passes],
            sum(scale_weights) / len(scale_weights) if scale_weights else None,
            seconds,
        )

    def fractions(self, batches: Sequence[Batch], comm: Communicator = ALONE) -> list[float]:
        """What each of this rank's ``batches`` counts in the step: its fraction of the labelled pixels of all."""
        if len(batches) == comm.size == 1:
            return [1.0]
        labelled = on_all(
            comm, lambda: [self._labelled(batch.labels) for batch in batches], "the number of its labelled pixels"
        )
        total = sum(each for rank in labelled for each in rank)
        return [each / total if total else 0.0 for each in labelled[comm.rank]]

    def observe(
        self, params: Mapping[str, Array], batches: Sequence[Batch], step: int, fractions: Sequence[float],
        observe: Observe, comm: Communicator = ALONE,
    ) -> None:
        """Compute the passes of :meth:`gradients` again, and show ``observe`` every named tensor."""
        for _ in self._passes(params, batches, step, fractions, 1.0, comm, observe=observe):
            pass

    def _passes(
        self, params: Mapping[str, Array], batches: Sequence[Batch], step: int, fractions: Sequence[float],
        scale: Array | float, comm: Communicator, observe: Observe | None = None, finish: Finish | None = None,
    ) -> Iterator[tuple[dict[str, Array], _Pass]]:
        """The gradients of each batch of this rank, and its other results.

        ``finish`` is called with those of the last batch while it is computed.
        """
        weights = params if self.dtype is None else cast_weights(params, self.dtype)
        share = partial(_shared, comm) if self.synchronised and comm.size > 1 else None
        first = comm.rank * len(batches)
        for number, (batch, fraction) in enumerate(zip(batches, fractions, strict=True), first):
            ctx = Context(
                self.ops, weights, save_for_backward=True, batch_statistics=self.batch_statistics,
                draw_mask=self._draw_mask(step, number), observe=observe, share=share,
                finish=finish if number == first + len(batches) - 1 else None,
                expected={name: each.additions for name, each in self._expected.items()},
            )
            images = self.ops.asarray(batch.images)
            if self.dtype is not None:
                images = images.astype(self.dtype, copy=False)
            result = self.objective.forward(images, self.ops.asarray(batch.labels), ctx)
            gradients = self.objective.backward(ctx, fraction * scale)
            self._expect(ctx)
            scale_weights = result.outputs.scale_weights
            if scale_weights is not None:
                scale_weights = scale_weights.astype(np.float32, copy=False).mean((0, 1, 2))  # (S,)
            parts = {name: fraction * part for name, part in result.parts.items()}
            yield gradients, _Pass(fraction * result.total, parts, ctx.statistics, scale_weights)

    def _expect(self, ctx: Context) -> None:
        """Learn from the first pass what the others add to the gradients, and raise where one is different."""
        if not self._expected:
            for name, additions in ctx.additions.items():
                self._expected[name] = _Expected(additions, ctx.gradients[name].shape, ctx.gradients[name].dtype)
        if ctx.additions != {name: each.additions for name, each in self._expected.items()}:
            raise RuntimeError("a backward pass added to other gradients than the first one, or more often")

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


def _shared(comm: Communicator, arrays: list[Array]) -> list[list[Array]]:
    return on_all(comm, lambda: arrays, "the statistics of a batch norm")


def _of_all_ranks(comm: Communicator, own: Sequence[_Pass]) -> list[_Pass]:
    """The results of all batches of the step, in their order. All batches have one size."""
    if comm.size == 1:
        return list(own)
    arrays = [array for one in own for array in _arrays(one)]
    everyone = (iter(rank) for rank in collect_arrays(comm, arrays))
    return [_with_arrays(one, values) for values in everyone for one in own]


def _arrays(one: _Pass) -> list[Array]:
    statistics = [array for norm in one.statistics.values() for array in (norm.mean, norm.variance)]
    scale_weights = [] if one.scale_weights is None else [one.scale_weights]
    return [one.loss, *one.parts.values(), *statistics, *scale_weights]


def _with_arrays(like: _Pass, arrays: Iterator[Array]) -> _Pass:
    """A result with the next of ``arrays``, which were those of :func:`_arrays` on another rank."""
    return _Pass(
        next(arrays),
        {name: next(arrays) for name in like.parts},
        {
            name: BatchStatistics(next(arrays), next(arrays), norm.count)
            for name, norm in like.statistics.items()
        },
        None if like.scale_weights is None else next(arrays),
    )
