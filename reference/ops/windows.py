"""The geometry that convolution and pooling share: a window of taps that slides over a padded image.

There is one window of ``kh × kw`` taps for each output pixel. Tap ``(i, j)`` of the window of output pixel
``(h, w)`` lies on the padded pixel ``(h·stride + i·dilation, w·stride + j·dilation)``. So the pixels under tap
``(i, j)`` of all windows are one strided slice of the padded image, of the size of the output.
"""

from __future__ import annotations

import numpy as np

from reference.ops.checks import OpError


def output_size(
    op: str, size: tuple[int, int], window: tuple[int, int], *, stride: int, padding: int, dilation: int = 1
) -> tuple[int, int]:
    """Number of windows: ``⌊(size + 2·padding − dilation·(window − 1) − 1) / stride⌋ + 1`` along each axis.

    Raises :class:`OpError` where the padded image is smaller than one window.

    >>> output_size("conv2d", (480, 360), (7, 7), stride=2, padding=3)
    (240, 180)
    """
    spread = [dilation * (taps - 1) + 1 for taps in window]
    height, width = (
        (pixels + 2 * padding - extent) // stride + 1 for pixels, extent in zip(size, spread, strict=True)
    )
    if min(height, width) < 1:
        raise OpError(
            f"{op}: x is {size[0]}×{size[1]} with padding {padding}, "
            f"wants at least the {spread[0]}×{spread[1]} of one window."
        )
    return height, width


def under_tap(i: int, j: int, size: tuple[int, int], *, stride: int, dilation: int = 1) -> tuple[slice, ...]:
    """The padded pixels on which tap ``(i, j)`` lies, one for each of the ``size`` output pixels.

    >>> np.arange(7)[under_tap(0, 2, (1, 3), stride=2)[2]]
    array([2, 4, 6])
    """
    top, left = i * dilation, j * dilation
    rows = slice(top, top + stride * (size[0] - 1) + 1, stride)
    columns = slice(left, left + stride * (size[1] - 1) + 1, stride)
    return slice(None), rows, columns


def pad(x: np.ndarray, padding: int, value: float = 0.0) -> np.ndarray:
    """Each image of ``x (B, H, W, C)``, surrounded by ``padding`` pixels of ``value``."""
    around = (padding, padding)
    return np.pad(x, ((0, 0), around, around, (0, 0)), constant_values=value)


def crop(x_padded: np.ndarray, padding: int) -> np.ndarray:
    """Remove the padding. As it has constant values, this is also the backward pass of :func:`pad`."""
    _, height, width, _ = x_padded.shape
    return x_padded[:, padding : height - padding, padding : width - padding]
