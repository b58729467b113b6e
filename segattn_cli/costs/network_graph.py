"""A network as a graph: what it computes, from what, by which op, in which line of ``reference/``, at which cost.

The graph is recorded while the network computes on arrays without values, so it is the network itself. Scales share
their layers, so a layer is one node, with the shape that its output has at each of them. Dropout, which only draws
during training, is not in it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

import reference
from reference.layers import Context, is_trained
from reference.networks import Network
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.layers import module_of
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

#: The name of the node that everything starts from.
IMAGE = "image"
FOLDER = Path(reference.__file__).parent
#: What is said of the ops whose options say nothing more.
WORDS = {
    "+": "sum", "batch_norm": "norm", "batch_norm_relu": "norm, ReLU", "channel_attention": "channel attention",
    "gated_residual": "gate · attended + x", "global_mean_pool": "mean over pixels",
    "position_attention": "position attention", "resize_bilinear": "bilinear resize", "scale_fusion":
    "weighted sum over scales", "scale_max": "maximum over scales", "scale_mean": "mean over scales",
}  # fmt: skip


class Place(NamedTuple):
    """A line of the code of a function."""

    file: str  # from the root of the repository
    function: str  # with its class
    line: int

    @property
    def layer(self) -> str:
        """The class of the function."""
        return self.function.rpartition(".")[0]


class Call(NamedTuple):
    """A call of an op, in words with its options."""

    op: str
    about: str


@dataclass(frozen=True)
class Node:
    """What one call of an op computes, at every scale; or what several do that belong together."""

    name: str
    calls: tuple[Call, ...]
    inputs: tuple[str, ...]  # names of other nodes
    shapes: Mapping[str, tuple[int, ...]]  # of the output for one image, by the scale; "" where all are one
    parameters: int  # trained values
    multiply_adds: int  # at all scales together
    training_only: bool
    places: tuple[Place, ...]  # the calls that lead to it, from the network down to the layer

    @property
    def place(self) -> Place:
        return self.places[-1]

    @property
    def ops(self) -> tuple[str, ...]:
        """Each op that is called, once."""
        return tuple(dict.fromkeys(call.op for call in self.calls))

    @property
    def about(self) -> str:
        """In words; of many calls, how many there are of each kind."""
        return ", ".join(call.about for call in self.calls) if len(self.calls) <= 2 else _counted(self.calls)


def network_graph(network: Network, height: int, width: int) -> list[Node]:
    """Every op that ``network`` calls for an image ``(height, width)``, in the order of its computation.

    >>> from reference.networks import NetworkConfig, build_network
    >>> graph = network_graph(build_network(NetworkConfig(classes=5, head="position")), 64, 96)
    >>> node = next(each for each in graph if each.name == "head.position.attended")
    >>> node.inputs, node.shapes
    (('head.position.query', 'head.position.key', 'head.position.value'), {'': (96, 32)})
    >>> node.place.file, node.place.function
    ('reference/layers/attention.py', 'PositionAttention.forward')
    """
    predicting = {call.name for call in _calls(network, height, width, auxiliaries=False)}
    merged: dict[str, Node] = {}
    for call in _calls(network, height, width, auxiliaries=True):
        node = Node(
            call.name, (Call(call.op, call.about),), call.inputs, {call.scope: call.shape}, call.parameters,
            call.multiply_adds, call.name not in predicting, call.places,
        )  # fmt: skip
        before = merged.get(call.name)
        merged[call.name] = node if before is None else _at_another_scale(before, node)
    return _inputs_first(merged)


def grouped(graph: Iterable[Node], group_of: Callable[[Node], str]) -> list[Node]:
    """The graph with one node for all that have the same ``group_of``; its place is what all their places share.

    >>> from reference.networks import NetworkConfig, build_network
    >>> graph = network_graph(build_network(NetworkConfig(classes=5, backbone="resnet18", head="fcn")), 64, 96)
    >>> [(each.name, each.place.function, each.about) for each in grouped(graph, by_module)][1:4:2]
    [('backbone.maxpool', 'ResNet.forward_to_layer1', 'max pool 3×3, stride 2'),
     ('backbone.layer2', 'ResidualBlock.forward', '5 convolutions, 5 norms')]
    """
    groups: dict[str, list[Node]] = {}
    graph = list(graph)
    for node in graph:
        groups.setdefault(group_of(node), []).append(node)
    group = {node.name: name for name, nodes in groups.items() for node in nodes}
    return [_one_of(name, nodes, group) for name, nodes in groups.items()]


def by_layer(node: Node) -> str:
    """A convolution together with its norm; of a backbone, each of its modules."""
    if node.name.startswith("backbone."):
        return module_of(node.name)
    layer, _, part = node.name.rpartition(".")
    return layer if layer and part in ("conv", "norm", "relu") else node.name


def by_module(node: Node) -> str:
    """The groups of ``segattn summary``."""
    return module_of(node.name)


class _TracedCall(NamedTuple):
    name: str
    scope: str
    op: str
    about: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    places: tuple[Place, ...]


class _Traced:
    """An array without values that knows the call which made it: a view of an array is of the same call."""

    def __init__(self, array: ShapeArray, number: int, trace: _TracingOps, batch_axis: int = 0) -> None:
        self.array = array
        self.number = number
        self.shape = array.shape
        self.batch_axis = batch_axis
        self._trace = trace

    def reshape(self, *shape: Any) -> _Traced:
        return _Traced(self.array.reshape(*shape), self.number, self._trace)

    def __add__(self, other: _Traced) -> _Traced:
        return self._trace.record("+", [self, other], {}, self.array + other.array, 0)


class _TracingOps:
    """The ops of a backend on traced arrays; ``calls`` has what was called, in order."""

    def __init__(self) -> None:
        self.meter = CostMeter()
        self.counting = CountingOps(self.meter)
        self.calls: list[_TracedCall] = []
        self.scope = ""
        self._counted: set[str] = set()

    def __getattr__(self, op: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before = self.meter.forward
            result = getattr(self.counting, op)(*_without_trace(arguments), **options)
            y = result[0] if isinstance(result, tuple) else result
            traced = self.record(op, [*_arrays(arguments)], options, y, self.meter.forward - before)
            return (traced, None) if isinstance(result, tuple) else traced

        return call

    def record(
        self, op: str, arrays: Sequence[_Traced | _Parameter], options: Mapping[str, Any], y: ShapeArray,
        multiply_adds: int,
    ) -> _Traced:
        """Record a call by the name of its layer and its op, until the network gives the result a better one."""
        sources = [each for each in arrays if isinstance(each, _Traced)]
        parameters = [each for each in arrays if isinstance(each, _Parameter)]
        trained = {each.name: each.array.size for each in parameters if is_trained(each.name)}
        fresh = trained.keys() - self._counted  # that scales share: with the first scale
        self._counted |= fresh
        inputs = dict.fromkeys(self.calls[each.number].name if each.number >= 0 else IMAGE for each in sources)
        batch_axis = 1 if op == "stack" else sources[0].batch_axis if op == "linear" else 0
        shape = (*y.shape[:batch_axis], *y.shape[batch_axis + 1 :])
        about = _about(op, parameters[0].shape if parameters else (), options)
        places = _places()
        self.calls.append(_TracedCall(
            f"{places[-1].layer} {op}", self.scope, op, about, tuple(inputs), shape,
            sum(trained[name] for name in fresh), multiply_adds, places,
        ))  # fmt: skip
        return _Traced(y, len(self.calls) - 1, self, batch_axis)


class _Parameter:
    def __init__(self, name: str, array: ShapeArray) -> None:
        self.name = name
        self.array = array
        self.shape = array.shape


def _calls(network: Network, height: int, width: int, *, auxiliaries: bool) -> list[_TracedCall]:
    ops = _TracingOps()
    params = {
        name: _Parameter(name, ShapeArray(shape, np.float32, ops.meter)) for name, shape in network.shapes().items()
    }
    images = _Traced(ShapeArray((1, height, width, 3), np.float32, ops.meter), -1, ops)
    ctx = _ScopedContext(ops, params)

    def observe(full_name: str, y: _Traced) -> None:
        scope, name = _without_scope(full_name, network.scopes)
        ops.calls[y.number] = ops.calls[y.number]._replace(name=name, scope=scope)

    ctx.observe = observe
    network.forward(images, ctx, auxiliaries=auxiliaries)
    return ops.calls


class _ScopedContext(Context):
    """Tells the ops at which scale they are."""

    @contextmanager
    def scoped(self, name: str) -> Iterator[None]:
        with super().scoped(name):
            self.ops.scope = self.scope
            yield
        self.ops.scope = self.scope


def _without_scope(name: str, scopes: Sequence[str]) -> tuple[str, str]:
    """The scale that a tensor is of, and its name without it.

    >>> _without_scope("scale 0.5/head.classifier", ["scale 1", "scale 0.5"])
    ('scale 0.5', 'head.classifier')
    >>> _without_scope("main scale 0.5.on_grid", ["scale 1", "scale 0.5"])
    ('scale 0.5', 'main.on_grid')
    """
    for scope in filter(None, scopes):
        if name.startswith(f"{scope}/"):
            return scope, name.removeprefix(f"{scope}/")
        if name.endswith(f" {scope}.on_grid"):
            return scope, name.removesuffix(f" {scope}.on_grid") + ".on_grid"
    return "", name


def _inputs_first(nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes in their order, but for those that a node before them needs at another scale."""
    done: dict[str, Node] = {}

    def add(node: Node) -> None:
        for name in node.inputs:
            if name in nodes and name not in done:
                add(nodes[name])
        done[node.name] = node

    for node in nodes.values():
        if node.name not in done:
            add(node)
    return list(done.values())


