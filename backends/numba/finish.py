"""The epilogue of a product: bias, residual and ReLU, applied while the output is in the cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.numba.compile import inner


class Finish(NamedTuple):
    """``max(z + bias + residual, least)`` for each pixel."""

    bias: np.ndarray  # (Co,)
    residual: np.ndarray  # (pixels, Co), or no pixels
    least: np.floating  # 0 rectifies, −∞ does not

    @classmethod
    def of(
        cls, weight: np.ndarray, bias: np.ndarray | None = None, residual: np.ndarray | None = None, *,
        relu: bool = False,
    ) -> Finish:
        """The epilogue of a product with ``weight (…, Co)``."""
        outputs, dtype = weight.shape[-1], weight.dtype
        return cls(
            np.zeros(outputs, dtype) if bias is None else np.require(bias, requirements=["C", "W"]),
            np.empty((0, outputs), dtype) if residual is None
            else np.require(residual, requirements=["C", "W"]).reshape(-1, outputs),
            dtype.type(0 if relu else -np.inf),
        )  # fmt: skip

    @property
    def is_trivial(self) -> bool:
        """Whether it changes nothing."""
        return not (self.bias.any() or len(self.residual) or np.isfinite(self.least))


@inner
def finish_pixel(z, pixel, first, bias, residual, least, y):
    """``y (C,)`` from ``z (C,)``, the channels from ``first`` on of a pixel; both may be the same memory."""
    part = bias[first : first + len(z)]
    if len(residual) > 0:
        more = residual[pixel, first : first + len(z)]
        for c in range(len(z)):
            value = z[c] + part[c] + more[c]
            y[c] = least if value < least else value
    else:
        for c in range(len(z)):
            value = z[c] + part[c]
            y[c] = least if value < least else value
