"""The base of all layers, which know the names and shapes of their parameters but hold no values."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = Any
#: Draws the initial value of a weight: ``init(rng, shape)``.
Init = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


class Layer:
    """A configuration and the names of its parameters, fixed once built.

    A layer with parameters returns their initial values from :meth:`initial_values`; a container has other layers
    as attributes, in the order in which they compute. Both have ``forward`` and ``backward``, which take ``x`` or
    ``dy`` and the context, and further arguments that differ from layer to layer.
    """

    def initial_values(self, seed: int | None) -> dict[str, np.ndarray]:
        """The initial values of this layer's parameters (without those of the layers inside it), float32.

        Without a seed, nothing is drawn, and only the shapes are right.
        """
        return {}

    def sublayers(self) -> Iterator[Layer]:
        """This layer and all layers inside it, outer before inner."""
        yield self
        for value in vars(self).values():
            for each in _flat(value):
                if isinstance(each, Layer):
                    yield from each.sublayers()

    def initialise(self, seed: int) -> dict[str, np.ndarray]:
        """Every parameter of this layer and of the layers inside it, by dotted name.

        A value depends on the seed and on the parameter's name alone, so two networks with the same backbone start
        from the same values of it.
        """
        params: dict[str, np.ndarray] = {}
        for layer in self.sublayers():
            params.update(layer.initial_values(seed))
        return params

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by the names of :meth:`initialise`, without drawing any values."""
        values = (layer.initial_values(None) for layer in self.sublayers())
        return {name: value.shape for params in values for name, value in params.items()}


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def add(dy: Array, more: Array | None) -> Array:
    """The sum of two gradients of one tensor; ``more`` is None if the tensor was used once only."""
    return dy if more is None else dy + more


def draw(init: Init, seed: int | None, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """``init(rng, shape)`` as float32, with a generator for ``name``. Without a seed, zeros that take no memory."""
    if seed is None:
        return np.broadcast_to(np.zeros((), np.float32), shape)
    rng = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())]))
    return init(rng, shape).astype(np.float32)


def is_trained(name: str) -> bool:
    """Whether the optimiser trains the parameter ``name``; running statistics are updated from batches instead.

    >>> is_trained("backbone.conv1.weight"), is_trained("backbone.bn1.running_mean")
    (True, False)
    """
    return not name.endswith((".running_mean", ".running_var"))
