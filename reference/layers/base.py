"""What all layers share: they are made of layers, and know the shapes of their parameters but hold none."""

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

    A layer that has parameters returns their initial values from :meth:`own_parameters`; a container only holds
    other layers as attributes, in the order in which data meets them. Both have ``forward`` and ``backward``;
    what these take beside ``x`` or ``dy`` and the context is the layer's own affair.
    """

    def own_parameters(self, seed: int | None) -> dict[str, np.ndarray]:
        """The initial values of this layer's own parameters (not of the layers inside it), float32.

        Without a seed nothing is drawn: only the shapes are right.
        """
        return {}

    def sublayers(self) -> Iterator[Layer]:
        """This layer and all layers inside it, outer before inner."""
        yield self
        for value in vars(self).values():
            for part in _flat(value):
                if isinstance(part, Layer):
                    yield from part.sublayers()

    def initialise(self, seed: int) -> dict[str, np.ndarray]:
        """Every parameter of this layer and the layers inside it, by dotted name.

        A parameter's value depends on the seed and on its own name alone: two networks that share a backbone
        start from the same one.
        """
        params: dict[str, np.ndarray] = {}
        for layer in self.sublayers():
            params.update(layer.own_parameters(seed))
        return params

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by the names of :meth:`initialise`; it draws and holds no values."""
        own = (layer.own_parameters(None) for layer in self.sublayers())
        return {name: value.shape for params in own for name, value in params.items()}


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
    else:
        yield value


def add(dy: Array, more: Array | None) -> Array:
    """The sum of two gradients of one tensor; ``more`` is None where nothing else used it."""
    return dy if more is None else dy + more


def draw(init: Init, seed: int | None, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """``init`` with a generator of its own for ``name``: float32. Without a seed, zeros that take no memory."""
    if seed is None:
        return np.broadcast_to(np.zeros((), np.float32), shape)
    rng = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())]))
    return init(rng, shape).astype(np.float32)


def is_trained(name: str) -> bool:
    """Whether the optimiser changes the entry ``name``; running statistics follow the batches instead.

    >>> is_trained("backbone.conv1.weight"), is_trained("backbone.bn1.running_mean")
    (True, False)
    """
    return not name.endswith((".running_mean", ".running_var"))
