"""Passes of a network over images of one size, whose results are in the network's own resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Array, Ops
from reference.layers.context import Context
from segattn_cli.data.normalise import FACTOR, OFFSET, normalise
from segattn_cli.errors import NonFiniteError

Size = tuple[int, int]


class NetworkOutput(NamedTuple):
    """What the network gives for an image, in every pass over it."""

    maps: tuple[Array, ...]  # the scores (1, h', w', K) of each pass, in the network's own resolution
    scale_weights: np.ndarray | None  # as of a Prediction
    is_finite: bool

    def require_finite(self) -> None:
        """Raise :class:`NonFiniteError` for scores that say nothing."""
        if not self.is_finite:
            raise NonFiniteError(
                "The network's scores hold a NaN or an infinity, so they predict nothing: take an earlier "
                "checkpoint."
            )


class Passes:
    """Passes over whole images, or windows, each of which may be a batch."""

    def __init__(self, network: Any, params: Mapping[str, Array], ops: Ops, dtype: np.dtype) -> None:
        self.network = network
        self.params = params
        self.ops = ops
        self.dtype = dtype
        self.factor, self.offset = ops.asarray(FACTOR), ops.asarray(OFFSET)

    def outputs(self, images: np.ndarray) -> list[NetworkOutput]:
        """Those of one pass over ``images`` (B, h, w, 3), for each of them: uint8, or normalised float32.

        The backend normalises, so that a byte a value is copied to a GPU.
        """
        batch = self.ops.asarray(np.ascontiguousarray(images))  # (B, h, w, 3)
        if images.dtype == np.uint8:
            batch = normalise(batch, self.factor, self.offset)
        batch = batch.astype(self.dtype, copy=False)
        ctx = Context(self.ops, self.params, overwrite=True)
        with np.errstate(all="ignore"):
            scores, weights = self.network.predict_with_weights(batch, ctx)  # (B, h', w', K), (B, h', w', S)
            largest = self.ops.to_numpy(abs(scores).max((1, 2, 3)).astype(np.float32, copy=False))  # (B,)
        scores = scores.astype(np.float32, copy=False)
        if weights is not None:
            weights = self.ops.to_numpy(weights.astype(np.float32, copy=False))
        return [
            NetworkOutput(
                (scores[each : each + 1],),
                None if weights is None else weights[each].mean((0, 1)),
                bool(np.isfinite(largest[each])),
            )
            for each in range(len(images))
        ]

    def resized(self, maps: Array, size: Size) -> Array:
        """``maps`` (1, h, w, K) at ``size``."""
        if maps.shape[1:3] == size:
            return maps
        resized, _ = self.ops.resize_bilinear(maps, size, align_corners=self.network.config.align_corners)
        return resized

    def rows_of(self, maps: Array, size: Size, rows: tuple[int, int]) -> Array:
        """Some rows of what ``maps`` (1, h, w, K) are at ``size``: (rows, W, K)."""
        align_corners = self.network.config.align_corners
        return self.ops.resize_bilinear_rows(maps, size, rows, align_corners=align_corners)[0]


def joined(outputs: Sequence[NetworkOutput]) -> NetworkOutput:
    """Those of several passes over one image as one; the scale weights are the mean."""
    weights = [each.scale_weights for each in outputs if each.scale_weights is not None]
    return NetworkOutput(
        tuple(maps for each in outputs for maps in each.maps),
        np.mean(weights, axis=0) if weights else None,
        all(each.is_finite for each in outputs),
    )
