"""Forward passes of one image, through a whole network or with an attention ablated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backends.contract import Array, Ops
from reference.layers.attention import ChannelAttention, PositionAttention
from reference.layers.context import Context, Observe
from reference.networks import Network
from reference.networks.danet import AttentionBranch
from reference.networks.outputs import Outputs
from segattn_cli.data.normalise import normalise
from segattn_cli.runs import Model


class Passes:
    """Forward passes of one image ``(H, W, 3)`` uint8; what precedes the attentions is computed only once."""

    def __init__(self, model: Model, ops: Ops, image: np.ndarray) -> None:
        self.network = _with_cached_features(model.network)
        self.ops = ops
        self.size = (image.shape[0], image.shape[1])
        folded = model.network.fold(model.params)
        self.params = ops.constants({name: ops.asarray(value) for name, value in folded.items()})
        self.images = ops.asarray(np.ascontiguousarray(normalise(image)[None]))  # (1, H, W, 3)

    def forward(
        self, *, observe: Observe | None = None, ops: Any = None, params: Mapping[str, Array] | None = None
    ) -> Outputs:
        ctx = Context(ops or self.ops, params or self.params, observe=observe)
        return self.network.forward(self.images, ctx, auxiliaries=False)

    def without(self, *gates: str) -> np.ndarray:
        """The labels with these gates set to 0, so that their attentions add nothing."""
        closed = {name: self.params[name] * 0 for name in gates}
        return self.label(self.forward(params={**self.params, **closed}).main)

    def label(self, scores: Array) -> np.ndarray:
        """The class of each pixel of the image: (H, W) uint8."""
        resized, _ = self.ops.resize_bilinear(scores, self.size, align_corners=self.network.config.align_corners)
        return self.ops.to_numpy(resized[0].argmax(-1)).astype(np.uint8)

    def numpy(self, array: Array) -> np.ndarray:
        """The part of ``array`` that belongs to the one image."""
        return np.asarray(self.ops.to_numpy(array))[0]


class UniformAttention:
    """The ops of a backend, with one of its attentions uniform: each query attends equally to all keys."""

    def __init__(self, ops: Ops, attention: str) -> None:
        self._ops = ops
        setattr(self, attention, getattr(self, f"_{attention}"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def _position_attention(self, query: Array, key: Array, value: Array) -> tuple[Array, Any]:
        return self._ops.position_attention(query * 0, key, value)

    def _channel_attention(self, x: Array, *, form: str) -> tuple[Array, Any]:
        return x * 0 + x.mean(-1, keepdims=True), None


def trunk_of(network: Network) -> Any:
    """The backbone and the head, which run at every scale."""
    return getattr(network, "trunk", network)


def attention_branches(network: Network) -> tuple[Any, Any]:
    """The branches of position and of channel attention, None where there is none.

    Their layers hold the names under which a context observes their tensors.
    """
    branches = [each for each in trunk_of(network).head.sublayers() if isinstance(each, AttentionBranch)]
    by_kind = {type(branch.attention): branch for branch in branches}
    return by_kind.get(PositionAttention), by_kind.get(ChannelAttention)


class _Cached:
    """A layer whose forward methods compute their outputs at each scale once and then return them again."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._outputs: dict[tuple[str, str], Array] = {}

    def __getattr__(self, method: str) -> Callable[[Array, Context], Array]:
        def forward(x: Array, ctx: Context) -> Array:
            key = (method, ctx.scope)
            if key not in self._outputs:
                self._outputs[key] = getattr(self._layer, method)(x, ctx)
            return self._outputs[key]

        return forward


def _with_cached_features(network: Network) -> Network:
    """A copy of ``network`` for passes of one image, which computes the inputs of its attentions once."""
    network = copy.deepcopy(network)
    for branch in filter(None, attention_branches(network)):
        branch.reduce = _Cached(branch.reduce)
    trunk_of(network).backbone = _Cached(trunk_of(network).backbone)
    return network
