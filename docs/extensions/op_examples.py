"""The calls of an op in the examples of its docstrings, with their arguments: the examples are run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from types import FunctionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

import reference.ops
from segattn_cli.reading.op_source import OpSource


@dataclass
class Example:
    """One call: its text, all arguments by name, and the upstream gradient, if the op has a backward function."""

    text: str
    arguments: dict[str, Any]
    dy: Any


def examples(op: OpSource) -> list[Example]:
    """The calls in the docstrings of ``op`` and of its backward function, those with equal arguments once.

    The upstream gradient is what the backward function is called with after such a call, or else 1, 2, 3, …

    >>> from segattn_cli.reading.op_source import read_op
    >>> (example,) = examples(read_op("relu"))
    >>> example.text, example.arguments, example.dy
    ('relu(np.array([-2.0, 0.0, 3.0]))', {'x': array([-2.,  0.,  3.])}, array([5., 6., 7.]))
    """
    module = importlib.import_module(f"reference.ops.{op.name}")
    forward = Recorder(getattr(module, op.name))
    names = {**vars(reference.ops), **vars(module), op.name: forward}
    texts = _run(op.forward.doc, op.name, names)
    backward = None
    if op.backward:
        backward = Recorder(getattr(module, op.backward.name))
        texts += _run(op.backward.doc, op.name, names | {op.backward.name: backward})
    found: list[Example] = []
    for text, (arguments, result) in zip(texts, forward.calls, strict=True):
        example = next((each for each in found if _equal(each.arguments, arguments)), None)
        if example is None:
            example = Example(text, arguments, _one_two_three(result) if backward else None)
            found.append(example)
        for call, _ in backward.calls if backward else ():
            if call["cache"] is result[1]:
                example.dy = np.asarray(next(iter(call.values())), np.float64)
    return found


class Recorder:
    """A function that records its calls: all arguments by name, and the result."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.calls: list[tuple[dict[str, Any], Any]] = []

    def __call__(self, *args: Any, **options: Any) -> Any:
        result = self.function(*args, **options)
        signature = inspect.signature(self.function)
        given = signature.bind(*args, **options).arguments
        # Not the defaults of the signature: autodoc replaces them by their text.
        positional = [name for name, each in signature.parameters.items() if each.kind is not each.KEYWORD_ONLY]
        defaults = self.function.__defaults__ or ()
        filled = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        filled |= (self.function.__kwdefaults__ or {}) | given
        self.calls.append(({name: filled[name] for name in signature.parameters}, result))
        return result


def _run(doc: str, op: str, names: dict[str, Any]) -> list[str]:
    """Run the examples of a docstring; the text of each call of ``op``, in the order of the calls."""
    names = dict(names)
    texts = []
    for example in doctest.DocTestParser().get_examples(doc):
        with redirect_stdout(StringIO()):
            exec(example.source, names)
        tree = ast.parse(example.source)
        calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and ast.unparse(each.func) == op]
        texts += [ast.unparse(each) for each in sorted(calls, key=lambda each: (each.lineno, each.col_offset))]
    return texts


def _one_two_three(result: Any) -> np.ndarray:
    y, _ = result
    return np.arange(1.0, y.size + 1).reshape(y.shape)


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(type(a[name]) is type(b[name]) and np.array_equal(a[name], b[name]) for name in a)


def controls(op: OpSource) -> dict[str, Any]:
    """How each option of ``op`` that has no effect on shapes is chosen: ``"number"``, or the list of its values.

    >>> from segattn_cli.reading.op_source import read_op
    >>> controls(read_op("channel_attention")), controls(read_op("batch_norm"))
    ({'form': ['released', 'paper']}, {'training': [True, False], 'eps': 'number'})
    """
    found: dict[str, Any] = {}
    # Not those of the signature: autodoc replaces them by their text.
    hints = get_type_hints(getattr(reference.ops, op.name))
    for name in _parameters(op):
        if hints[name] is bool:
            found[name] = [True, False]
        elif hints[name] is float:
            found[name] = "number"
        elif get_origin(hints[name]) is Literal:
            found[name] = list(get_args(hints[name]))
    return found


def positional(op: OpSource) -> list[str]:
    """The arguments of ``op`` that are no options."""
    return [name for name, each in _parameters(op).items() if each.kind is not each.KEYWORD_ONLY]


def differentiated(op: OpSource) -> list[str]:
    """The arguments whose gradients the backward function returns, in its order.

    >>> from segattn_cli.reading.op_source import read_op
    >>> differentiated(read_op("batch_norm_relu")), differentiated(read_op("softmax"))
    (['x', 'scale', 'shift', 'residual'], ['x'])
    """
    if op.backward is None:
        return []
    last = op.text(op.backward.span)[-1]
    names = re.fullmatch(r"return (d\w+(?:, d\w+)+)", last.strip())
    return [each[1:] for each in names[1].split(", ")] if names else positional(op)[:1]


def _parameters(op: OpSource) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(reference.ops, op.name)).parameters
