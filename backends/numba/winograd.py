r"""3×3 convolutions of stride 1 by Winograd's minimal filtering; :mod:`backends.numpy.winograd` has the formulas.

A block of tiles goes through all steps while it is in the cache: its window of the padded image is copied, then,
for each of the four combinations along the columns of a tile, combined along the rows, multiplied by BLAS, and
added to the outputs. With dilation d, the pixels of a tile are d apart, and d × d tiles interleave.
"""

from __future__ import annotations

import numpy as np
from numba import get_thread_id, prange

from backends.numba import blas
from backends.numba.compile import inner, kernel, scratch
from backends.numba.windows import carve, copy_window
from backends.numpy.winograd import pays

__all__ = ["convolve", "input_gradient", "pays", "weight_gradient"]

#: About so many tiles make a block.
_TILES = 256
#: So many values of x and dy together are transformed at a time for the gradient of the weights.
_GRADIENT_VALUES = 1 << 22


def convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, padding: int, dilation: int
) -> np.ndarray:
    """Convolve ``x (B, H, W, Ci)`` with ``weight (3, 3, Ci, Co)``: ``(B, H', W', Co)``."""
    return _convolve(x, weight, bias, padding, dilation, False)


def input_gradient(dy: np.ndarray, weight: np.ndarray, *, padding: int, dilation: int) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the convolution of dy with the flipped taps."""
    return _convolve(dy, weight, None, 2 * dilation - padding, dilation, True)


def weight_gradient(x: np.ndarray, dy: np.ndarray, *, padding: int, dilation: int) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (3, 3, Ci, Co)``."""
    channels, outputs = x.shape[3], dy.shape[3]
    bands, columns = _bands_and_columns(dy, dilation)
    values = 16 * (channels + outputs)
    cut = max(1, min(bands, _GRADIENT_VALUES // (values * columns * dilation)))
    width = 2 * (columns + dilation)
    memory = scratch(max(5 * width * channels, 3 * width * outputs, 12 * outputs), x.dtype)
    shared = np.empty(cut * dilation * columns * values, x.dtype)
    du = np.empty((4, 4, channels, outputs), x.dtype)
    dweight = np.empty((3, 3, channels, outputs), x.dtype)
    _weight_gradient(x, dy, padding, dilation, cut, memory, shared, du, dweight)
    return dweight


def _convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, padding: int, dilation: int, flipped: bool
) -> np.ndarray:
    grow = 2 * (padding - dilation)
    channels, outputs = x.shape[3], weight.shape[2 if flipped else 3]
    y = np.empty((x.shape[0], x.shape[1] + grow, x.shape[2] + grow, outputs), x.dtype)
    bands, columns = _bands_and_columns(y, dilation)
    cut = max(1, round(_TILES / (columns * dilation)))
    cut = -(-bands // -(-bands // cut))  # blocks of about equal size
    tiles, width = cut * dilation * columns, 2 * (columns + dilation)
    rows = 2 * dilation * cut
    memory = scratch(
        (rows + 2 * dilation + cut * dilation) * width * channels  # the window, and it combined along columns
        + 4 * tiles * (channels + outputs) + rows * 2 * columns * outputs,
        x.dtype,
    )  # fmt: skip
    bias = np.zeros(outputs, x.dtype) if bias is None else bias
    _convolve_blocks(x, _transform(weight), flipped, bias, padding, dilation, cut, memory, y)
    return y


def _bands_and_columns(y: np.ndarray, dilation: int) -> tuple[int, int]:
    """How many bands of ``2·dilation`` rows the outputs have, and how many tiles a row of tiles."""
    return -(-y.shape[1] // (2 * dilation)), -(-y.shape[2] // (2 * dilation)) * dilation


def _transform(weight: np.ndarray) -> np.ndarray:
    """``u = G g Gᵀ`` of the weights ``(3, 3, Ci, Co)``: 4 × 4 matrices ``(Ci, Co)``."""
    u = np.empty((4, 4, *weight.shape[2:]), weight.dtype)
    _transform_weight(weight, scratch(12 * weight.shape[3], weight.dtype), u)
    return u


# Compiled from here on. A tile row t starts at row 2d·(t // d) + t % d of its window; columns likewise.


@kernel
def _convolve_blocks(x, u, flipped, bias, padding, d, cut, memory, y):
    batch, height, width, outputs = y.shape
    channels = x.shape[3]
    bands, columns = -(-height // (2 * d)), -(-width // (2 * d)) * d
    blocks = -(-bands // cut)
    for block in prange(batch * blocks):
        image, first = block // blocks, block % blocks * cut
        rows = (min(first + cut, bands) - first) * d  # of tiles
        mine = memory[get_thread_id()]
        seen, end = carve(mine, 0, (2 * (rows + d), 2 * (columns + d), channels))
        row, end = carve(mine, end, (rows, 2 * (columns + d), channels))
        v, end = carve(mine, end, (4, rows * columns, channels))
        m, end = carve(mine, end, (4, rows * columns, outputs))
        out, end = carve(mine, end, (2 * rows, 2 * columns, outputs))
        copy_window(x[image], 2 * d * first - padding, -padding, seen)
        for i in range(4):
            _combine_inputs(i, seen, d, row)
            _combine_inputs_of_rows(row, d, columns, v)
            for j in range(4):
                if flipped:  # u of the flipped taps
                    blas.multiply(v[j], u[_flip(i), _flip(j)].T, m[j], False)
                else:
                    blas.multiply(v[j], u[i, j], m[j], False)
            _add_outputs(i, m, d, columns, out)
        for r in range(min(2 * rows, height - 2 * d * first)):
            for q in range(width):
                for c in range(outputs):
                    y[image, 2 * d * first + r, q, c] = out[r, q, c] + bias[c]


@kernel
def _weight_gradient(x, dy, padding, d, cut, memory, shared, du, dweight):
    batch, height, width, outputs = dy.shape
    channels = x.shape[3]
    bands, columns = -(-height // (2 * d)), -(-width // (2 * d)) * d
    for image in range(batch):
        for first in range(0, bands, cut):
            rows = (min(first + cut, bands) - first) * d  # of tiles
            v, end = carve(shared, 0, (16, rows * columns, channels))
            dm, end = carve(shared, end, (16, rows * columns, outputs))
            for t in prange(rows):
                mine = memory[get_thread_id()]
                top = 2 * d * (first + t // d) + t % d
                part = slice(t * columns, (t + 1) * columns)
                seen, end = carve(mine, 0, (4, 2 * (columns + d), channels))
                row, end = carve(mine, end, (1, 2 * (columns + d), channels))
                for a in range(4):
                    copy_window(x[image], top + a * d - padding, -padding, seen[a : a + 1])
                for i in range(4):
                    _combine_inputs(i, seen, 1, row)
                    _combine_inputs_of_rows(row, d, columns, v[4 * i : 4 * i + 4, part])
                given, end = carve(mine, 0, (2, 2 * columns, outputs))
                drow, end = carve(mine, end, (2 * columns, outputs))
                for a in range(2):
                    copy_window(dy[image], top + a * d, 0, given[a : a + 1])
                for i in range(4):
                    _combine_output_gradients(i, given, drow)
                    _combine_output_gradients_of_row(drow, d, columns, dm[4 * i : 4 * i + 4, part])
            for n in prange(16):
                blas.multiply(v[n].T, dm[n], du[n // 4, n % 4], image + first > 0)
    for c in prange(channels):
        half = memory[get_thread_id()][: 12 * outputs].reshape((3, 4, outputs))
        for j in range(4):
            _gather_taps(du[0, j, c], du[1, j, c], du[2, j, c], du[3, j, c], half[:, j])
        for i in range(3):
            _gather_taps(half[i, 0], half[i, 1], half[i, 2], half[i, 3], dweight[i, :, c])


@kernel
def _transform_weight(weight, memory, u):
    for c in prange(weight.shape[2]):
        half = memory[get_thread_id()][: 12 * weight.shape[3]].reshape((4, 3, -1))
        for j in range(3):
            _spread_taps(weight[0, j, c], weight[1, j, c], weight[2, j, c], half[:, j])
        for i in range(4):
            _spread_taps(half[i, 0], half[i, 1], half[i, 2], u[i, :, c])


@inner
def _spread_taps(g_0, g_1, g_2, u):
    """``u = G g``, three taps to four."""
    for k in range(len(g_0)):
        outer = g_0[k] + g_2[k]
        u[0, k] = g_0[k]
        u[1, k] = (outer + g_1[k]) / 2
        u[2, k] = (outer - g_1[k]) / 2
        u[3, k] = g_2[k]


@inner
def _gather_taps(du_0, du_1, du_2, du_3, dg):
    """``dg = Gᵀ du``."""
    for k in range(len(du_0)):
        half = (du_1[k] + du_2[k]) / 2
        dg[0, k] = du_0[k] + half
        dg[1, k] = (du_1[k] - du_2[k]) / 2
        dg[2, k] = half + du_3[k]


@inner
def _flip(n):
    """u of the flipped taps is u in this order: 3, 1, 2, 0."""
    return n if n == 1 or n == 2 else 3 - n


@inner
def _combine_inputs(n, seen, d, row):
    """``v_n`` along the columns of tiles: ``row (tile rows, W, C)`` from ``seen (H, W, C)``."""
    for t in range(len(row)):
        d_0 = 2 * d * (t // d) + t % d
        a, b = seen[d_0 + n * d], seen[d_0 + (1 if n == 2 or n == 3 else 2) * d]
        sign = 1 if n == 1 else -1
        for q in range(row.shape[1]):
            for c in range(row.shape[2]):
                row[t, q, c] = a[q, c] + sign * b[q, c]


@inner
def _combine_inputs_of_rows(row, d, columns, v):
    """All four ``v_n`` along the rows of tiles: ``v (4, tiles, C)``."""
    for t in range(len(row)):
        for s in range(columns):
            q, tile = 2 * d * (s // d) + s % d, t * columns + s
            for c in range(row.shape[2]):
                d_0, d_1, d_2, d_3 = row[t, q, c], row[t, q + d, c], row[t, q + 2 * d, c], row[t, q + 3 * d, c]
                v[0, tile, c] = d_0 - d_2
                v[1, tile, c] = d_1 + d_2
                v[2, tile, c] = d_2 - d_1
                v[3, tile, c] = d_3 - d_1


@inner
def _add_outputs(n, m, d, columns, out):
    """Add ``m_n`` to the outputs ``y_0 = m_0 + m_1 + m_2`` and ``y_1 = m_1 - m_2 + m_3``, along both axes."""
    for t in range(m.shape[1] // columns):
        r = 2 * d * (t // d) + t % d
        for s in range(columns):
            q, tile = 2 * d * (s // d) + s % d, t * columns + s
            for c in range(m.shape[2]):
                m_0, m_1, m_2, m_3 = m[0, tile, c], m[1, tile, c], m[2, tile, c], m[3, tile, c]
                left, right = m_0 + m_1 + m_2, m_1 - m_2 + m_3
                if n == 0:
                    out[r, q, c] = left
                    out[r, q + d, c] = right
                elif n == 1:
                    out[r, q, c] += left
                    out[r, q + d, c] += right
                    out[r + d, q, c] = left
                    out[r + d, q + d, c] = right
                elif n == 2:
                    out[r, q, c] += left
                    out[r, q + d, c] += right
                    out[r + d, q, c] -= left
                    out[r + d, q + d, c] -= right
                else:
                    out[r + d, q, c] += left
                    out[r + d, q + d, c] += right


@inner
def _combine_output_gradients(n, given, row):
    """``dm_n`` along the columns of a row of tiles: ``row (W, C)`` from the two rows of dy ``given (2, W, C)``."""
    first, second = (0 if n == 3 else 1), (0 if n == 0 else -1 if n == 2 else 1)
    for q in range(row.shape[0]):
        for c in range(row.shape[1]):
            row[q, c] = first * given[0, q, c] + second * given[1, q, c]


@inner
def _combine_output_gradients_of_row(row, d, columns, dm):
    """All four ``dm_n`` along a row of tiles: ``dm (4, columns, C)``."""
    for s in range(columns):
        q = 2 * d * (s // d) + s % d
        for c in range(row.shape[1]):
            dy_0, dy_1 = row[q, c], row[q + d, c]
            dm[0, s, c] = dy_0
            dm[1, s, c] = dy_0 + dy_1
            dm[2, s, c] = dy_0 - dy_1
            dm[3, s, c] = dy_1
