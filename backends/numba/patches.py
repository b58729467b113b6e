"""Convolutions of any kind as products with patches, as :mod:`backends.numpy.patches` defines them."""

from __future__ import annotations

import numpy as np
from numba import get_thread_id, prange

from backends.numba import gemm
from backends.numba.compile import inner, kernel, scratch
from backends.numba.finish import Finish, finish_pixel
from backends.numba.products import add_transposed, packed
from backends.numba.windows import carve
from backends.numpy.windows import Windows

#: Values in the patches of a block, and in those of a part of the batch for the gradient of the weights.
_VALUES, _GRADIENT_VALUES = 1 << 18, 1 << 22


def convolve(x: np.ndarray, weight: np.ndarray, finish: Finish, windows: Windows) -> np.ndarray:
    """Convolve ``x (B, H, W, Ci)`` with ``weight (kh, kw, Ci, Co)``: ``(B, H', W', Co)``, with the epilogue."""
    length, outputs = int(np.prod(weight.shape[:3])), weight.shape[3]
    y = np.empty((len(x), *windows.size, outputs), x.dtype)
    cut = _rows(windows.size[0], windows.size[1] * length, _VALUES)
    memory = scratch(cut * windows.size[1] * length, x.dtype)
    panels = packed(weight)
    _convolve(x, panels, finish, windows.taps, _steps(windows), cut, memory, y)
    return y


def input_gradient(
    dy: np.ndarray, weight: np.ndarray, x_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the sum of the gradients of all patches."""
    length = int(np.prod(weight.shape[:3]))
    dx = np.empty(x_shape, dy.dtype)
    values = -(-windows.size[1] * length // windows.stride)  # for each row of the image
    cut = _rows(x_shape[1], values, _VALUES)
    reach = windows.dilation * (windows.taps[0] - 1)
    most = min(windows.size[0], (cut + reach) // windows.stride + 1)  # rows of windows over a block
    memory = scratch(most * windows.size[1] * length, dy.dtype)
    panels = packed(weight.reshape(length, -1).T)
    _input_gradient(dy, panels, windows.taps, _steps(windows), cut, memory, dx)
    return dx


def weight_gradient(
    x: np.ndarray, dy: np.ndarray, weight_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (kh, kw, Ci, Co)``."""
    length, outputs = int(np.prod(weight_shape[:3])), weight_shape[3]
    dweight = np.zeros((length, outputs), x.dtype)
    cut = _rows(windows.size[0], windows.size[1] * length, _GRADIENT_VALUES)
    patches = np.empty((cut * windows.size[1], length), x.dtype)
    for image in range(len(x)):
        for first in range(0, windows.size[0], cut):
            rows = dy[image, first : first + cut]
            part = patches[: rows.size // outputs]
            _copy_patches(x[image], windows.taps, _steps(windows), first, part.reshape(len(rows), -1, length))
            add_transposed(part, rows.reshape(-1, outputs), dweight)
    return dweight.reshape(weight_shape)


def _steps(windows: Windows) -> tuple[int, int, int]:
    return windows.stride, windows.padding, windows.dilation


def _rows(height: int, values: int, most: int) -> int:
    """Rows of a block with at most ``most`` values, at least one; blocks have about the same size."""
    rows = max(1, min(height, most // values))
    return -(-height // -(-height // rows))


@kernel
def _convolve(x, panels, finish, taps, steps, cut, memory, y):
    batch, height, width, outputs = y.shape
    length = panels.shape[1]
    blocks = -(-height // cut)
    for block in prange(batch * blocks):
        image, first = block // blocks, block % blocks * cut
        part = y[image, first : first + cut]
        patches, _ = carve(memory[get_thread_id()], 0, (len(part), width, length))
        for row in range(len(part)):
            _copy_row(x[image], taps, steps, first + row, patches[row])
        pixels = part.reshape((len(part) * width, outputs))
        gemm.multiply(patches.reshape((len(part) * width, length)), panels, pixels, False)
        before = (image * height + first) * width
        for pixel in range(len(pixels)):
            finish_pixel(pixels[pixel], before + pixel, 0, finish, pixels[pixel])


@kernel
def _copy_patches(image, taps, steps, first, patches):
    for row in prange(len(patches)):
        _copy_row(image, taps, steps, first + row, patches[row])


@kernel
def _input_gradient(dy, panels, taps, steps, cut, memory, dx):
    stride, padding, dilation = steps
    batch, height, width, channels = dx.shape
    windows, columns, outputs = dy.shape[1:]
    blocks = -(-height // cut)
    for block in prange(batch * blocks):
        image, first = block // blocks, block % blocks * cut
        part = dx[image, first : first + cut]
        part[:] = 0
        # The rows of windows over any of these rows; neighbouring blocks share some of them.
        top = max(0, -((dilation * (taps[0] - 1) - first - padding) // stride))
        bottom = min(windows, (first + len(part) - 1 + padding) // stride + 1)
        if bottom <= top:
            continue
        pixels = (bottom - top) * columns
        dpatches, _ = carve(memory[get_thread_id()], 0, (pixels, taps[0] * taps[1] * channels))
        gemm.multiply(dy[image, top:bottom].reshape((pixels, outputs)), panels, dpatches, False)
        by_tap = dpatches.reshape((bottom - top, columns, taps[0], taps[1], channels))
        for window in range(top, bottom):
            for i in range(taps[0]):
                row = stride * window - padding + dilation * i - first
                if not 0 <= row < len(part):
                    continue
                for column in range(columns):
                    left = stride * column - padding
                    if dilation == 1 and 0 <= left <= width - taps[1]:  # one piece of the row
                        line = part[row].reshape(-1)[left * channels :]
                        given = by_tap[window - top, column, i].reshape(-1)
                        for k in range(len(given)):
                            line[k] += given[k]
                        continue
                    for j in range(taps[1]):
                        q = stride * column - padding + dilation * j
                        if 0 <= q < width:
                            pixel, given = part[row, q], by_tap[window - top, column, i, j]
                            for c in range(channels):
                                pixel[c] += given[c]


@inner
def _copy_row(image, taps, steps, row, patches):
    """The patches ``(W', kh·kw·C)`` under a row of windows on ``image (H, W, C)``; 0 outside of it."""
    stride, padding, dilation = steps
    height, width, channels = image.shape
    length = taps[1] * channels
    for column in range(len(patches)):
        patch, left = patches[column], stride * column - padding
        for i in range(taps[0]):
            r = stride * row - padding + dilation * i
            if dilation == 1 and 0 <= r < height and 0 <= left <= width - taps[1]:  # one piece of the row
                piece, place = (r * width + left) * channels, column * patches.shape[1] + i * length
                gemm.copy_values(image, piece, patches, place, length)
                continue
            for j in range(taps[1]):
                q = left + dilation * j
                first = (i * taps[1] + j) * channels
                if 0 <= r < height and 0 <= q < width:
                    pixel = image[r, q]
                    for c in range(channels):
                        patch[first + c] = pixel[c]
                else:
                    for c in range(channels):
                        patch[first + c] = 0
