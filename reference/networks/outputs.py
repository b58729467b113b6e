"""The outputs of heads and networks. Their gradients have the same types, with None where there is no gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Scores(NamedTuple):
    """The score maps of one scale, each ``(B, h, w, K)``; None if the network has no such part.

    Only the loss uses the auxiliaries, which are all but ``main``.
    """

    main: Array  # of the head
    position: Array | None = None  # of a dual head's branches alone
    channel: Array | None = None
    auxiliary: Array | None = None  # of the auxiliary head, or of the head itself where a decoder follows

    def parts(self) -> list[tuple[str, Array]]:
        """The name and the map of each part that is not None, in the order in which a network computes them.

        >>> Scores("f", channel="g").parts()
        [('main', 'f'), ('channel', 'g')]
        """
        return [(name, scores) for name, scores in zip(self._fields, self, strict=True) if scores is not None]

    def auxiliaries(self) -> list[tuple[str, Array]]:
        """As :meth:`parts`, without ``main``."""
        return self._replace(main=None).parts()


class HeadOutputs(NamedTuple):
    """The features and scores of a head, at one scale."""

    features: Array  # (B, h, w, C), the input of the main classifier
    scores: Scores


class Outputs(NamedTuple):
    """The outputs of a network for a batch of images; every map is on the grid of scale 1."""

    main: Array  # (B, h, w, K), the scores that predict: the head's, or fused over the scales
    scales: list[Scores]  # the scores at each scale, in the order of ``NetworkConfig.scales``
    scale_weights: Array | None = None  # (B, h, w, S), adding to 1 over S; None unless attention fuses
    scale_classes: Array | None = None  # (S + 1, B, S + 1) logits: row m is map m, 0 the fused one; None without
