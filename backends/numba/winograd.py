r"""3×3 convolutions of stride 1 by Winograd's minimal filtering: F(4×4, 3×3) of Lavin and Gray, CVPR 2016.

Four outputs y of a filter with three taps g need six products of inputs d, not twelve:

.. math:: y = A^T \left[ (G g) \odot (B^T d) \right]

Along rows and columns, a tile of 4×4 outputs needs 36 products instead of 144. With channels these are products of
matrices that have a row for each tile: BLAS does four times less. The matrices follow from six points at which the
polynomials of the filter and of the inputs are multiplied; 0, 1, −1, 1/2, −2 and ∞ lose the fewest digits (Barabasz,
Anderson, Soodhalter and Gregg, ACM TOMS 2020). In float32 the error is below 5e-6 of the largest output.

A block of tiles goes through all steps by one thread: its inputs are combined along the columns of tiles and then
along the rows, multiplied by BLAS, and combined into outputs. With dilation d, the pixels of a tile are d apart, and
d × d tiles interleave: tile row t starts at row ``4d·(t // d) + t % d`` of the outputs, and columns likewise.
"""

from __future__ import annotations

import numpy as np
from numba import get_thread_id, prange

from backends.numba import blas
from backends.numba.compile import inlined, inner, kernel, scratch, workspace
from backends.numba.windows import carve
from backends.numpy import winograd

#: About so many tiles make a block, and with few channels so many values of x and y together.
_TILES, _VALUES = 128, 1 << 19
#: So many values of x and dy together are transformed at a time for the gradient of the weights.
_GRADIENT_VALUES = 1 << 23


