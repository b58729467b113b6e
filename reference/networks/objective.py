"""The training objective: a weighted sum of the losses of a network's outputs.

Each part compares a score map with the labels, by default by the cross-entropy (:mod:`~reference.networks.terms`).

======================  =====================================================================================
part                    loss of
======================  =====================================================================================
main                    the scores that predict: the head's, or fused over the scales
position, channel       the branches of DANet (section 3.4); with scales, the mean over these
auxiliary               the head on layer3 (Zhao et al., PSPNet, CVPR 2017, section 4), or the head in front of
                        a decoder; with scales, the mean
scale 1, scale 0.5, …   each scale: the extra supervision of Attention to Scale (section 3.2)
scale classifier        the scale that a map came from, by cross-entropy; described by readers of the paper
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
from reference.networks.outputs import Outputs, Scores
from reference.networks.single_scale import Network
from reference.networks.terms import LossTerms, MapLoss


@dataclass(frozen=True)
class LossWeights:
    """The weight of each part beside the main one, whose weight is 1.

    Both papers weigh all their parts equally; 0.4 is PSPNet's.

    Args:
        position: weight of the loss of the position branch.
        channel: weight of the loss of the channel branch.
        auxiliary: weight of the loss of the auxiliary head, or of the head's own scores before a decoder.
        extra_supervision: weight of the loss of each scale; 0 turns these losses off.
        scale_classifier: weight of the loss of the scale classifier.
    """

    position: float = 1.0
    channel: float = 1.0
    auxiliary: float = 0.4
    extra_supervision: float = 1.0
    scale_classifier: float = 0.1


class Loss(NamedTuple):
    """The total, its parts before their weights, and the outputs of the network.

    Where the loss of a part has several terms, those of the main one stand beside it: ``main focal``.
    """

    total: Array  # ()
    parts: dict[str, Array]  # each ()
    outputs: Outputs


class Objective:
    """The loss of a network on a batch, and its gradients.

    Args:
        network: as :func:`~reference.networks.build.build_network` returns it.
        weights: of the parts.
        terms: what the loss of each part is made of.
        class_weights: one weight a class, or None.
        ignore_label: pixels with this label have no part in the loss.
    """

    def __init__(
        self, network: Network, weights: LossWeights | None = None, *, terms: LossTerms | None = None,
        class_weights: Sequence[float] | None = None, ignore_label: int = 255,
    ) -> None:
        self.network = network
        self.weights = weights = weights or LossWeights()
        self.map_loss = MapLoss(terms or LossTerms(), class_weights, ignore_label)
        self.class_weights = class_weights
        self.ignore_label = ignore_label
        self.supervises_scales = len(network.scopes) > 1 and weights.extra_supervision != 0

    def forward(self, images: Array, labels: Array, ctx: Context) -> Loss:
        """The loss of ``images (B, H, W, 3)`` against ``labels (B, H, W)``."""
        outputs = self.network.forward(images, ctx)
        main, terms = self._compare("main", outputs.main, labels, ctx)
        parts = {"main": main}
        for scope, scores in zip(self.network.scopes, outputs.scales, strict=True):
            with ctx.scoped(scope):
                if self.supervises_scales:
                    parts[scope], _ = self._compare("main", scores.main, labels, ctx)
                for part, auxiliary in scores.auxiliaries():
                    loss, _ = self._compare(part, auxiliary, labels, ctx)
                    loss = loss / len(outputs.scales)
                    parts[part] = parts[part] + loss if part in parts else loss
        if outputs.scale_classes is not None:
            parts["scale classifier"] = self._scale_cross_entropy(outputs.scale_classes, ctx)
        total: Any = sum(self._weight(part) * loss for part, loss in parts.items())
        if len(terms) > 1:
            parts |= {f"main {term.replace('_', '-')}": value for term, value in terms.items()}
        return Loss(ctx.save("loss", (total, outputs)), parts, outputs)

    def backward(self, ctx: Context, dloss: float = 1.0) -> dict[str, Array]:
        """The gradient of ``dloss·total`` by every parameter's name."""
        outputs = ctx.saved("loss")
        dscale_classes = None
        if outputs.scale_classes is not None:
            dscale_classes = self._scale_cross_entropy_backward(self._weight("scale classifier") * dloss, ctx)
        dscales: list[Scores] = []
        for scope, scores in reversed(list(zip(self.network.scopes, outputs.scales, strict=True))):
            with ctx.scoped(scope):
                dauxiliaries = {}
                for part, _ in reversed(scores.auxiliaries()):
                    dpart = self._weight(part) / len(outputs.scales) * dloss
                    dauxiliaries[part] = self._compare_backward(part, dpart, ctx)
                dmain = None
                if self.supervises_scales:
                    dmain = self._compare_backward("main", self._weight(scope) * dloss, ctx)
            dscales.insert(0, Scores(dmain, **dauxiliaries))
        dmain = self._compare_backward("main", self._weight("main") * dloss, ctx)
        self.network.backward(Outputs(dmain, dscales, scale_classes=dscale_classes), ctx)
        ctx.require_nothing_saved()
        return ctx.gradients

    def _weight(self, part: str) -> float:
        """The weight in the total of a part of the loss."""
        if part == "main":
            return 1.0
        if part in self.network.scopes:
            return self.weights.extra_supervision
        return getattr(self.weights, part.replace(" ", "_"))

    def _compare(self, name: str, scores: Array, labels: Array, ctx: Context) -> tuple[Array, dict[str, Array]]:
        """The loss of a score map, and its terms before their weights."""
        size = labels.shape[1:]
        align_corners = self.network.config.align_corners
        logits = ctx.save(f"{name}.resized", ctx.ops.resize_bilinear(scores, size, align_corners=align_corners))
        terms = self.map_loss.forward(name, logits, labels, ctx)
        loss: Any = sum(weight * terms[term] for term, weight in self.map_loss.terms.weights().items() if weight)
        return loss, terms

    def _compare_backward(self, name: str, dloss: float, ctx: Context) -> Array:
        dlogits = self.map_loss.backward(name, dloss, ctx)
        return ctx.ops.resize_bilinear_backward(dlogits, ctx.saved(f"{name}.resized"))

    def _scale_cross_entropy(self, logits: Array, ctx: Context) -> Array:
        """The cross-entropy of the scale classifier, whose target for map m is m: a mean over maps and batch."""
        maps, batch, _ = logits.shape
        labels = ctx.ops.asarray(np.repeat(np.arange(maps), batch).reshape(maps, batch))
        return ctx.save("scale_classifier.loss", ctx.ops.softmax_cross_entropy(logits, labels))

    def _scale_cross_entropy_backward(self, dloss: float, ctx: Context) -> Array:
        return ctx.ops.softmax_cross_entropy_backward(dloss, ctx.saved("scale_classifier.loss"))
