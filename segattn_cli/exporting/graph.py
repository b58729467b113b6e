"""A graph of operators, as values that know what they are computed from; nothing here needs ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any

import numpy as np


class Value:
    """What flows along one edge of the graph: an input, a constant, or the output of an operator."""

    kind = "Input"
    inputs: tuple[Value | None, ...] = ()

    def __init__(self, name: str = "") -> None:
        self.name = name  # given to what a reader would look for; `named` finds one for the rest


class Constant(Value):
    """An array that is stored in the model."""

    kind = "Constant"

    def __init__(self, array: Any, name: str = "") -> None:
        super().__init__(name)
        self.array = np.asarray(array)


class Node(Value):
    """An operator of ONNX with one output; ``None`` stands for an input that is left out."""

    def __init__(self, kind: str, *inputs: Value | None, **attributes: Any) -> None:
        super().__init__()
        self.kind = kind
        self.inputs = inputs
        self.attributes = attributes


def ordered(outputs: Sequence[Value]) -> list[Value]:
    """All that ``outputs`` depend on, and themselves: whatever a value is computed from stands before it.

    >>> x = Value("x")
    >>> y = Node("Relu", x)
    >>> [value.kind for value in ordered([Node("Add", x, y)])]
    ['Input', 'Relu', 'Add']
    """
    done: dict[Value, None] = {}
    waiting = [*reversed(outputs)]
    while waiting:
        missing = [each for each in waiting[-1].inputs if each is not None and each not in done]
        if missing:
            waiting += reversed(missing)
        else:
            done[waiting.pop()] = None
    return [*done]


def named(values: Sequence[Value]) -> dict[Value, str]:
    """A name for each of the ``ordered`` values, each its own. The outputs must have one.

    What else has none is called after the next thing with one that it serves, and after what it is itself.

    >>> conv = Node("Conv", Value("image"))
    >>> relu = Node("Relu", conv)
    >>> relu.name = "conv1"
    >>> [*named(ordered([relu])).values()]
    ['image', 'conv1/Conv', 'conv1']
    """
    serves: dict[Value, str] = {}
    for value in reversed(values):
        for each in value.inputs:
            if each is not None:
                serves[each] = value.name or serves[value]
    wanted = {value: value.name or f"{serves[value]}/{value.kind}" for value in values}
    return dict(zip(values, _distinct(wanted.values()), strict=True))


def _distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number behind each that is taken.

    >>> _distinct(["a", "a_2", "a", "a"])
    ['a', 'a_2', 'a_3', 'a_4']
    """
    found: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}_{n}" for n in count(2))
        found[next(each for each in chain([name], numbered) if each not in found)] = None
    return [*found]
