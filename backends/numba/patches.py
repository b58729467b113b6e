"""Convolutions of any kind as products with patches, as :mod:`backends.numpy.patches` defines them.

The product reads each patch from the image when it needs it, so that no matrix of patches is ever stored.
"""

from __future__ import annotations

import numpy as np
from numba import get_thread_id

from backends.numba import gemm
from backends.numba.compile import inner, kernel, scratch, workspace
from backends.numba.finish import Finish, finish_pixel
from backends.numba.memory import carve, view
from backends.numba.products import add_in_order, blocks_of_product, packed, parts_of_product
from backends.numpy.windows import Windows

#: Values in the patches of a block, and in their gradients under one row of taps.
_VALUES, _GRADIENT_VALUES = 1 << 18, 1 << 16


def convolve(x: np.ndarray, weight: np.ndarray, finish: Finish, windows: Windows) -> np.ndarray:
    """Convolve ``x (B, H, W, Ci)`` with ``weight (kh, kw, Ci, Co)``: ``(B, H', W', Co)``, with the epilogue."""
    length, outputs = int(np.prod(weight.shape[:3])), weight.shape[3]
    y = np.empty((len(x), *windows.size, outputs), x.dtype)
    cut = _rows(windows.size[0], windows.size[1] * length, _VALUES)
    blocks = len(x) * -(-windows.size[0] // cut)
    _convolve(
        blocks, x, packed(weight), not finish.is_trivial, *finish, windows.taps, _steps(windows), cut, y
    )
    return y


def input_gradient(
    dy: np.ndarray, weight: np.ndarray, x_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the sum of the gradients of all patches."""
    taps, (channels, outputs) = windows.taps, weight.shape[2:]
    length = taps[1] * channels  # of the pixels under a row of taps
    dx = np.empty(x_shape, dy.dtype)
    values = -(-windows.size[1] * length // windows.stride)  # for each row of the image
    cut = _rows(x_shape[1], values, _GRADIENT_VALUES)
    cut = min(x_shape[1], -(-cut // windows.stride) * windows.stride)
    memory = scratch(-(-cut // windows.stride) * windows.size[1] * length, dy.dtype)
    shape = taps[0], *gemm.panels_of((outputs, length), dy.dtype)
    panels = workspace(int(np.prod(shape)), dy.dtype).reshape(shape)
    _pack_rows_of_taps(shape[0] * shape[1], np.asarray(weight).reshape(taps[0], length, outputs), panels)
    _input_gradient(len(dx) * -(-x_shape[1] // cut), dy, panels, taps, _steps(windows), cut, memory, dx)
    return dx


def weight_gradient(
    x: np.ndarray, dy: np.ndarray, weight_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (kh, kw, Ci, Co)``."""
    length, outputs = int(np.prod(weight_shape[:3])), weight_shape[3]
    pixels = dy.reshape(-1, outputs)
    height, sums, dweight = parts_of_product(length, pixels)
    memory = scratch(gemm.DEPTH * (gemm.STEP + height + gemm.ROWS + gemm.COLUMNS), x.dtype)
    blocks = blocks_of_product(height, dweight) * (len(sums) + 1)
    _weight_gradient(
        blocks, x, pixels, windows.size, windows.taps, _steps(windows), height, memory, sums, dweight
    )
    return add_in_order(sums, dweight).reshape(weight_shape)


def _steps(windows: Windows) -> tuple[int, int, int]:
    return windows.stride, windows.padding, windows.dilation


def _rows(height: int, values: int, most: int) -> int:
    """Rows of a block with at most ``most`` values, at least one; blocks have about the same size."""
    rows = max(1, min(height, most // values))
    return -(-height // -(-height // rows))


@kernel
def _convolve(block, x, panels, finishes, bias, residual, least, taps, steps, cut, y):
    height, width, outputs = y.shape[1:]
    depth, panel_width = panels.shape[1:]
    blocks, group = -(-height // cut), gemm.COLUMNS // panel_width
    image, first = block // blocks, block % blocks * cut
    picture, part = x[image], y[image, first : first + cut]
    pixels = view(part, 0, (len(part) * width, outputs))
    copies, edge = gemm.rows_of_tile(x), gemm.edge_of_tile(x)
    copies[:] = 0
    for leftmost in range(0, len(panels), group):
        for start in range(0, depth, gemm.DEPTH):
            stop = min(depth, start + gemm.DEPTH)
            row, column = first, 0
            for top in range(0, len(pixels), gemm.ROWS):
                for i in range(min(gemm.ROWS, len(pixels) - top)):
                    _copy_patch(picture, taps, steps, row, column, start, stop, copies, i * gemm.STEP)
                    column += 1
                    if column == width:
                        row, column = row + 1, 0
                for p in range(leftmost, min(len(panels), leftmost + group)):
                    left, place = p * panel_width, (p * depth + start) * panel_width
                    gemm.multiply_tile(
                        copies, 0, panels, place, stop - start, top, left, edge, pixels, start > 0
                    )
    if finishes:
        before = (image * height + first) * width
        for pixel in range(len(pixels)):
            finish_pixel(pixels[pixel], before + pixel, 0, bias, residual, least, pixels[pixel])


@kernel
def _pack_rows_of_taps(block, weight, panels):
    """``panels (kh, panels, Co, width)`` of the transposed weights ``(kh, kw·Ci, Co)`` of each row of taps."""
    across, width = panels.shape[1], panels.shape[3]
    i, p = block // across, block % across
    gemm.pack(weight[i].T[:, p * width : (p + 1) * width], panels[i, p : p + 1])


@kernel
def _input_gradient(block, dy, panels, taps, steps, cut, memory, dx):
    stride, padding, dilation = steps
    height, width, channels = dx.shape[1:]
    windows, columns, outputs = dy.shape[1:]
    blocks, length = -(-height // cut), taps[1] * channels
    image, first = block // blocks, block % blocks * cut
    part = dx[image, first : first + cut]
    part[:] = 0
    for i in range(taps[0]):
        # The rows of windows whose taps i are over rows of this block.
        top = max(0, -((dilation * i - padding - first) // stride))
        bottom = min(windows, (first + len(part) - 1 + padding - dilation * i) // stride + 1)
        if bottom <= top:
            continue
        pixels = (bottom - top) * columns
        dpatches, _ = carve(memory[get_thread_id()], 0, (pixels, length))
        given = view(dy[image, top:bottom], 0, (pixels, outputs))
        gemm.multiply(given, panels[i], dpatches, False)
        for pixel in range(pixels):
            row = stride * (top + pixel // columns) - padding + dilation * i - first
            left, values = stride * (pixel % columns) - padding, dpatches[pixel]
            if dilation == 1 and 0 <= left <= width - taps[1]:  # one piece of the row
                piece = view(part, (row * width + left) * channels, (length,))
                for k in range(length):
                    piece[k] += values[k]
                continue
            for j in range(taps[1]):
                q = left + dilation * j
                if 0 <= q < width:
                    piece, more = view(part, (row * width + q) * channels, (channels,)), values[j * channels :]
                    for c in range(channels):
                        piece[c] += more[c]


@kernel
def _weight_gradient(block, x, dy, size, taps, steps, height, memory, sums, dweight):
    """The transposed product of all patches with ``dy (pixels, Co)``, as in :mod:`backends.numba.products`."""
    length, outputs = dweight.shape
    parts, across = len(sums) + 1, -(-outputs // gemm.COLUMNS)
    blocks, pixels, width = -(-length // height) * across, size[0] * size[1], gemm.width_of(dy)
    part = block // blocks
    top, left = block % blocks // across * height, block % across * gemm.COLUMNS
    bottom, right = min(length, top + height), min(outputs, left + gemm.COLUMNS)
    first, last = part * len(dy) // parts, (part + 1) * len(dy) // parts
    out = dweight[top:bottom, left:right] if part == 0 else sums[part - 1, top:bottom, left:right]
    for start in range(first, last, gemm.DEPTH):
        stop = min(last, start + gemm.DEPTH)
        buffer = memory[get_thread_id()]
        patches, end = carve(buffer, 0, (stop - start, gemm.STEP))
        tiles, end = gemm.carve_panels(buffer, end, stop - start, bottom - top, gemm.ROWS)
        panels, _ = gemm.carve_panels(buffer, end, stop - start, right - left, width)
        for k in range(stop - start):
            image, place = (start + k) // pixels, (start + k) % pixels
            row, column = place // size[1], place % size[1]
            _copy_patch(x[image], taps, steps, row, column, top, bottom, patches, k * gemm.STEP)
        gemm.pack(patches[:, : bottom - top], tiles)
        gemm.pack(dy[start:stop, left:right], panels)
        gemm.multiply_transposed(tiles, panels, out, start > first)


@inner
def _copy_patch(image, taps, steps, row, column, start, stop, copies, place):
    """The values from ``start`` to ``stop`` of the patch under a window on ``image (H, W, C)``; 0 outside of it.

    Some values after them, fewer than two vectors have, may be overwritten, too.
    """
    stride, padding, dilation = steps
    height, width, channels = image.shape
    top, left, length = stride * row - padding, stride * column - padding, taps[1] * channels
    is_whole = dilation == 1 and 0 <= left <= width - taps[1]  # one piece of each row
    if is_whole and 0 <= top <= height - taps[0] and start == 0 and stop == taps[0] * length:
        first, row_step, last = (top * width + left) * channels, width * channels, (taps[0] - 1) * length
        few = gemm.width_of(image)
        if length <= few and last + few <= gemm.STEP and first + (taps[0] - 1) * row_step + few <= image.size:
            for i in range(taps[0]):
                gemm.copy_two_vectors(image, first + i * row_step, copies, place + i * length)
        else:
            for i in range(taps[0]):
                gemm.copy_loosely(image, first + i * row_step, copies, place + i * length, length, image.size)
        return
    for i in range(start // length, (stop - 1) // length + 1):
        r, tap = top + dilation * i, i * taps[1]
        is_inside = 0 <= r < height
        if is_whole or not is_inside:
            first = (r * width + left) * channels
            _copy_piece(image, is_inside, first, tap * channels, length, start, stop, copies, place)
        else:
            for j in range(taps[1]):
                q = left + dilation * j
                first, to, is_inside = (r * width + q) * channels, (tap + j) * channels, 0 <= q < width
                _copy_piece(image, is_inside, first, to, channels, start, stop, copies, place)


@inner
def _copy_piece(image, is_inside, from_, to, length, start, stop, copies, place):
    """The values between ``start`` and ``stop`` of a piece that starts at ``to`` in a patch, or zeros for them."""
    first, last = max(start, to), min(stop, to + length)
    if last <= first:
        return
    if is_inside:
        gemm.copy_loosely(image, from_ + first - to, copies, place + first - start, last - first, image.size)
    else:
        view(copies, place + first - start, (last - first,))[:] = 0
