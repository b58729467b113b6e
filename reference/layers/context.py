"""The context of one pass through a network.

Layers hold no state. What a pass needs and what it leaves is in its :class:`Context`: the ops to compute with, the
parameters, and the caches. The forward pass saves each cache by name, ``ctx.save(name, op(…))``, and the
backward pass takes it back by the same name, ``op_backward(dy, ctx.saved(name))``: each line of a backward names
the forward line that it differentiates, and the last to be saved must be the first to be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Array = Any
#: ``draw_mask(name, shape, rate)`` is the mask of a dropout, whose values are True with probability ``1 − rate``.
DrawMask = Callable[[str, tuple[int, ...], float], Array]
#: ``share(arrays)`` is the list of such arrays of every rank, in the order of the ranks.
Share = Callable[[list[Array]], list[list[Array]]]
#: ``finish(name, gradient)`` is called with a gradient when backward adds nothing more to it.
Finish = Callable[[str, Array], None]
#: ``observe(name, array)`` is called with every named tensor, in the order in which they are computed.
Observe = Callable[[str, Array], None]


@dataclass(frozen=True)
class BatchStatistics:
    """Mean and biased variance of one batch, per channel, and the number of values that they are taken over."""

    mean: Array  # (C,)
    variance: Array  # (C,)
    count: int

    def pooled(self, other: BatchStatistics) -> BatchStatistics:
        """The statistics of both samples together.

        >>> a, b = BatchStatistics(0.0, 1.0, 2), BatchStatistics(2.0, 1.0, 2)
        >>> a.pooled(b)
        BatchStatistics(mean=1.0, variance=2.0, count=4)
        """
        count = self.count + other.count
        a, b = self.count / count, other.count / count
        difference = self.mean - other.mean
        return BatchStatistics(
            a * self.mean + b * other.mean,
            a * self.variance + b * other.variance + a * b * difference * difference,
            count,
        )


def scoped_name(scope: str, name: str) -> str:
    """The name of a tensor inside ``scope``; an empty one adds nothing.

    >>> scoped_name("scale 0.5", "head.classifier"), scoped_name("", "head.classifier")
    ('scale 0.5/head.classifier', 'head.classifier')
    """
    return "/".join(filter(None, (scope, name)))


@dataclass
class Context:
    """One pass through a network: forward, then, with ``save_for_backward``, backward once.

    ========================  ===============================================================================
    what for                  how
    ========================  ===============================================================================
    inference                 ``Context(ops, params)``
    training                  ``Context(ops, params, save_for_backward=True, batch_statistics=True, draw_mask=…)``
    training, norms frozen    ``Context(ops, params, save_for_backward=True, draw_mask=…)``
    training on ranks         the second, with ``share=…``: norms by the statistics of all ranks
    ========================  ===============================================================================

    Without ``draw_mask``, dropout does nothing. With ``overwrite``, at inference that nobody observes, ops may
    overwrite tensors that no layer reads again, and a network needs less memory.

    After a forward pass with ``batch_statistics``, ``statistics`` holds the mean and variance that each batch norm
    measured, by the norm's name; the trainer updates the running statistics with them. After a backward pass,
    ``gradients`` holds one array for each parameter that the result depends on, and ``additions`` how often
    something was added to each, in the order of the last addition. With the ``additions`` of an earlier pass as
    ``expected``, ``finish`` is called with each gradient when it is whole.
    """

    ops: Any
    params: Mapping[str, Array]
    save_for_backward: bool = False
    batch_statistics: bool = False
    draw_mask: DrawMask | None = None
    observe: Observe | None = None
    share: Share | None = None
    finish: Finish | None = None
    expected: Mapping[str, int] = field(default_factory=dict)
    overwrite: bool = False
    scope: str = ""
    statistics: dict[str, BatchStatistics] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    additions: dict[str, int] = field(default_factory=dict)
    _saved: list[tuple[str, Any]] = field(default_factory=list, repr=False)

    def save(self, name: str, result: tuple[Array, Any]) -> Array:
        """Save the cache of ``y, cache = op(…)`` as ``name`` and return ``y``, which is observed by that name.

        Without ``save_for_backward``, the cache is dropped at once.
        """
        y, cache = result
        if self.save_for_backward:
            self._saved.append((scoped_name(self.scope, name), cache))
        if self.observe is not None:
            self.observe(scoped_name(self.scope, name), y)
        return y

    def saved(self, name: str) -> Any:
        """Take back the cache ``name``, which must be the one that was saved last.

        >>> ctx = Context(ops=None, params={}, save_for_backward=True)
        >>> x = ctx.save("conv2", (ctx.save("conv1", (0.0, "cache 1")), "cache 2"))
        >>> ctx.saved("conv1")
        Traceback (most recent call last):
        RuntimeError: backward came to the cache of conv1 where that of conv2 was saved last
        >>> ctx.saved("conv2"), ctx.saved("conv1")
        ('cache 2', 'cache 1')

        Raises:
            RuntimeError: if another cache was saved last, or none is left.
        """
        wanted = scoped_name(self.scope, name)
        if not self._saved:
            reason = "none is left" if self.save_for_backward else "the forward pass ran without save_for_backward"
            raise RuntimeError(f"backward came to the cache of {wanted}, but {reason}")
        last, cache = self._saved[-1]
        if wanted != last:
            raise RuntimeError(f"backward came to the cache of {wanted} where that of {last} was saved last")
        self._saved.pop()
        return cache

    def require_nothing_saved(self) -> None:
        """Raise ``RuntimeError`` if a cache was saved and not taken back: the backward pass left a line out."""
        if self._saved:
            last, _ = self._saved[-1]
            raise RuntimeError(f"backward ended where the cache of {last} was saved last")

    @contextmanager
    def scoped(self, name: str) -> Iterator[None]:
        """Put ``name/`` before all names inside, where several scales run through the same layers.

        >>> ctx = Context(ops=None, params={}, observe=lambda name, array: print(name))
        >>> with ctx.scoped("scale 0.5"):
        ...     y = ctx.save("backbone.conv1", (0.0, None))
        scale 0.5/backbone.conv1
        """
        outer, self.scope = self.scope, scoped_name(self.scope, name)
        try:
            yield
        finally:
            self.scope = outer

    def measure(self, norm: str, mean: Array, variance: Array, count: int) -> None:
        """Record the batch statistics of the norm ``norm``; those of several scales are pooled."""
        measured = BatchStatistics(mean, variance, count)
        before = self.statistics.get(norm)
        self.statistics[norm] = measured if before is None else before.pooled(measured)

    def accumulate(self, name: str, gradient: Array | None) -> None:
        """Add ``gradient`` to that of the parameter ``name``; it is observed as ``d name``.

        The gradient of a parameter that is used several times, as by several scales, is the sum.
        """
        if gradient is None:
            return
        if self.observe is not None:
            self.observe(f"d {scoped_name(self.scope, name)}", gradient)
        before = self.gradients.get(name)
        self.gradients[name] = gradient if before is None else before + gradient
        self.additions[name] = self.additions.pop(name, 0) + 1  # at the end
        if self.finish is not None and self.additions[name] == self.expected.get(name):
            self.finish(name, self.gradients[name])
