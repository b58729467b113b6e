"""What the loss of one score map is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossTerms:
    """The pixels that the cross-entropy of a score map is taken over.

    Args:
        hard_pixel_threshold: if set, the cross-entropy is taken over hard pixels alone, those whose true class has
            at most this probability, and over as many of the hardest as ``hard_pixel_fraction`` asks for
            (Shrivastava et al. 2016).
        hard_pixel_fraction: smallest fraction of a batch's labelled pixels that counts as hard.
    """

    hard_pixel_threshold: float | None = None
    hard_pixel_fraction: float = 1 / 16

    def __post_init__(self) -> None:
        threshold, fraction = self.hard_pixel_threshold, self.hard_pixel_fraction
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"hard_pixel_threshold must be a number from 0 to 1, got {threshold}")
        if not 0 < fraction <= 1:
            raise ValueError(f"hard_pixel_fraction must be greater than 0 and at most 1, got {fraction}")