def _at_another_scale(node: Node, again: Node) -> Node:
    return replace(
        node, inputs=tuple(dict.fromkeys([*node.inputs, *again.inputs])), shapes={**node.shapes, **again.shapes},
        parameters=node.parameters + again.parameters, multiply_adds=node.multiply_adds + again.multiply_adds,
    )  # fmt: skip


def _one_of(name: str, nodes: list[Node], group: Mapping[str, str]) -> Node:
    inputs = dict.fromkeys(group.get(each, each) for node in nodes for each in node.inputs)
    return Node(
        name, tuple(call for node in nodes for call in node.calls), tuple(each for each in inputs if each != name),
        nodes[-1].shapes, sum(node.parameters for node in nodes), sum(node.multiply_adds for node in nodes),
        all(node.training_only for node in nodes), reduce(_shared, (node.places for node in nodes)),
    )  # fmt: skip


def _about(op: str, weight: tuple[int, ...], options: Mapping[str, Any]) -> str:
    """
    >>> _about("conv2d_relu", (3, 3, 64, 64), {"stride": 1, "padding": 12, "dilation": 12})
    'conv 3×3, dilation 12, ReLU'
    """
    if op in ("conv2d", "conv2d_relu"):
        parts = [f"conv {weight[0]}×{weight[1]}"]
        parts += [f"{key} {options[key]}" for key in ("stride", "dilation") if options.get(key, 1) > 1]
        return ", ".join([*parts, "ReLU"] if op == "conv2d_relu" else parts)
    if op == "max_pool2d":
        return f"max pool {options['window']}×{options['window']}, stride {options['stride']}"
    if op == "linear":
        return f"linear {weight[0]} → {weight[1]}"
    return WORDS.get(op, op) + (f" ({options['form']})" if "form" in options else "")


