"""One picture through one network, with all that its attentions did kept, and with some of it undone."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends.contract import Array, Ops
from reference.layers.attention import ChannelAttention, PositionAttention
from reference.layers.context import Context, scoped_name
from reference.networks import Network
from reference.networks.danet import AttentionBranch
from segattn_cli.data.images import resize_image
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import NonFiniteError
from segattn_cli.explaining.channels import ChannelView, view_channels, without_each
from segattn_cli.explaining.positions import PositionView, view_positions
from segattn_cli.runs import Model

Size = tuple[int, int]
#: By default a picture's queries are so many numbers at most, which keeps a page of four pictures below 12 MB.
QUERY_NUMBERS = 180_000
#: By default no picture is larger, whatever its network.
LONGEST = 2048
#: What is done: told before it begins.
Tell = Callable[[str], None]
#: ``tensor(name)`` is what the first pass computed at one scale.
Tensor = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class ScaleView:
    """How the scales were fused."""

    scales: tuple[float, ...]
    fusion: str  # attention, max or mean
    weights: np.ndarray | None  # (h, w, S), adding to 1; None unless attention fuses
    labels: np.ndarray  # (S, H, W) uint8: what each scale predicts by itself


@dataclass(frozen=True)
class Experiment:
    """The prediction of the same network with something undone."""

    name: str  # for files: "position-removed"
    title: str  # for people
    what: str  # what was done
    label: np.ndarray  # (H, W) uint8


@dataclass(frozen=True)
class Explanation:
    """A picture, its prediction, and how the attentions had a part in it. Labels have the picture's size."""

    name: str
    picture: np.ndarray  # (H, W, 3) uint8: what the network saw
    own_size: Size  # of the picture before it was resized
    grid: Size  # (h, w): the pixels of the features, at scale 1
    label: np.ndarray  # (H, W) uint8
    positions: tuple[PositionView, ...]  # one for each scale; none without position attention
    channels: tuple[ChannelView, ...]
    scales: ScaleView | None  # None for a network of one scale
    experiments: tuple[Experiment, ...]
    seconds: float

    def shares_of(self, point: tuple[int, int]) -> tuple[float, float] | None:
        """Where the centre of ``point`` (x, y) lies: shares of the width and of the height, None outside.

        Points are pixels of the picture's own size. Their edges are often those of the grid's cells, too, where
        rounding would decide on which side they are.
        """
        across, down = (point[0] + 0.5) / self.own_size[1], (point[1] + 0.5) / self.own_size[0]
        return (across, down) if 0 < across < 1 and 0 < down < 1 else None


def explain(
    model: Model, ops: Ops, image: np.ndarray, name: str, *, max_side: int | None = None, experiments: bool = True,
    tell: Tell = lambda what: None,
) -> Explanation:
    """What the attentions of ``model`` see in ``image (H, W, 3)`` uint8.

    The picture is resized to the run's ``data.size``, if it has one, and then so that no side is longer than
    ``max_side`` (:func:`suitable_side` by default): the prediction is that of the picture as it is shown.

    With ``experiments`` the prediction is made anew with each attention undone, and channels are taken out one by
    one. Without them there is one plain pass, and ``ChannelView.without`` has no changes.

    Raises:
        NonFiniteError: where the network's scores hold a NaN or an infinity.
    """
    start = time.perf_counter()
    own = (image.shape[0], image.shape[1])
    size = model.config.data.size or own
    size = bounded(size, max_side or suitable_side(model.network, size))
    picture = resize_image(image, size)
    passes = Passes(model, ops, picture)

    tell("prediction")
    seen: dict[str, Array] = {}
    outputs = passes.forward(observe=keeping(seen))
    scores = outputs.main  # (1, h, w, K)
    if not np.isfinite(passes.numpy(scores)).all():
        raise NonFiniteError(
            f"{name}: the network's scores hold a NaN or an infinity, so nothing can be explained: take an earlier "
            "checkpoint."
        )
    position, channel = attention_branches(model.network)
    positions, channels = [], []
    for scale, scope in zip(model.network.config.scales, model.network.scopes, strict=True):

        def tensor(name: str, scope: str = scope) -> np.ndarray:
            return passes.numpy(seen[scoped_name(scope, name)])

        if position is not None:
            tell(f"position attention{f', {scope}' if scope else ''}")
            positions.append(_positions(scale, position, tensor, passes))
        if channel is not None:
            tell(f"channel attention{f', {scope}' if scope else ''}")
            channels.append(_channels(scale, channel, position, tensor, passes, take_out=experiments))
    alone = [each.main for each in outputs.scales] if len(outputs.scales) > 1 else []
    return Explanation(
        name, picture, own, (scores.shape[1], scores.shape[2]), passes.label(scores), tuple(positions),
        tuple(channels), scales=_scales(passes, alone, outputs.scale_weights),
        experiments=_experiments(passes, alone, position, channel, tell) if experiments else (),
        seconds=time.perf_counter() - start,
    )


