"""One image through one network: its attentions, its scales, its prediction, and experiments with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends.contract import Array, Ops
from reference.layers.context import scoped_name
from reference.networks import Network
from segattn_cli.data.images import resize_image
from segattn_cli.errors import NonFiniteError
from segattn_cli.explaining.channels import ChannelView, view_channels, without_each
from segattn_cli.explaining.experiments import Experiment, Report, run_experiments
from segattn_cli.explaining.passes import Passes, attention_branches, trunk_of
from segattn_cli.explaining.positions import PositionView, view_positions
from segattn_cli.runs import Model

Size = tuple[int, int]
#: By default the queries of an image are at most so many numbers, which keeps a page of four images below 12 MB.
QUERY_NUMBERS = 180_000
#: By default no side of an image is longer, whatever its network.
LONGEST = 2048
#: ``tensor(name)`` is a tensor of the first pass at one scale.
GetTensor = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class ScaleView:
    """How the scales were fused."""

    scales: tuple[float, ...]
    fusion: str  # attention, max or mean
    weights: np.ndarray | None  # (h, w, S), adding to 1; None unless attention fuses
    labels: np.ndarray  # (S, H, W) uint8: what each scale predicts by itself


@dataclass(frozen=True)
class Explanation:
    """An image, its prediction, and views of the attentions that led to it. Labels have the size of ``image``."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8, as the network saw it
    own_size: Size  # of the image before it was resized
    grid: Size  # (h, w): the pixels of the features, at scale 1
    label: np.ndarray  # (H, W) uint8
    positions: tuple[PositionView, ...]  # one for each scale; none without position attention
    channels: tuple[ChannelView, ...]
    scales: ScaleView | None  # None for a network of one scale
    experiments: tuple[Experiment, ...]
    seconds: float

    def fractions_of(self, point: tuple[int, int]) -> tuple[float, float] | None:
        """The centre of ``point`` (x, y) as fractions of the width and of the height; None outside the image.

        Points are pixels of the image's own size. Their edges are often those of the grid's cells, too, where
        rounding would decide on which side they are.
        """
        across, down = (point[0] + 0.5) / self.own_size[1], (point[1] + 0.5) / self.own_size[0]
        return (across, down) if 0 < across < 1 and 0 < down < 1 else None


def explain(
    model: Model, ops: Ops, image: np.ndarray, name: str, *, max_side: int | None = None,
    experiments: bool = True, report: Report = lambda part: None,
) -> Explanation:
    """How the attentions of ``model`` work on ``image (H, W, 3)`` uint8.

    The image is resized to the run's ``evaluation.size`` or ``data.size``, if it has one, and then so that no side
    is longer than ``max_side`` (:func:`suitable_side` by default): the prediction is that of the resized image.

    Without ``experiments`` there is a single pass, and ``ChannelView.without`` has no changes. ``report`` is
    called with the name of each part before it is computed.

    Raises:
        NonFiniteError: where the network's scores hold a NaN or an infinity.
    """
    start = time.perf_counter()
    own_size = (image.shape[0], image.shape[1])
    size = model.config.prediction_size or own_size
    size = bounded(size, max_side or suitable_side(model.network, size))
    image = resize_image(image, size)
    report("prediction")
    tensors: dict[str, Array] = {}
    with np.errstate(all="ignore"):  # what is not finite is reported
        passes = Passes(model, ops, image)
        outputs = passes.forward(observe=recorder(tensors))
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
            return passes.numpy(tensors[scoped_name(scope, name)])

        if position is not None:
            report(f"position attention{f', {scope}' if scope else ''}")
            positions.append(_position_view(scale, position, tensor, passes))
        if channel is not None:
            report(f"channel attention{f', {scope}' if scope else ''}")
            channels.append(_channel_view(scale, channel, position, tensor, passes, ablate=experiments))
    alone = [each.main for each in outputs.scales] if len(outputs.scales) > 1 else []
    return Explanation(
        name, image, own_size, (scores.shape[1], scores.shape[2]), passes.label(scores), tuple(positions),
        tuple(channels), scales=_scale_view(passes, alone, outputs.scale_weights),
        experiments=tuple(run_experiments(passes, alone, position, channel, report)) if experiments else (),
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
    """The longer side at which the queries of an image of ``size`` stay within :data:`QUERY_NUMBERS`.

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


def recorder(tensors: dict[str, Array]) -> Callable[[str, Array], None]:
    """An observer that records every tensor in ``tensors``, except for the backbone's many large maps."""

    def observe(name: str, array: Array) -> None:
        if "backbone." not in name:
            tensors[name] = array

    return observe


def _position_view(scale: float, branch: Any, tensor: GetTensor, passes: Passes) -> PositionView:
    attention, features = branch.attention, tensor(branch.reduce.norm)  # (h, w, C)
    return view_positions(
        scale, (features.shape[0], features.shape[1]), _gate(passes, attention.gate),
        tensor(attention.query.name), tensor(attention.key.name), tensor(attention.attended),
        features.reshape(-1, features.shape[-1]),
    )


def _channel_view(
    scale: float, branch: Any, position: Any, tensor: GetTensor, passes: Passes, *, ablate: bool
) -> ChannelView:
    attention, features = branch.attention, tensor(branch.reduce.norm)  # (h, w, C)
    classifier = trunk_of(passes.network).head.classifier.linear.name
    view = view_channels(
        scale, (features.shape[0], features.shape[1]), attention.form, _gate(passes, attention.gate),
        features.reshape(-1, features.shape[-1]), tensor(attention.attended), tensor(classifier),
    )
    if not ablate:
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


def _scale_view(passes: Passes, alone: list[Array], weights: Array | None) -> ScaleView | None:
    """The scores of each scale ``alone``, on one grid, and the weights that fused them; None for one scale."""
    if not alone:
        return None
    config = passes.network.config
    return ScaleView(
        config.scales, config.fusion, None if weights is None else passes.numpy(weights),
        np.stack([passes.label(scores) for scores in alone]),
    )
