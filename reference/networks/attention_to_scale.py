"""Attention to Scale (Chen et al., CVPR 2016, figure 2): one network sees the image at several sizes.

The same backbone and head, with the same weights, give features ``F^s`` and scores ``f^s`` for every scale s.
Both are resized to the grid of scale 1. From the features, a small network predicts a weight for each scale at
each pixel, and the weights blend the scores (equations 1 and 2):

    g_{i,c} = Σ_s w_i^s · f_{i,c}^s,    w_i^s = exp(h_i^s) / Σ_t exp(h_i^t)

With a dual-attention head this is both papers in one network: ``F^s`` is the sum of DANet's two branches.
"""

from __future__ import annotations

from collections.abc import Mapping

from reference.layers.base import Array, add
from reference.layers.context import Context
from reference.layers.linear import Linear
from reference.layers.scale_attention import ScaleAttention
from reference.networks.config import NetworkConfig
from reference.networks.outputs import AUXILIARIES, Outputs
from reference.networks.single_scale import Network, SingleScale


class AttentionToScale(Network):
    """A single-scale network, run at every scale, and the fusion of what it says."""

    def __init__(self, config: NetworkConfig, trunk: SingleScale) -> None:
        self.config = config
        self.trunk = trunk
        self.scales = config.scales
        self.names = [f"scale {scale:g}" for scale in self.scales]
        self.scale_attention = None
        if config.fusion == "attention":
            self.scale_attention = ScaleAttention(
                "scale_attention", trunk.head.channels, config.scale_attention_channels, len(self.scales)
            )
        self.scale_classifier = None
        if config.scale_classifier != "none":
            self.scale_classifier = Linear("scale_classifier", config.classes, len(self.scales) + 1)

    def forward(self, images: Array, ctx: Context, *, auxiliaries: bool = True) -> Outputs:
        features, scores = [], []  # each at its scale's own resolution
        for name, scale in zip(self.names, self.scales, strict=True):
            ctx.scope = f"{name}/"
            head = self.trunk.head_forward(self._at_scale(images, scale, ctx), ctx, auxiliaries=auxiliaries)
            features.append(head.features)
            scores.append(head.scores)
        ctx.scope = ""

        grid = features[self.scales.index(1.0)].shape[1:3]
        on_grid = {
            f"{part} {name}": self._resize(f"{part} {name}", scores[s][part], grid, ctx)  # (B, h, w, K)
            for s, name in enumerate(self.names)
            for part in scores[s]
        }
        stacked = ctx.ops.stack([on_grid[f"main {name}"] for name in self.names])  # (S, B, h, w, K)
        fused, scale_weights = self._fuse(stacked, features, grid, ctx)  # (B, h, w, K), (B, h, w, S)
        if not auxiliaries:
            return Outputs({"main": fused}, scale_weights)

        scale_classes = None
        if self.scale_classifier is not None:
            scale_classes = self._classify_scales([fused] + [each["main"] for each in scores], ctx)
        named = {"main": fused} | {key.removeprefix("main "): value for key, value in on_grid.items()}
        return Outputs(named, scale_weights, scale_classes)

    def backward(self, dscores: Mapping[str, Array], ctx: Context, dscale_classes: Array | None = None) -> None:
        dfused = dscores["main"]
        dnative: list[Array | None] = [None] * len(self.scales)
        if self.scale_classifier is not None:
            dmaps = self._classify_scales_backward(dscale_classes, ctx)
            if dmaps is not None:
                dfused, *dnative = [dfused + dmaps[0], *dmaps[1:]]

        dstacked, dfeatures = self._fuse_backward(dfused, ctx)
        dheads: list[dict[str, Array]] = []
        for s, name in reversed(list(enumerate(self.names))):
            parts = {"main": add(dstacked[s], dscores.get(name))}
            parts |= {part: dscores[f"{part} {name}"] for part in AUXILIARIES if f"{part} {name}" in dscores}
            # resized in the order main, position, channel, auxiliary
            dhead = {part: ctx.ops.resize_bilinear_backward(dy, ctx.pop()) for part, dy in reversed(parts.items())}
            dhead["main"] = add(dhead["main"], dnative[s])
            dheads.insert(0, dhead)

        for s, name in reversed(list(enumerate(self.names))):
            ctx.scope = f"{name}/"
            self.trunk.head_backward(dfeatures[s], dheads[s], ctx)
        ctx.scope = ""

    def _at_scale(self, images: Array, scale: float, ctx: Context) -> Array:
        """The image resized by ``scale``; nothing is kept, since nobody asks for the image's gradient."""
        if scale == 1:
            return images
        _, height, width, _ = images.shape
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        resized, _ = ctx.ops.resize_bilinear(images, size, align_corners=self.config.align_corners)
        return resized

    def _resize(self, name: str, x: Array, grid: tuple[int, int], ctx: Context) -> Array:
        result = ctx.ops.resize_bilinear(x, grid, align_corners=self.config.align_corners)
        return ctx.keep(f"{name}.on_grid", result)

    def _fuse(
        self, stacked: Array, features: list[Array], grid: tuple[int, int], ctx: Context
    ) -> tuple[Array, Array | None]:
        if self.scale_attention is None:
            fuse = ctx.ops.scale_max if self.config.fusion == "max" else ctx.ops.scale_mean
            return ctx.keep("fused", fuse(stacked)), None
        on_grid = [
            self._resize(f"features {name}", x, grid, ctx) for name, x in zip(self.names, features, strict=True)
        ]
        logits = self.scale_attention.forward(on_grid, ctx)  # (B, h, w, S)
        scale_weights, _ = ctx.ops.softmax(logits)
        return ctx.keep("fused", ctx.ops.scale_fusion(stacked, logits)), scale_weights

    def _fuse_backward(self, dfused: Array, ctx: Context) -> tuple[Array, list[Array | None]]:
        """The gradients of the stacked scores and of each scale's features (None where these do not fuse)."""
        if self.scale_attention is None:
            is_max = self.config.fusion == "max"
            fuse_backward = ctx.ops.scale_max_backward if is_max else ctx.ops.scale_mean_backward
            return fuse_backward(dfused, ctx.pop()), [None] * len(self.scales)
        dstacked, dlogits = ctx.ops.scale_fusion_backward(dfused, ctx.pop())
        don_grid = self.scale_attention.backward(dlogits, ctx)
        dfeatures = [ctx.ops.resize_bilinear_backward(dy, ctx.pop()) for dy in reversed(don_grid)]
        return dstacked, dfeatures[::-1]

    def _classify_scales(self, maps: list[Array], ctx: Context) -> Array:
        """Which scale each score map came from, by its mean over the pixels: ``(S + 1, B, S + 1)`` logits.

        Map 0 is the fused one; the others are at their own resolution. This head is how some readers understood
        the paper's "extra supervision"; it is not in the paper.
        """
        assert self.scale_classifier is not None
        pooled = [ctx.keep("scale_classifier.pool", ctx.ops.global_mean_pool(x)) for x in maps]  # (B, K) each
        return self.scale_classifier.forward(ctx.ops.stack(pooled), ctx)

    def _classify_scales_backward(self, dlogits: Array, ctx: Context) -> list[Array] | None:
        """The gradient of each map, or None where the classifier is a probe that leaves the maps alone."""
        assert self.scale_classifier is not None
        dpooled = self.scale_classifier.backward(dlogits, ctx)  # (S + 1, B, K)
        caches = [ctx.pop() for _ in range(len(self.scales) + 1)][::-1]
        if self.config.scale_classifier == "detached":
            return None
        return [ctx.ops.global_mean_pool_backward(dpooled[m], cache) for m, cache in enumerate(caches)]