def bounded(size: Size, max_side: int) -> Size:
    """``size`` shrunk, if need be, so that the longer side has ``max_side`` pixels.

    >>> bounded((1024, 2048), 512), bounded((90, 120), 512)
    ((256, 512), (90, 120))
    """
    factor = min(1.0, max_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def suitable_side(network: Network, size: Size) -> int:
    """The longer side at which the queries of a picture of ``size`` stay within :data:`QUERY_NUMBERS`.

    Position attention has ``H·W / stride²`` queries of C/8 numbers at scale 1 and s² times as many at scale s.
    """
    wanted = max(size)
    position, _ = attention_branches(network)
    if position is not None:
        scales = sum(scale**2 for scale in network.config.scales)
        _, width = position.attention.query.shape
        numbers = size[0] * size[1] / network.config.output_stride**2 * width * scales
        wanted = int(wanted * min(1.0, (QUERY_NUMBERS / numbers) ** 0.5))
    return min(wanted, LONGEST)


def trunk_of(network: Network) -> Any:
    """The backbone and the head, which run at every scale."""
    return getattr(network, "trunk", network)


def attention_branches(network: Network) -> tuple[Any, Any]:
    """The branches of position and of channel attention, whose layers know the names of their tensors, or None."""
    branches = [each for each in trunk_of(network).head.sublayers() if isinstance(each, AttentionBranch)]
    of_kind = {type(branch.attention): branch for branch in branches}
    return of_kind.get(PositionAttention), of_kind.get(ChannelAttention)


def keeping(seen: dict[str, Array]) -> Callable[[str, Array], None]:
    """An observer that keeps what it sees in ``seen``, but for the backbone's many large maps."""

    def observe(name: str, array: Array) -> None:
        if "backbone." not in name:
            seen[name] = array

    return observe


class Passes:
    """Forward passes of one picture, as it is or with something undone.

    What comes before the attentions is computed in the first pass alone.
    """

    def __init__(self, model: Model, ops: Ops, picture: np.ndarray) -> None:
        self.network = _computing_once(model.network)
        self.ops = ops
        self.size = (picture.shape[0], picture.shape[1])
        self.params = {name: ops.asarray(value) for name, value in model.network.fold(model.params).items()}
        self.images = ops.asarray(np.ascontiguousarray(normalise(picture)[None]))  # (1, H, W, 3)

    def forward(self, *, observe: Any = None, ops: Any = None, params: Mapping[str, Array] | None = None) -> Any:
        ctx = Context(ops or self.ops, params or self.params, observe=observe)
        return self.network.forward(self.images, ctx, auxiliaries=False)

    def label(self, scores: Array) -> np.ndarray:
        """The class at each pixel of the picture: (H, W) uint8."""
        resized, _ = self.ops.resize_bilinear(scores, self.size, align_corners=self.network.config.align_corners)
        return self.ops.to_numpy(resized[0].argmax(-1)).astype(np.uint8)

    def numpy(self, array: Array) -> np.ndarray:
        """The array of the one picture, in NumPy."""
        return np.asarray(self.ops.to_numpy(array))[0]

    def without_gates(self, *gates: str) -> np.ndarray:
        """The label where the attentions behind ``gates`` add nothing."""
        closed = {name: self.params[name] * 0 for name in gates}
        return self.label(self.forward(params={**self.params, **closed}).main)


class Once:
    """A layer that computes once at each scale, and returns the same ever after."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._known: dict[str, Array] = {}

    def forward(self, x: Array, ctx: Context) -> Array:
        if ctx.scope not in self._known:
            self._known[ctx.scope] = self._layer.forward(x, ctx)
        return self._known[ctx.scope]


def _computing_once(network: Network) -> Network:
    """``network`` for passes over a single picture: all before its attentions is computed in the first of them."""
    network = copy.deepcopy(network)
    for branch in filter(None, attention_branches(network)):
        branch.reduce = Once(branch.reduce)
    trunk_of(network).backbone = Once(trunk_of(network).backbone)
    return network


class Uniform:
    """The ops of a backend, except that in one attention every query attends to all alike."""

    def __init__(self, ops: Ops, attention: str) -> None:
        self._ops = ops
        setattr(self, attention, getattr(self, f"_{attention}"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def _position_attention(self, query: Array, key: Array, value: Array) -> tuple[Array, Any]:
        return self._ops.position_attention(query * 0, key, value)

    def _channel_attention(self, x: Array, *, form: str) -> tuple[Array, Any]:
        return x * 0 + x.mean(-1, keepdims=True), None


def _positions(scale: float, branch: Any, tensor: Tensor, passes: Passes) -> PositionView:
    attention, features = branch.attention, tensor(branch.reduce.norm)  # (h, w, C)
    return view_positions(
        scale, (features.shape[0], features.shape[1]), _gate(passes, attention.gate),
        tensor(attention.query.name), tensor(attention.key.name), tensor(attention.attended),
        features.reshape(-1, features.shape[-1]),
    )


def _channels(
    scale: float, branch: Any, position: Any, tensor: Tensor, passes: Passes, *, take_out: bool
) -> ChannelView:
    attention, features = branch.attention, tensor(branch.reduce.norm)  # (h, w, C)
    classifier = trunk_of(passes.network).head.classifier.linear.name
    view = view_channels(
        scale, (features.shape[0], features.shape[1]), attention.form, _gate(passes, attention.gate),
        features.reshape(-1, features.shape[-1]), tensor(attention.attended), tensor(classifier),
    )
    if not take_out:
        return view
    weights = [
        np.asarray(passes.ops.to_numpy(passes.params[f"{layer}.{part}"]))
        for layer in (branch.refine.conv.name, classifier)
        for part in ("weight", "bias")
    ]
    label, without = without_each(
        tensor(attention.gate).reshape(features.shape), view.step, weights[0], weights[1],
        None if position is None else tensor(position.refine.norm), (weights[2], weights[3]),
    )
    return replace(view, label=label, without=without)


def _gate(passes: Passes, name: str) -> float:
    return float(passes.ops.to_numpy(passes.params[name]))


def _scales(passes: Passes, alone: list[Array], weights: Array | None) -> ScaleView | None:
    """Of the score maps of each scale, on one grid, and the weights that fused them."""
    config = passes.network.config
    if not alone:
        return None
    return ScaleView(
        config.scales, config.fusion, None if weights is None else passes.numpy(weights),
        np.stack([passes.label(scores) for scores in alone]),
    )


def _experiments(
    passes: Passes, alone: list[Array], position: Any, channel: Any, tell: Tell
) -> tuple[Experiment, ...]:
    """The attentions removed, and made uniform; each scale alone, and the mean of all."""
    found = []
    for branch, kind, gate, mean in (
        (position, "position", "α", "every pixel gathers the mean of all pixels"),
        (channel, "channel", "β", "every channel gathers the mean of all channels"),
    ):
        if branch is None:
            continue
        tell(f"without {kind} attention")
        label = passes.without_gates(branch.attention.gate)
        found.append(Experiment(f"{kind}-removed", f"{kind} attention removed", f"{gate} = 0", label))
        tell(f"uniform {kind} attention")
        uniform = passes.forward(ops=Uniform(passes.ops, f"{kind}_attention"))
        label = passes.label(uniform.main)
        found.append(Experiment(f"{kind}-uniform", f"{kind} attention made uniform", mean, label))
    if position is not None and channel is not None:
        tell("without attention")
        label = passes.without_gates(position.attention.gate, channel.attention.gate)
        found.append(Experiment("attention-removed", "both attentions removed", "α = β = 0", label))
    config = passes.network.config
    for scale, scores in zip(config.scales, alone, strict=False):  # none of a network of one scale
        what = f"the score map of scale {scale:g} by itself"
        found.append(Experiment(f"scale-{scale:g}", f"scale {scale:g} only", what, passes.label(scores)))
    if alone and config.fusion != "mean":
        what = "the mean of all score maps in place of their fusion"
        label = passes.label(sum(alone) / len(alone))
        found.append(Experiment("scales-mean", "scales weighed alike", what, label))
    return tuple(found)
