"""What one pass through a network carries beside its input.

Layers hold no state. All that a pass needs or leaves behind is in its :class:`Context`: the ops to compute with,
the parameters, and a stack of caches. The forward pass *pushes* what the backward pass *pops*; a container's
backward therefore visits its parts in the reverse order of its forward, and a reader can check the one against
the other line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Array = Any
#: ``draw_mask(name, shape, rate)`` gives the boolean array of what a dropout keeps.
DrawMask = Callable[[str, tuple[int, ...], float], Array]
#: ``observe(name, array)`` sees every named tensor in the order in which it is computed.
Observe = Callable[[str, Array], None]


@dataclass(frozen=True)
class BatchStatistics:
    """Mean and biased variance of one batch, per channel, and the number of values that they were taken over."""

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
        here, there = self.count / count, other.count / count
        apart = self.mean - other.mean
        return BatchStatistics(
            here * self.mean + there * other.mean,
            here * self.variance + there * other.variance + here * there * apart * apart,
            count,
        )


@dataclass
class Context:
    """One pass through a network: forward, then, when it keeps caches, backward once.

    ============================  =====================================================================
    what for                      how
    ============================  =====================================================================
    inference                     ``Context(ops, params)``
    training                      ``Context(ops, params, keep_caches=True, batch_statistics=True, draw_mask=…)``
    training with frozen norms    ``Context(ops, params, keep_caches=True, draw_mask=…)``
    ============================  =====================================================================

    ``scope`` stands before every observed name; a network that runs several scales through the same layers
    tells them apart by it. Without ``draw_mask`` dropout does nothing. After a forward pass with
    ``batch_statistics``, ``statistics`` holds what each batch norm measured, by the norm's name: running means
    are the trainer's to update. After a backward pass ``gradients`` holds one array for each parameter that the
    result depends on.
    """

    ops: Any
    params: Mapping[str, Array]
    keep_caches: bool = False
    batch_statistics: bool = False
    draw_mask: DrawMask | None = None
    observe: Observe | None = None
    scope: str = ""
    statistics: dict[str, BatchStatistics] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    _caches: list[Any] = field(default_factory=list, repr=False)

    def push(self, cache: Any) -> None:
        """Keep ``cache`` for the backward pass, or drop it at once when there will be none."""
        if self.keep_caches:
            self._caches.append(cache)

    def pop(self) -> Any:
        """Give back the cache that was pushed last."""
        return self._caches.pop()

    def keep(self, name: str, result: tuple[Array, Any]) -> Array:
        """Push the cache of ``y, cache = op(...)`` and return ``y``, which observers see as ``name``."""
        y, cache = result
        self.push(cache)
        if self.observe is not None:
            self.observe(self.scope + name, y)
        return y

    def measure(self, norm: str, mean: Array, variance: Array, count: int) -> None:
        """Note what the batch norm ``norm`` measured; a norm that several scales share pools its samples."""
        measured = BatchStatistics(mean, variance, count)
        known = self.statistics.get(norm)
        self.statistics[norm] = measured if known is None else known.pooled(measured)

    def accumulate(self, name: str, gradient: Array | None) -> None:
        """Add to the gradient of the parameter ``name``, which observers see as ``d name``.

        A parameter that is used several times (the weights that all scales share) collects the sum.
        """
        if gradient is None:
            return
        if self.observe is not None:
            self.observe(f"d {self.scope}{name}", gradient)
        known = self.gradients.get(name)
        self.gradients[name] = gradient if known is None else known + gradient
