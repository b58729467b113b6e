"""What heads and networks return."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
#: The scores beside the main ones, which only the loss wants, in the order in which heads compute them.
AUXILIARIES = ("position", "channel", "auxiliary")


class HeadOutputs(NamedTuple):
    """What a head makes of one image's features.

    ``scores`` has ``"main"``, the scores that predict, and those of :data:`AUXILIARIES` that the network has: for
    ``dual`` the scores of the branches alone, and with an auxiliary head its own.
    """

    features: Array  # (B, h, w, C), what the main classifier sees
    scores: dict[str, Array]  # each (B, h, w, K)


class Outputs(NamedTuple):
    """What a network makes of a batch of images; every map stands on the grid of scale 1.

    ``scores["main"]`` predicts; with scales it is the fused map, and ``"scale 0.5"`` and so on are what was
    fused. ``"position"`` and ``"channel"`` are the branches of a dual head and ``"auxiliary"`` is the auxiliary
    head; with scales, ``"position scale 0.5"`` and so on.
    """

    scores: dict[str, Array]  # each (B, h, w, K)
    scale_weights: Array | None = None  # (B, h, w, S), adding to 1 over S; None unless attention fuses
    scale_classes: Array | None = None  # (S + 1, B, S + 1) logits: row m is map m, 0 the fused one; None without
