"""A graph of operators: each value refers to its inputs. Nothing here needs the package onnx."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any

import numpy as np


class Value:
    """A value of the graph: an input, a constant, or the output of an operator."""

    kind = "Input"
    inputs: tuple[Value | None, ...] = ()

    def __init__(self, name: str = "") -> None:
        self.name = name  # of values that a reader would look for; `named` derives one for the others


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
    """``outputs`` and all values that they depend on, in topological order: inputs first.

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
    """A unique name for each of the ``ordered`` values; the outputs must have one.

    A value without a name is called after the next named value that depends on it, and after its own kind.

    >>> conv = Node("Conv", Value("image"))
    >>> relu = Node("Relu", conv)
    >>> relu.name = "conv1"
    >>> [*named(ordered([relu])).values()]
    ['image', 'conv1/Conv', 'conv1']
    """
    user: dict[Value, str] = {}
    for value in reversed(values):
        for each in value.inputs:
            if each is not None:
                user[each] = value.name or user[value]
    wanted = {value: value.name or f"{user[value]}/{value.kind}" for value in values}
    return dict(zip(values, _distinct(wanted.values()), strict=True))


def _distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number after each that is already taken.

    >>> _distinct(["a", "a_2", "a", "a"])
    ['a', 'a_2', 'a_3', 'a_4']
    """
    unique: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}_{n}" for n in count(2))
        unique[next(each for each in chain([name], numbered) if each not in unique)] = None
    return [*unique]