def pays(x_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: int, padding: int, dilation: int) -> bool:
    """Whether this convolution can be computed here and is quicker for it, borders of tiles included."""
    return winograd.pays(x_shape, weight_shape, stride, padding, dilation, tile=4)


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
    values = 36 * (channels + outputs)
    cut = max(1, min(bands, _GRADIENT_VALUES // (values * columns * dilation)))
    width = 4 * columns + 2 * dilation
    memory = scratch(max((6 * width + 1) * channels, 7 * width * outputs, 18 * outputs), x.dtype)
    size_of_du = 36 * channels * outputs
    shared = workspace(size_of_du + cut * dilation * columns * values, x.dtype)
    du = shared[:size_of_du].reshape(36, channels, outputs)
    dweight = np.empty((3, 3, channels, outputs), x.dtype)
    _weight_gradient(x, dy, padding, dilation, cut, memory, shared[size_of_du:], du, dweight)
    return dweight


def _convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, padding: int, dilation: int, flipped: bool
) -> np.ndarray:
    grow = 2 * (padding - dilation)
    channels, outputs = x.shape[3], weight.shape[2 if flipped else 3]
    y = np.empty((x.shape[0], x.shape[1] + grow, x.shape[2] + grow, outputs), x.dtype)
    bands, columns = _bands_and_columns(y, dilation)
    tiles = max(_TILES, _VALUES // (36 * (channels + outputs)))
    cut = max(1, round(tiles / (columns * dilation)))
    cut = -(-bands // -(-bands // cut))  # blocks of about equal size
    tiles, width = cut * dilation * columns, 4 * columns + 2 * dilation
    memory = scratch((6 * width + 1) * channels + 36 * tiles * (channels + outputs) + 24 * outputs, x.dtype)
    bias = np.zeros(outputs, x.dtype) if bias is None else bias
    u = workspace(4 * weight.size, x.dtype).reshape(36, *weight.shape[2:])
    _transform_weight(weight, flipped, scratch(18 * weight.shape[3], x.dtype), u)
    _convolve_blocks(x, u, flipped, bias, padding, dilation, cut, memory, y)
    return y


def _bands_and_columns(y: np.ndarray, dilation: int) -> tuple[int, int]:
    """How many bands of ``4·dilation`` rows the outputs have, and how many tiles a row of tiles."""
    return -(-y.shape[1] // (4 * dilation)), -(-y.shape[2] // (4 * dilation)) * dilation


# The filter in one dimension. Constants are exact in float32 and make no float64 of it, as Python's own would.

_1_8, _1_4, _1_2, _3_2, _2, _5_2, _3, _4, _8, _15, _16 = np.array(
    [0.125, 0.25, 0.5, 1.5, 2, 2.5, 3, 4, 8, 15, 16], np.float32
)


@inlined
def _inputs(d_0, d_1, d_2, d_3, d_4, d_5):
    """``v = Bᵀ d``."""
    return (
        d_0 - _3_2 * d_1 - _2 * d_2 + _3_2 * d_3 + d_4,
        _1_2 * d_2 - d_1 + _5_2 * d_3 + d_4,
        d_1 - _5_2 * d_2 + _1_2 * d_3 + d_4,
        _2 * d_3 - _2 * d_1 - d_2 + d_4,
        _1_2 * d_1 - d_2 - _1_2 * d_3 + d_4,
        d_1 - _3_2 * d_2 - _2 * d_3 + _3_2 * d_4 + d_5,
    )


@inlined
def _taps(g_0, g_1, g_2):
    """``u = G g``."""
    outer = g_0 + g_2
    return (
        g_0,
        (outer + g_1) / _3,
        (g_1 - outer) / _3,
        -(_16 * g_0 + _8 * g_1 + _4 * g_2) / _15,
        (g_0 - _2 * g_1 + _4 * g_2) / _15,
        g_2,
    )


@inlined
def _outputs(m_0, m_1, m_2, m_3, m_4, m_5):
    """``y = Aᵀ m``."""
    even, odd = m_1 + m_2, m_1 - m_2
    return (
        m_0 + even + m_3 + m_4,
        odd + _1_2 * m_3 - _2 * m_4,
        even + _1_4 * m_3 + _4 * m_4,
        odd + _1_8 * m_3 - _8 * m_4 + m_5,
    )


@inlined
def _output_gradients(dy_0, dy_1, dy_2, dy_3):
    """``dm = A dy``."""
    even, odd = dy_0 + dy_2, dy_1 + dy_3
    return (
        dy_0,
        even + odd,
        even - odd,
        dy_0 + _1_2 * dy_1 + _1_4 * dy_2 + _1_8 * dy_3,
        dy_0 - _2 * dy_1 + _4 * dy_2 - _8 * dy_3,
        dy_3,
    )


@inlined
def _tap_gradients(du_0, du_1, du_2, du_3, du_4, du_5):
    """``dg = Gᵀ du``."""
    difference = (du_1 - du_2) / _3
    return (
        du_0 + difference - (_16 * du_3 - du_4) / _15,
        (du_1 + du_2) / _3 - (_8 * du_3 + _2 * du_4) / _15,
        difference - (_4 * du_3 - _4 * du_4) / _15 + du_5,
    )


# The filter in two dimensions.


@kernel
def _convolve_blocks(x, u, flipped, bias, padding, d, cut, memory, y):
    batch, height, width, outputs = y.shape
    channels = x.shape[3]
    bands, columns = -(-height // (4 * d)), -(-width // (4 * d)) * d
    blocks = -(-bands // cut)
    for block in prange(batch * blocks):
        image, first = block // blocks, block % blocks * cut
        rows = (min(first + cut, bands) - first) * d  # of tiles
        mine = memory[get_thread_id()]
        v, end = carve(mine, 0, (36, rows * columns, channels))
        m, end = carve(mine, end, (36, rows * columns, outputs))
        row, end = carve(mine, end, (6, 4 * columns + 2 * d, channels))
        zeros, end = carve(mine, end, (channels,))
        z, end = carve(mine, end, (6, 4, outputs))
        for t in range(rows):
            top = 4 * d * (first + t // d) + t % d
            part = slice(t * columns, (t + 1) * columns)
            _combine_inputs(x[image], top - padding, padding, d, zeros, row)
            _combine_inputs_of_row(row, d, v[:, part])
        for n in range(36):
            if flipped:
                blas.multiply(v[n], u[n].T, m[n], False)
            else:
                blas.multiply(v[n], u[n], m[n], False)
        for t in range(rows):
            top = 4 * d * (first + t // d) + t % d
            for s in range(columns):
                _combine_products(m[:, t * columns + s], z)
                left = 4 * d * (s // d) + s % d
                for q in range(min(4, -(-(width - left) // d))):
                    _write_outputs(z[:, q], bias, d, y[image, top:, left + q * d])


@kernel
def _weight_gradient(x, dy, padding, d, cut, memory, shared, du, dweight):
    batch, height, width, outputs = dy.shape
    channels = x.shape[3]
    bands, columns = -(-height // (4 * d)), -(-width // (4 * d)) * d
    for image in range(batch):
        for first in range(0, bands, cut):
            rows = (min(first + cut, bands) - first) * d  # of tiles
            v, end = carve(shared, 0, (36, rows * columns, channels))
            dm, end = carve(shared, end, (36, rows * columns, outputs))
            for t in prange(rows):
                mine = memory[get_thread_id()]
                top = 4 * d * (first + t // d) + t % d
                part = slice(t * columns, (t + 1) * columns)
                row, end_of_row = carve(mine, 0, (6, 4 * columns + 2 * d, channels))
                zeros, end_of_row = carve(mine, end_of_row, (channels,))
                _combine_inputs(x[image], top - padding, padding, d, zeros, row)
                _combine_inputs_of_row(row, d, v[:, part])
                drow, end_of_row = carve(mine, 0, (6, 4 * columns, outputs))
                zeros, end_of_row = carve(mine, end_of_row, (outputs,))
                _combine_output_gradients(dy[image], top, d, zeros, drow)
                _combine_output_gradients_of_row(drow, d, dm[:, part])
            for n in prange(36):
                blas.multiply(v[n].T, dm[n], du[n], image + first > 0)
    for c in prange(channels):
        half, _ = carve(memory[get_thread_id()], 0, (3, 6, outputs))
        for b in range(6):
            for k in range(outputs):
                half[0, b, k], half[1, b, k], half[2, b, k] = _tap_gradients(
                    du[b, c, k], du[6 + b, c, k], du[12 + b, c, k], du[18 + b, c, k], du[24 + b, c, k], du[30 + b, c, k]
                )
        for i in range(3):
            for k in range(outputs):
                dweight[i, 0, c, k], dweight[i, 1, c, k], dweight[i, 2, c, k] = _tap_gradients(
                    half[i, 0, k], half[i, 1, k], half[i, 2, k], half[i, 3, k], half[i, 4, k], half[i, 5, k]
                )


@kernel
def _transform_weight(weight, flipped, memory, u):
    """``u (36, Ci, Co)`` of the taps, or of the taps in reversed order."""
    outputs = weight.shape[3]
    first, last = (2, 0) if flipped else (0, 2)
    for c in prange(weight.shape[2]):
        half, _ = carve(memory[get_thread_id()], 0, (6, 3, outputs))
        for j in range(3):
            for k in range(outputs):
                (
                    half[0, j, k], half[1, j, k], half[2, j, k], half[3, j, k], half[4, j, k], half[5, j, k]
                ) = _taps(weight[first, j, c, k], weight[1, j, c, k], weight[last, j, c, k])  # fmt: skip
        for a in range(6):
            for k in range(outputs):
                (
                    u[6 * a, c, k], u[6 * a + 1, c, k], u[6 * a + 2, c, k], u[6 * a + 3, c, k], u[6 * a + 4, c, k],
                    u[6 * a + 5, c, k],
                ) = _taps(half[a, first, k], half[a, 1, k], half[a, last, k])  # fmt: skip


@inner
def _combine_inputs(image, top, padding, d, zeros, row):
    """Along the columns of tiles: ``row (6, W, C)`` from six rows of the padded image, d apart."""
    _, width, channels = image.shape
    zeros[:] = 0
    inside = min(width, row.shape[1] - padding)
    row[:, :padding] = 0
    row[:, padding + inside :] = 0
    for q in range(inside):
        d_0 = image[top, q] if 0 <= top < len(image) else zeros
        d_1 = image[top + d, q] if 0 <= top + d < len(image) else zeros
        d_2 = image[top + 2 * d, q] if 0 <= top + 2 * d < len(image) else zeros
        d_3 = image[top + 3 * d, q] if 0 <= top + 3 * d < len(image) else zeros
        d_4 = image[top + 4 * d, q] if 0 <= top + 4 * d < len(image) else zeros
        d_5 = image[top + 5 * d, q] if 0 <= top + 5 * d < len(image) else zeros
        p = padding + q
        for c in range(channels):
            row[0, p, c], row[1, p, c], row[2, p, c], row[3, p, c], row[4, p, c], row[5, p, c] = _inputs(
                d_0[c], d_1[c], d_2[c], d_3[c], d_4[c], d_5[c]
            )


@inner
def _combine_inputs_of_row(row, d, v):
    """Along a row of tiles: ``v (36, tiles, C)`` from ``row (6, W, C)``."""
    for s in range(v.shape[1]):
        q = 4 * d * (s // d) + s % d
        for a in range(6):
            n = 6 * a
            for c in range(v.shape[2]):
                v[n, s, c], v[n + 1, s, c], v[n + 2, s, c], v[n + 3, s, c], v[n + 4, s, c], v[n + 5, s, c] = _inputs(
                    row[a, q, c], row[a, q + d, c], row[a, q + 2 * d, c], row[a, q + 3 * d, c], row[a, q + 4 * d, c],
                    row[a, q + 5 * d, c],
                )  # fmt: skip


@inner
def _combine_products(m, z):
    """Along the row of a tile: ``z (6, 4, C)`` from ``m (36, C)``."""
    for a in range(6):
        n = 6 * a
        for c in range(m.shape[1]):
            z[a, 0, c], z[a, 1, c], z[a, 2, c], z[a, 3, c] = _outputs(
                m[n, c], m[n + 1, c], m[n + 2, c], m[n + 3, c], m[n + 4, c], m[n + 5, c]
            )


@inner
def _write_outputs(z, bias, d, y):
    """Along a column of a tile: up to four outputs, d apart, of ``y (H, C)`` from ``z (6, C)``."""
    for c in range(z.shape[1]):
        y_0, y_1, y_2, y_3 = _outputs(z[0, c], z[1, c], z[2, c], z[3, c], z[4, c], z[5, c])
        z[0, c], z[1, c], z[2, c], z[3, c] = y_0 + bias[c], y_1 + bias[c], y_2 + bias[c], y_3 + bias[c]
    for r in range(min(4, -(-len(y) // d))):
        for c in range(z.shape[1]):
            y[r * d, c] = z[r, c]


@inner
def _combine_output_gradients(image, top, d, zeros, row):
    """Along the columns of tiles: ``row (6, W, C)`` from four rows of ``dy (H, W, C)``, d apart; 0 beyond its edge."""
    height, width, channels = image.shape
    zeros[:] = 0
    row[:, width:] = 0
    for q in range(min(width, row.shape[1])):
        dy_0 = image[top, q] if top < height else zeros
        dy_1 = image[top + d, q] if top + d < height else zeros
        dy_2 = image[top + 2 * d, q] if top + 2 * d < height else zeros
        dy_3 = image[top + 3 * d, q] if top + 3 * d < height else zeros
        for c in range(channels):
            row[0, q, c], row[1, q, c], row[2, q, c], row[3, q, c], row[4, q, c], row[5, q, c] = _output_gradients(
                dy_0[c], dy_1[c], dy_2[c], dy_3[c]
            )


@inner
def _combine_output_gradients_of_row(row, d, dm):
    """Along a row of tiles: ``dm (36, tiles, C)`` from ``row (6, W, C)``."""
    for s in range(dm.shape[1]):
        q = 4 * d * (s // d) + s % d
        for a in range(6):
            n = 6 * a
            for c in range(dm.shape[2]):
                (
                    dm[n, s, c], dm[n + 1, s, c], dm[n + 2, s, c], dm[n + 3, s, c], dm[n + 4, s, c], dm[n + 5, s, c]
                ) = _output_gradients(row[a, q, c], row[a, q + d, c], row[a, q + 2 * d, c], row[a, q + 3 * d, c])  # fmt: skip
