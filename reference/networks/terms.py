"""The loss of one score map: a weighted sum of terms, each of which compares it with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reference.layers.base import Array
from reference.layers.context import Context


@dataclass(frozen=True)
class LossTerms:
    """The terms of the loss of every score map, by default the cross-entropy alone, and their options.

    Args:
        cross_entropy: weight of the cross-entropy, which both papers use.
        focal: weight of the focal loss, a cross-entropy in which pixels that are already right weigh little, as
            ``focal_gamma`` says (Lin et al. 2017).
        dice: weight of the Dice loss, one minus the overlap of predicted and true regions, as a mean over the
            classes of a batch (Milletari et al. 2016).
        lovasz: weight of the Lovász-softmax loss, a surrogate of one minus the mIoU of a batch (Berman et al.
            2018).
        focal_gamma: exponent of one minus the probability of the true class, by which the focal loss weighs a
            pixel.
        hard_pixel_threshold: if set, the cross-entropy is taken over hard pixels alone, those whose true class has
            at most this probability, and over as many of the hardest as ``hard_pixel_fraction`` asks for
            (Shrivastava et al. 2016).
        hard_pixel_fraction: smallest fraction of a batch's labelled pixels that counts as hard.
    """

    cross_entropy: float = 1.0
    focal: float = 0.0
    dice: float = 0.0
    lovasz: float = 0.0
    focal_gamma: float = 2.0
    hard_pixel_threshold: float | None = None
    hard_pixel_fraction: float = 1 / 16

    def __post_init__(self) -> None:
        for name, value in (*self.weights().items(), ("focal_gamma", self.focal_gamma)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if not any(self.weights().values()):
            *others, last = self.weights()
            raise ValueError(f"{', '.join(others)} and {last} are all 0: one of these weights must be larger")
        threshold, fraction = self.hard_pixel_threshold, self.hard_pixel_fraction
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"hard_pixel_threshold must be a number from 0 to 1, got {threshold}")
        if threshold is not None and not self.cross_entropy:
            raise ValueError(f"hard_pixel_threshold is {threshold}, but cross_entropy, for which it chooses, is 0")
        if not 0 < fraction <= 1:
            raise ValueError(f"hard_pixel_fraction must be greater than 0 and at most 1, got {fraction}")

    def weights(self) -> dict[str, float]:
        """The weight of each term.

        >>> LossTerms(dice=0.5).weights()
        {'cross_entropy': 1.0, 'focal': 0.0, 'dice': 0.5, 'lovasz': 0.0}
        """
        return {
            "cross_entropy": self.cross_entropy, "focal": self.focal, "dice": self.dice, "lovasz": self.lovasz,
        }  # fmt: skip


class MapLoss:
    """The loss of a score map, and its gradient.

    Args:
        terms: which, with their weights.
        class_weights: one weight a class, or None; for the terms that are means over pixels.
        ignore_label: pixels with this label have no part in the loss.
    """

    def __init__(self, terms: LossTerms, class_weights: Sequence[float] | None, ignore_label: int) -> None:
        self.terms = terms
        self.class_weights = class_weights
        self.ignore_label = ignore_label

    def forward(self, name: str, logits: Array, labels: Array, ctx: Context) -> dict[str, Array]:
        """Each term, before its weight, of ``logits (B, H, W, K)`` against ``labels (B, H, W)``."""
        values, terms, ignored = {}, self.terms, {"ignore_label": self.ignore_label}
        weighted = ignored | {"class_weights": self._class_weights(logits, ctx)}
        if terms.cross_entropy:
            hard = self._hard_pixels(logits, labels, ctx)  # (B, H, W)
            values["cross_entropy"] = ctx.save(
                f"{name}.cross_entropy", ctx.ops.softmax_cross_entropy(logits, hard, **weighted)
            )
        if terms.focal:
            values["focal"] = ctx.save(
                f"{name}.focal", ctx.ops.softmax_focal(logits, labels, **weighted, gamma=terms.focal_gamma)
            )
        if terms.dice:
            values["dice"] = ctx.save(f"{name}.dice", ctx.ops.softmax_dice(logits, labels, **ignored))
        if terms.lovasz:
            values["lovasz"] = ctx.save(f"{name}.lovasz", ctx.ops.lovasz_softmax(logits, labels, **ignored))
        return values

    def backward(self, name: str, dloss: float, ctx: Context) -> Array:
        """From ``dloss``, the derivative by the weighted sum of the terms: ``dlogits (B, H, W, K)``."""
        dlogits, terms = [], self.terms
        if terms.lovasz:
            dlogits.append(ctx.ops.lovasz_softmax_backward(terms.lovasz * dloss, ctx.saved(f"{name}.lovasz")))
        if terms.dice:
            dlogits.append(ctx.ops.softmax_dice_backward(terms.dice * dloss, ctx.saved(f"{name}.dice")))
        if terms.focal:
            dlogits.append(ctx.ops.softmax_focal_backward(terms.focal * dloss, ctx.saved(f"{name}.focal")))
        if terms.cross_entropy:
            dterm = terms.cross_entropy * dloss
            dlogits.append(ctx.ops.softmax_cross_entropy_backward(dterm, ctx.saved(f"{name}.cross_entropy")))
        total = dlogits[0]
        for each in dlogits[1:]:
            total = total + each
        return total

    def _hard_pixels(self, logits: Array, labels: Array, ctx: Context) -> Array:
        """The labels that the cross-entropy is taken over."""
        if self.terms.hard_pixel_threshold is None:
            return labels
        return ctx.ops.hard_pixels(
            logits, labels, ignore_label=self.ignore_label, threshold=self.terms.hard_pixel_threshold,
            least=self.terms.hard_pixel_fraction,
        )  # fmt: skip

    def _class_weights(self, logits: Array, ctx: Context) -> Array | None:
        if self.class_weights is None:
            return None
        return ctx.ops.asarray(self.class_weights, logits.dtype)