def _counted(calls: Sequence[Call]) -> str:
    counts = Counter(call.op for call in calls)
    kinds = {
        "convolution": counts["conv2d"] + counts["conv2d_relu"],
        "norm": counts["batch_norm"] + counts["batch_norm_relu"],
        "max pool": counts["max_pool2d"],
    }
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items() if count)


def _shared(first: tuple[Place, ...], second: tuple[Place, ...]) -> tuple[Place, ...]:
    """The calls that both have; of a function in which they part, its first line of the two."""
    shared: list[Place] = []
    for one, other in zip(first, second, strict=False):
        if one[:2] != other[:2]:
            break
        shared.append(one._replace(line=min(one.line, other.line)))
        if one.line != other.line:
            break
    return tuple(shared)


def _places() -> tuple[Place, ...]:
    """Where in ``reference/`` the program is, from the outermost call to the innermost."""
    places: list[Place] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path, code = Path(frame.f_code.co_filename), frame.f_code
        function = code.co_qualname.partition(".<locals>")[0]  # of a comprehension, the function that it stands in
        if path.is_relative_to(FOLDER) and (not places or places[-1].function != function):
            places.append(Place(path.relative_to(FOLDER.parent).as_posix(), function, frame.f_lineno))
        frame = frame.f_back
    return tuple(reversed(places))


def _arrays(arguments: Iterable[Any]) -> Iterator[Any]:
    for each in arguments:
        if isinstance(each, list | tuple):
            yield from _arrays(each)
        elif isinstance(each, _Traced | _Parameter):
            yield each


def _without_trace(arguments: Any) -> Any:
    if isinstance(arguments, list | tuple):
        return type(arguments)(map(_without_trace, arguments))
    return arguments.array if isinstance(arguments, _Traced | _Parameter) else arguments
