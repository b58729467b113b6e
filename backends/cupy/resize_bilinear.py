"""Bilinear resizing, one axis after the other, and its adjoint as a gather: no atomics."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.launch import c_type, launch, lines
from reference.ops.checks import OpError, check_integers
from reference.ops.resize_bilinear import check_rows


class ResizeBilinearCache(NamedTuple):
    x_shape: tuple[int, ...]
    dtype: np.dtype
    size: tuple[int, int]
    align_corners: bool


def resize_bilinear(
    x: cupy.ndarray, size: tuple[int, int], *, align_corners: bool = False
) -> tuple[cupy.ndarray, ResizeBilinearCache]:
    """Resize each map to ``size = (H', W')``: along columns, then along rows."""
    x = _checked(x, size)
    y = _along(x, 1, size[0], align_corners)  # (B, H', W, C)
    y = _along(y, 2, size[1], align_corners)  # (B, H', W', C)
    return y, ResizeBilinearCache(x.shape, x.dtype, (size[0], size[1]), align_corners)


def resize_bilinear_backward(dy: cupy.ndarray, cache: ResizeBilinearCache) -> cupy.ndarray:
    """From ``dy (B, H', W', C)``: ``dx (B, H, W, C)``, the weighted sums of dy."""
    (batch, height, width, channels), dtype, size, align_corners = cache
    dy = checked_gradient("resize_bilinear_backward", dy, (batch, *size, channels), dtype)
    # y = _along(y, 2, size[1])
    dy = _along(dy, 2, width, align_corners, adjoint=True)  # (B, H', W, C)
    # y = _along(x, 1, size[0])
    return _along(dy, 1, height, align_corners, adjoint=True)  # (B, H, W, C)


def resize_bilinear_rows(
    x: cupy.ndarray, size: tuple[int, int], rows: tuple[int, int], *, align_corners: bool = False
) -> cupy.ndarray:
    """These rows of the resized maps: along rows, then along columns, since few of the former remain."""
    x = _checked(x, size)
    check_rows(size, rows)
    part = cupy.ascontiguousarray(_along(x, 1, size[0], align_corners)[:, slice(*rows)])  # (B, rows, W, C)
    return _along(part, 2, size[1], align_corners)  # (B, rows, W', C)


def _checked(x: cupy.ndarray, size: tuple[int, int]) -> cupy.ndarray:
    (x,) = checked("resize_bilinear", x=(x, "B H W C"))
    if len(size) != 2:
        raise OpError(f"resize_bilinear: size is {size}, wants (height, width).")
    check_integers("resize_bilinear", at_least=1, height=size[0], width=size[1])
    return x


def _along(x: cupy.ndarray, axis: int, size: int, align_corners: bool, *, adjoint: bool = False) -> cupy.ndarray:
    """Interpolate one axis to ``size``; the adjoint maps the gradient of an output to that of ``size`` inputs."""
    before = x.shape[axis]
    if before == size:
        return x
    y = cupy.empty((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    outer, inner = int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis + 1 :]))
    kernel = "interpolate_backward" if adjoint else "interpolate"
    size_in, size_out = (size, before) if adjoint else (before, size)
    ratio = (size_in - 1) / max(size_out - 1, 1) if align_corners else size_in / size_out
    launch(
        "resize_bilinear.cu", f"{kernel}<{c_type(x)}>", *lines(outer * size, inner),
        x, y, outer, size_in, size_out, inner, float(ratio), align_corners,
    )
    return y
