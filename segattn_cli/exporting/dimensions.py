"""Sizes that are known only when the model runs; arithmetic with them becomes a part of the graph."""

from __future__ import annotations

import numpy as np

from segattn_cli.exporting.graph import Constant, Node, Value

#: The numbers of ONNX's types.
FLOAT, UINT8, INT64, DOUBLE = 1, 2, 7, 11


class Dimension:
    """One axis of a shape, with the arithmetic that networks do on it, in the precision of Python.

    A comparison has to be True or False before the model runs. It is decided by the least size of the axis:
    ``max(round(height * 0.5), 1)`` is ``round(height * 0.5)`` for images of at least 2 pixels.

    Args:
        value: its place in the graph, int64 of shape ``(1,)``.
        at_least: the least size of the axis.

    >>> height = Dimension(Value("height"), at_least=2)
    >>> half = max(round(height * 0.5), 1)
    >>> half.at_least, half.value.kind
    (1, 'Cast')
    >>> half < 2
    Traceback (most recent call last):
    TypeError: An axis of at least 1 may or may not be < 2: that cannot be part of a graph.
    """

    def __init__(self, value: Value, *, at_least: int) -> None:
        self.value = value
        self.at_least = at_least

    def __mul__(self, factor: float) -> Scaled:
        double = Node("Cast", self.value, to=DOUBLE)
        return Scaled(Node("Mul", double, Constant(np.float64(factor))), self.at_least * factor)

    def __lt__(self, bound: int) -> bool:
        if self.at_least < bound:
            raise TypeError(
                f"An axis of at least {self.at_least} may or may not be < {bound}: that cannot be part of a graph."
            )
        return False


class Scaled:
    """A dimension times a factor, float64."""

    def __init__(self, value: Value, at_least: float) -> None:
        self.value = value
        self.at_least = at_least

    def __round__(self) -> Dimension:
        """Halves go to the even side in ONNX as in Python."""
        rounded = Node("Round", self.value)
        return Dimension(Node("Cast", rounded, to=INT64), at_least=round(self.at_least))
