"""Attention to Scale (Chen et al., CVPR 2016, figure 2): one network runs on the image at several sizes.

The same backbone and head, with the same weights, give features ``F^s`` and scores ``f^s`` for every scale s.
Both are resized to the grid of scale 1. From the features, a small network predicts a weight for each scale at
each pixel, and the fused scores are the weighted sum (equations 1 and 2):

    g_{i,c} = Σ_s w_i^s · f_{i,c}^s,    w_i^s = exp(h_i^s) / Σ_t exp(h_i^t)

With a dual-attention head this is both papers in one network: ``F^s`` is the sum of DANet's two branches.
"""

from __future__ import annotations

from reference.layers.base import Array, add
from reference.layers.context import Context
from reference.layers.linear import Linear
from reference.layers.scale_attention import ScaleAttention
from reference.networks.config import NetworkConfig
from reference.networks.outputs import Outputs, Scores
from reference.networks.single_scale import Network, SingleScale


class AttentionToScale(Network):
    """A single-scale network, run at every scale, and the fusion of its scores."""

    def __init__(self, config: NetworkConfig, trunk: SingleScale) -> None:
        self.config = config
        self.trunk = trunk
        self.scopes = tuple(f"scale {scale:g}" for scale in config.scales)
        self.scale_attention = None
        if config.fusion == "attention":
            self.scale_attention = ScaleAttention(
                "scale_attention", trunk.head.channels, config.scale_attention_channels, len(self.scopes)
            )
        self.scale_classifier = None
        if config.scale_classifier != "none":
            self.scale_classifier = Linear("scale_classifier", config.classes, len(self.scopes) + 1)

    def forward(self, images: Array, ctx: Context, *, auxiliaries: bool = True) -> Outputs:
        heads = []  # each at its scale's own resolution
        for scope, scale in zip(self.scopes, self.config.scales, strict=True):
            with ctx.scoped(scope):
                image = self._at_scale(images, scale, ctx)
                heads.append(self.trunk.head_forward(image, ctx, auxiliaries=auxiliaries))

        grid = heads[self.config.scales.index(1.0)].features.shape[1:3]
        scales = [
            Scores(**{part: self._resize(f"{part} {scope}", x, grid, ctx) for part, x in head.scores.parts()})
            for scope, head in zip(self.scopes, heads, strict=True)
        ]  # each map (B, h, w, K)
        stacked = ctx.ops.stack([scores.main for scores in scales])  # (S, B, h, w, K)
        features = [head.features for head in heads]
        fused, scale_weights = self._fuse(stacked, features, grid, ctx)  # (B, h, w, K), (B, h, w, S)
        scale_classes = None
        if auxiliaries and self.scale_classifier is not None:
            scale_classes = self._classify_scales([fused] + [head.scores.main for head in heads], ctx)
        return Outputs(fused, scales, scale_weights, scale_classes)

    def backward(self, doutputs: Outputs, ctx: Context) -> None:
        dfused, dnative = doutputs.main, [None] * len(self.scopes)
        if self.scale_classifier is not None:
            dclassified, *dnative = self._classify_scales_backward(doutputs.scale_classes, ctx)
            dfused = add(dfused, dclassified)
        dstacked, dfeatures = self._fuse_backward(dfused, ctx)

        dheads: list[Scores] = []
        for s, scope in reversed(list(enumerate(self.scopes))):
            dscores = doutputs.scales[s]
            dscores = dscores._replace(main=add(dstacked[s], dscores.main))
            parts = reversed(dscores.parts())
            dhead = Scores(**{part: self._resize_backward(f"{part} {scope}", dy, ctx) for part, dy in parts})
            dheads.insert(0, dhead._replace(main=add(dhead.main, dnative[s])))
        for s, scope in reversed(list(enumerate(self.scopes))):
            with ctx.scoped(scope):
                self.trunk.head_backward(dfeatures[s], dheads[s], ctx)

    def _at_scale(self, images: Array, scale: float, ctx: Context) -> Array:
        """The image resized by ``scale``; no cache is saved, since the gradient of the image is not needed."""
        if scale == 1:
            return images
        _, height, width, _ = images.shape
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        resized, _ = ctx.ops.resize_bilinear(images, size, align_corners=self.config.align_corners)
        return resized

    def _resize(self, name: str, x: Array, grid: tuple[int, int], ctx: Context) -> Array:
        result = ctx.ops.resize_bilinear(x, grid, align_corners=self.config.align_corners)
        return ctx.save(f"{name}.on_grid", result)

    def _resize_backward(self, name: str, dy: Array, ctx: Context) -> Array:
        return ctx.ops.resize_bilinear_backward(dy, ctx.saved(f"{name}.on_grid"))

    def _fuse(
        self, stacked: Array, features: list[Array], grid: tuple[int, int], ctx: Context
    ) -> tuple[Array, Array | None]:
        if self.scale_attention is None:
            fuse = ctx.ops.scale_max if self.config.fusion == "max" else ctx.ops.scale_mean
            return ctx.save("fused", fuse(stacked)), None
        on_grid = [
            self._resize(f"features {scope}", x, grid, ctx) for scope, x in zip(self.scopes, features, strict=True)
        ]
        logits = self.scale_attention.forward(on_grid, ctx)  # (B, h, w, S)
        scale_weights, _ = ctx.ops.softmax(logits)
        return ctx.save("fused", ctx.ops.scale_fusion(stacked, logits)), scale_weights

    def _fuse_backward(self, dfused: Array, ctx: Context) -> tuple[Array, list[Array | None]]:
        """The gradients of the stacked scores and of each scale's features (None if these are not fused)."""
        if self.scale_attention is None:
            is_max = self.config.fusion == "max"
            fuse_backward = ctx.ops.scale_max_backward if is_max else ctx.ops.scale_mean_backward
            return fuse_backward(dfused, ctx.saved("fused")), [None] * len(self.scopes)
        dstacked, dlogits = ctx.ops.scale_fusion_backward(dfused, ctx.saved("fused"))
        don_grid = self.scale_attention.backward(dlogits, ctx)
        dfeatures: list[Array | None] = []
        for scope, dy in reversed(list(zip(self.scopes, don_grid, strict=True))):
            dfeatures.insert(0, self._resize_backward(f"features {scope}", dy, ctx))
        return dstacked, dfeatures

    def _classify_scales(self, maps: list[Array], ctx: Context) -> Array:
        """Logits ``(S + 1, B, S + 1)`` of the scale that each score map came from, by its mean over the pixels.

        Map 0 is the fused one; the others have their own resolution. Some readers understood the paper's "extra
        supervision" as such a head; it is not in the paper.
        """
        assert self.scale_classifier is not None
        pooled, caches = zip(*(ctx.ops.global_mean_pool(x) for x in maps), strict=True)  # (B, K) each
        x = ctx.save("scale_classifier.pool", (ctx.ops.stack(pooled), caches))  # (S + 1, B, K)
        return self.scale_classifier.forward(x, ctx)

    def _classify_scales_backward(self, dlogits: Array, ctx: Context) -> list[Array | None]:
        """The gradient of each map; None if the classifier is a probe, which does not train the maps."""
        assert self.scale_classifier is not None
        dpooled = self.scale_classifier.backward(dlogits, ctx)  # (S + 1, B, K)
        caches = ctx.saved("scale_classifier.pool")
        if self.config.scale_classifier == "detached":
            return [None] * len(caches)
        return [ctx.ops.global_mean_pool_backward(dpooled[m], cache) for m, cache in enumerate(caches)]
