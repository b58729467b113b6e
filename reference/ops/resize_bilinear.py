"""Bilinear resizing of maps to an explicit size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays, check_gradient, check_integers


class ResizeBilinearCache(NamedTuple):
    vertical: np.ndarray  # (H', H)
    horizontal: np.ndarray  # (W', W)
    x_shape: tuple[int, ...]


def resize_bilinear(
    x: np.ndarray, size: tuple[int, int], *, align_corners: bool = False
) -> tuple[np.ndarray, ResizeBilinearCache]:
    """Resize each map X to ``size = (H', W')``, by linear interpolation along columns and along rows. ::

        Y = R_H · X · R_Wᵀ

    for each channel. A row of the interpolation matrix R_H ``(H', H)`` holds the weights of the two input rows
    next to one output row: see ``interpolation_matrix`` below. The size is explicit, since a factor can miss it by
    a pixel, and maps of several scales must have the same grid.

    Shapes: ``x (B, H, W, C)`` of any floating dtype → ``(B, H', W', C)``. Its own size gives back the same values.
    Caches the two matrices, which is all that a linear map's backward pass needs. Raises :class:`OpError` for
    other shapes or dtypes and for a size that is not two positive integers.

    >>> x = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    >>> resize_bilinear(x, (1, 4))[0].ravel()
    array([0., 1., 3., 4.])
    >>> resize_bilinear(x, (1, 5), align_corners=True)[0].ravel()
    array([0., 1., 2., 3., 4.])
    """
    check_resize_bilinear(x, size)

    vertical = interpolation_matrix(x.shape[1], size[0], align_corners).astype(x.dtype)  # (H', H)
    horizontal = interpolation_matrix(x.shape[2], size[1], align_corners).astype(x.dtype)  # (W', W)
    y = np.einsum("yh,bhwc,xw->byxc", vertical, x, horizontal, optimize=True, order="C")  # (B, H', W', C)
    return y, ResizeBilinearCache(vertical, horizontal, x.shape)


def resize_bilinear_backward(dy: np.ndarray, cache: ResizeBilinearCache) -> np.ndarray:
    """From ``dy (B, H', W', C)``: ``dx (B, H, W, C)``, by the transposed matrices ``R_Hᵀ · dY · R_W``.

    An input pixel collects from each output pixel with the weight that it gave.

    >>> y, cache = resize_bilinear(np.zeros((1, 1, 2, 1)), (1, 4))
    >>> resize_bilinear_backward(np.array([1.0, 0.0, 4.0, 0.0]).reshape(1, 1, 4, 1), cache).ravel()
    array([2., 3.])
    """
    vertical, horizontal, (batch, _, _, channels) = cache
    y_shape = (batch, len(vertical), len(horizontal), channels)
    check_gradient("resize_bilinear_backward", dy, y_shape, vertical.dtype)
    # y = np.einsum("yh,bhwc,xw->byxc", vertical, x, horizontal, optimize=True, order="C")
    return np.einsum("yh,byxc,xw->bhwc", vertical, dy, horizontal, optimize=True, order="C")  # (B, H, W, C)


def resize_bilinear_rows(
    x: np.ndarray, size: tuple[int, int], rows: tuple[int, int], *, align_corners: bool = False
) -> np.ndarray:
    """The rows from ``rows[0]`` to before ``rows[1]`` of what :func:`resize_bilinear` gives for this ``size``.

    A prediction needs one number of each pixel, so it resizes a few rows of the scores at a time. The op has no
    derivative and no cache. ``x (B, H, W, C)`` → ``(B, rows, W', C)``. Raises :class:`OpError`, also for rows that
    are not within the size.

    >>> resize_bilinear_rows(np.array([0.0, 4.0]).reshape(1, 2, 1, 1), (4, 1), (1, 3)).ravel()
    array([1., 3.])
    """
    check_resize_bilinear(x, size)
    check_rows(size, rows)
    vertical = interpolation_matrix(x.shape[1], size[0], align_corners).astype(x.dtype)[slice(*rows)]
    horizontal = interpolation_matrix(x.shape[2], size[1], align_corners).astype(x.dtype)  # (W', W)
    return np.einsum("yh,bhwc,xw->byxc", vertical, x, horizontal, optimize=True, order="C")  # (B, rows, W', C)


def interpolation_matrix(size_in: int, size_out: int, align_corners: bool) -> np.ndarray:
    """The matrix ``(size_out, size_in)``, float64, of linear interpolation along one axis.

    >>> interpolation_matrix(2, 3, align_corners=True)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    before, after, fraction = neighbours(size_in, size_out, align_corners)
    out = np.arange(size_out)
    matrix = np.zeros((size_out, size_in))
    matrix[out, before] += 1 - fraction
    matrix[out, after] += fraction
    return matrix


def neighbours(size_in: int, size_out: int, align_corners: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The input samples before and after each output sample, and its position between them (0 to 1), float64.

    Output sample o is at ``o·(size_in − 1) / (size_out − 1)`` with ``align_corners``, where first and last
    samples of both grids coincide, and otherwise at ``(o + ½)·size_in / size_out − ½``, where pixels are areas
    and the outer edges coincide. Beyond the first and the last input sample the value stays constant.

    >>> neighbours(2, 3, align_corners=True)
    (array([0, 0, 1]), array([1, 1, 1]), array([0. , 0.5, 0. ]))
    """
    out = np.arange(size_out)
    if align_corners:
        position = out * (size_in - 1) / max(size_out - 1, 1)
    else:
        position = np.clip((out + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    before = position.astype(np.intp)  # (size_out,)
    after = np.minimum(before + 1, size_in - 1)
    return before, after, position - before


def check_resize_bilinear(x: Any, size: Any) -> None:
    """Check the arguments of a resizing.

    >>> check_resize_bilinear(np.zeros((1, 2, 2, 3)), 4)
    Traceback (most recent call last):
    reference.ops.checks.OpError: resize_bilinear: size is 4, wants (height, width).
    """
    check_arrays("resize_bilinear", x=(x, "B H W C"))
    if np.shape(size) != (2,):
        raise OpError(f"resize_bilinear: size is {size}, wants (height, width).")
    check_integers("resize_bilinear", at_least=1, height=size[0], width=size[1])


def check_rows(size: tuple[int, int], rows: Any) -> None:
    """Check that the rows are some of a map of this size."""
    if np.shape(rows) != (2,) or not 0 <= rows[0] < rows[1] <= size[0]:
        raise OpError(
            f"resize_bilinear_rows: rows are {rows}, want (first, last) with 0 <= first < last <= {size[0]}."
        )
