"""The training objective: a weighted sum of cross-entropies over everything that a network says.

======================  =====================================================================================
part                    where it comes from
======================  =====================================================================================
main                    the map that predicts: of the head, or fused over the scales
position, channel       DANet's two further losses, one a branch (section 3.4); with scales, their mean over these
auxiliary               of the head on layer3 (Zhao et al., PSPNet, CVPR 2017, section 4); with scales, the mean
scale 1, scale 0.5, …   extra supervision of Attention to Scale (section 3.2): one loss a scale
scale classifier        which scale a map came from; a variant described by readers, not in the paper
======================  =====================================================================================

Score maps are resized to the labels, never labels to the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from reference.layers.base import Array
from reference.layers.context import Context
from reference.networks.outputs import AUXILIARIES, Outputs
from reference.networks.single_scale import Network


@dataclass(frozen=True)
class LossWeights:
    """The weight of each part beside the main one, whose weight is 1.

    Both papers weigh all their parts equally; 0.4 is PSPNet's.
    """

    position: float = 1.0
    channel: float = 1.0
    auxiliary: float = 0.4
    extra_supervision: float = 1.0
    scale_classifier: float = 0.1


class Loss(NamedTuple):
    """The total, the parts that it sums (before their weights), and what the network said."""

    total: Array  # ()
    parts: dict[str, Array]  # each ()
    outputs: Outputs


class Objective:
    """The loss of a network on a batch, and its gradients.

    Args:
        network: what :func:`~reference.networks.build.build_network` returned.
        weights: of the parts.
        class_weights: one weight a class, or None.
        ignore_label: the label that no loss counts.
    """

    def __init__(
        self, network: Network, weights: LossWeights | None = None, *,
        class_weights: Sequence[float] | None = None, ignore_label: int = 255,
    ) -> None:
        self.network = network
        self.weights = weights or LossWeights()
        self.class_weights = class_weights
        self.ignore_label = ignore_label

    def forward(self, images: Array, labels: Array, ctx: Context) -> Loss:
        """The loss of ``images (B, H, W, 3)`` against ``labels (B, H, W)``."""
        outputs = self.network.forward(images, ctx)
        total: Any = 0.0
        parts: dict[str, Array] = {}
        for name, weight in self._counted(outputs):
            loss = self._cross_entropy(name, outputs.scores[name], labels, ctx)
            total = total + weight * loss
            part = name.split(" scale ")[0]  # "position scale 0.5" is a share of "position"
            parts[part] = parts.get(part, 0.0) + loss * self._share(name)
        if outputs.scale_classes is not None:
            loss = self._scale_cross_entropy(outputs.scale_classes, ctx)
            total = total + self.weights.scale_classifier * loss
            parts["scale classifier"] = loss
        ctx.push(outputs)
        return Loss(total, parts, outputs)

    def backward(self, ctx: Context, dloss: float = 1.0) -> dict[str, Array]:
        """The gradient of ``dloss·total`` by every parameter's name."""
        outputs = ctx.pop()
        dscale_classes = None
        if outputs.scale_classes is not None:
            weight = self.weights.scale_classifier * dloss
            dscale_classes = ctx.ops.softmax_cross_entropy_backward(weight, ctx.pop())
        dscores = {}
        for name, weight in reversed(self._counted(outputs)):
            dlogits = ctx.ops.softmax_cross_entropy_backward(weight * dloss, ctx.pop())
            dscores[name] = ctx.ops.resize_bilinear_backward(dlogits, ctx.pop())
        self.network.backward(dscores, ctx, dscale_classes)
        return ctx.gradients

    def _counted(self, outputs: Outputs) -> list[tuple[str, float]]:
        """The score maps that have a loss, each with its weight in the total."""
        weights = {"main": 1.0} | {part: getattr(self.weights, part) for part in AUXILIARIES}
        counted = []
        for name in outputs.scores:
            weight = weights.get(name.split(" ")[0], self.weights.extra_supervision) * self._share(name)
            if weight or not name.startswith("scale"):
                counted.append((name, weight))
        return counted

    def _share(self, name: str) -> float:
        """A branch's loss is its mean over the scales, so that more scales do not make it weigh more."""
        return 1.0 / len(self.network.config.scales) if name.startswith(AUXILIARIES) else 1.0

    def _cross_entropy(self, name: str, scores: Array, labels: Array, ctx: Context) -> Array:
        size = labels.shape[1:]
        align_corners = self.network.config.align_corners
        logits = ctx.keep(f"{name}.resized", ctx.ops.resize_bilinear(scores, size, align_corners=align_corners))
        class_weights = self.class_weights
        if class_weights is not None:
            class_weights = ctx.ops.asarray(class_weights, logits.dtype)
        return ctx.keep(
            f"{name}.loss",
            ctx.ops.softmax_cross_entropy(
                logits, labels, ignore_label=self.ignore_label, class_weights=class_weights
            ),
        )

    def _scale_cross_entropy(self, logits: Array, ctx: Context) -> Array:
        """Map m should be told to be map m: the mean over the maps and the batch."""
        maps, batch, _ = logits.shape
        labels = ctx.ops.asarray(np.repeat(np.arange(maps), batch).reshape(maps, batch))
        return ctx.keep("scale_classifier.loss", ctx.ops.softmax_cross_entropy(logits, labels))
