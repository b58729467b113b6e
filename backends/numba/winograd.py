r"""3×3 convolutions of stride 1 by Winograd's minimal filtering: F(4×4, 3×3) of Lavin and Gray, CVPR 2016.

Four outputs y of a filter with three taps g need six products of inputs d, not twelve:

.. math:: y = A^T \left[ (G g) \odot (B^T d) \right]

Along rows and columns, a tile of 4×4 outputs needs 36 products instead of 144. With channels, these are products of
matrices with a row for each tile: BLAS computes four times less. The matrices follow from six points at which the
polynomials of filter and inputs are multiplied; 0, 1, −1, 1/2, −2 and ∞ lose the fewest digits (Barabasz, Anderson,
Soodhalter and Gregg, ACM TOMS 2020). In float32 the error is below 5e-6 of the largest output.

Some rows of tiles at a time go through three steps, each on all threads: inputs are combined along the columns of
tiles and then along the rows; BLAS computes the 36 products; and these are combined into outputs. With dilation d,
the pixels of a tile are d apart, and d × d tiles interleave: tile row t starts at row ``4d·(t // d) + t % d`` of
the outputs, and columns likewise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numba import get_thread_id

from backends.numba import blas, gemm
from backends.numba.compile import aligned, inlined, inner, kernel, scratch, workspace
from backends.numba.constants import Constant
from backends.numba.finish import Finish, finish_pixel
from backends.numba.memory import carve
from backends.numpy import winograd

#: Tiles computed at a time, about, within these numbers of values of their combined inputs and outputs.
_TILES, _FEWEST, _MOST = 256, 1 << 21, 1 << 23
#: With so many tiles, transforming the weights takes less than a twentieth of the time, and they are not stored.
_MANY_TILES = 1 << 10


def pays(x_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: int, padding: int, dilation: int) -> bool:
    """Whether this convolution can be computed here and is faster so, borders of tiles included."""
    return winograd.pays(x_shape, weight_shape, stride, padding, dilation, tile=4)


def convolve(
    x: np.ndarray, weight: np.ndarray, finish: Finish, *, padding: int, dilation: int,
    overwritten: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve ``x (B, H, W, Ci)`` with ``weight (3, 3, Ci, Co)``: ``(B, H', W', Co)``, with the epilogue.

    The output may overwrite the residual of the epilogue, since each pixel is read before it is written.
    """
    grow = 2 * (padding - dilation)
    y = overwritten
    if y is None:
        y = np.empty((x.shape[0], x.shape[1] + grow, x.shape[2] + grow, weight.shape[3]), x.dtype)
    if isinstance(weight, Constant):
        _convolve_constant(x, weight, finish, padding, dilation, y)
    else:
        _convolve(x, weight, finish, padding, dilation, False, y)
    return y


def input_gradient(dy: np.ndarray, weight: np.ndarray, *, padding: int, dilation: int) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the convolution of dy with the flipped taps."""
    finish = Finish.of(weight[0, 0].T)  # which changes nothing
    grow = 2 * (dilation - padding)
    dx = np.empty((dy.shape[0], dy.shape[1] + grow, dy.shape[2] + grow, weight.shape[2]), dy.dtype)
    _convolve(dy, weight, finish, 2 * dilation - padding, dilation, True, dx)
    return dx


def weight_gradient(x: np.ndarray, dy: np.ndarray, *, padding: int, dilation: int) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (3, 3, Ci, Co)``."""
    channels, outputs = x.shape[3], dy.shape[3]
    cut, combined = _cut(dy, channels, dilation)
    shared = workspace(combined + 36 * channels * outputs, x.dtype)
    du = shared[combined:].reshape(36, channels, outputs)
    memory = _memory(dy, channels, dilation)
    for first, rows, columns, v, dm in _parts(dy, channels, dilation, cut, shared):
        _combine_inputs(rows, x, first, padding, dilation, columns, memory, v, dy.shape[1])
        _combine_output_gradients(rows, dy, first, dilation, columns, memory, dm)
        _multiply_transposed(36, v, dm, du, first > 0)
    dweight = np.empty((3, 3, channels, outputs), x.dtype)
    _combine_weight_gradients(channels, du, memory, dweight)
    return dweight


def _convolve(
    x: np.ndarray, weight: np.ndarray, finish: Finish, padding: int, dilation: int, flipped: bool, y: np.ndarray
) -> None:
    cut, combined = _cut(y, x.shape[3], dilation)
    shared = workspace(combined + 4 * weight.size, x.dtype)
    u = shared[combined:].reshape(36, *weight.shape[2:])
    _transform_weight(weight.shape[2], weight, flipped, scratch(18 * weight.shape[3], x.dtype), u[:, None])
    memory = _memory(y, x.shape[3], dilation)
    for first, rows, columns, v, m in _parts(y, x.shape[3], dilation, cut, shared):
        _combine_inputs(rows, x, first, padding, dilation, columns, memory, v, y.shape[1])
        _multiply(36, v, u, flipped, m)
        _combine_products(rows, m, first, dilation, columns, memory, *finish, y)


def _convolve_constant(
    x: np.ndarray, weight: Constant, finish: Finish, padding: int, dilation: int, y: np.ndarray
) -> None:
    """With a constant weight, whose transform is stored in the panels of :mod:`backends.numba.gemm`."""
    channels, outputs = weight.shape[2:]
    cut, combined = _cut(y, channels, dilation)
    shape = (36, *gemm.panels_of((channels, outputs), weight.dtype))
    size = int(np.prod(shape))

    def transform(memory: np.ndarray) -> np.ndarray:
        u = memory.reshape(shape)
        _transform_weight(channels, np.asarray(weight), False, scratch(18 * outputs, x.dtype), u)
        return u

    def new() -> np.ndarray:
        return transform(aligned(size, x.dtype))

    has_many_tiles = y.size >= 16 * outputs * _MANY_TILES
    u = new() if has_many_tiles else weight.derive("winograd", size, new)
    shared = workspace(combined + (size if u is None else 0), x.dtype)
    if u is None:
        u = transform(shared[combined:])
    memory = _memory(y, channels, dilation)
    for first, rows, columns, v, m in _parts(y, channels, dilation, cut, shared):
        _combine_inputs(rows, x, first, padding, dilation, columns, memory, v, y.shape[1])
        _multiply_panels(36, v, u, m)
        _combine_products(rows, m, first, dilation, columns, memory, *finish, y)


def _cut(y: np.ndarray, channels: int, dilation: int) -> tuple[int, int]:
    """The number of bands of ``4·dilation`` rows of outputs computed at a time, and their combined values."""
    bands, columns = -(-y.shape[1] // (4 * dilation)), -(-y.shape[2] // (4 * dilation)) * dilation
    values = 36 * dilation * columns * (channels + y.shape[3])
    most = min(max(_FEWEST, _TILES * 36 * (channels + y.shape[3])), _MOST)
    parts = -(-len(y) * bands * values // most)
    cut = -(-len(y) * bands // parts)
    return cut, cut * values


def _parts(
    y: np.ndarray, channels: int, dilation: int, cut: int, shared: np.ndarray
) -> Iterator[tuple[int, int, int, np.ndarray, np.ndarray]]:
    """For each ``cut`` bands: the first, the rows and columns of tiles, and memory for their combined values."""
    bands = len(y) * -(-y.shape[1] // (4 * dilation))
    columns = -(-y.shape[2] // (4 * dilation)) * dilation
    for first in range(0, bands, cut):
        rows = min(cut, bands - first) * dilation
        inputs, outputs = ((36, rows * columns, width) for width in (channels, y.shape[3]))
        end = math.prod(inputs)
        yield (
            first, rows, columns, shared[:end].reshape(inputs),
            shared[end : end + math.prod(outputs)].reshape(outputs),
        )  # fmt: skip


def _memory(y: np.ndarray, channels: int, dilation: int) -> np.ndarray:
    """For each thread: a row of tiles, combined along its columns, and some zeros."""
    width, outputs = y.shape[2] + 6 * dilation, y.shape[3]
    return scratch((6 * width + 1) * max(channels, outputs) + 24 * outputs, y.dtype)


# The filter in one dimension. The constants are exact float32, so that results in float32 do not become float64.

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
def _multiply(n, v, u, flipped, m):
    if flipped:
        blas.multiply(v[n], u[n].T, m[n], False)
    else:
        blas.multiply(v[n], u[n], m[n], False)


@kernel
def _multiply_panels(n, v, u, m):
    gemm.multiply(v[n], u[n], m[n], False)


@kernel
def _multiply_transposed(n, v, dm, du, add):
    blas.multiply(v[n].T, dm[n], du[n], add)


@kernel
def _combine_weight_gradients(c, du, memory, dweight):
    """``dweight (3, 3, Ci, Co)`` from ``du (36, Ci, Co)``."""
    outputs = du.shape[2]
    half, _ = carve(memory[get_thread_id()], 0, (3, 6, outputs))
    for b in range(6):
        du_0, du_1, du_2 = du[b, c], du[6 + b, c], du[12 + b, c]
        du_3, du_4, du_5 = du[18 + b, c], du[24 + b, c], du[30 + b, c]
        for k in range(outputs):
            half[0, b, k], half[1, b, k], half[2, b, k] = _tap_gradients(
                du_0[k], du_1[k], du_2[k], du_3[k], du_4[k], du_5[k]
            )
    for i in range(3):
        du_0, du_1, du_2 = half[i, 0], half[i, 1], half[i, 2]
        du_3, du_4, du_5 = half[i, 3], half[i, 4], half[i, 5]
        dg_0, dg_1, dg_2 = dweight[i, 0, c], dweight[i, 1, c], dweight[i, 2, c]
        for k in range(outputs):
            dg_0[k], dg_1[k], dg_2[k] = _tap_gradients(du_0[k], du_1[k], du_2[k], du_3[k], du_4[k], du_5[k])


@kernel
def _transform_weight(c, weight, flipped, memory, u):
    """``u (36, panels, Ci, width)`` of the taps, or of the taps in reversed order; one panel may have all of Co."""
    outputs, panels, width = weight.shape[3], u.shape[1], u.shape[3]
    first, last = (2, 0) if flipped else (0, 2)
    zero = weight.dtype.type(0)
    half, _ = carve(memory[get_thread_id()], 0, (6, 3, outputs))
    for j in range(3):
        g_0, g_1, g_2 = weight[first, j, c], weight[1, j, c], weight[last, j, c]
        u_0, u_1, u_2, u_3, u_4, u_5 = half[0, j], half[1, j], half[2, j], half[3, j], half[4, j], half[5, j]
        for k in range(outputs):
            u_0[k], u_1[k], u_2[k], u_3[k], u_4[k], u_5[k] = _taps(g_0[k], g_1[k], g_2[k])
    for a in range(6):
        for panel in range(panels):
            here = slice(panel * width, min(outputs, (panel + 1) * width))
            g_0, g_1, g_2 = half[a, first, here], half[a, 1, here], half[a, last, here]
            u_0, u_1, u_2 = u[6 * a, panel, c], u[6 * a + 1, panel, c], u[6 * a + 2, panel, c]
            u_3, u_4, u_5 = u[6 * a + 3, panel, c], u[6 * a + 4, panel, c], u[6 * a + 5, panel, c]
            for k in range(len(g_0)):
                u_0[k], u_1[k], u_2[k], u_3[k], u_4[k], u_5[k] = _taps(g_0[k], g_1[k], g_2[k])
            for k in range(len(g_0), width):
                u_0[k], u_1[k], u_2[k], u_3[k], u_4[k], u_5[k] = zero, zero, zero, zero, zero, zero


@inner
def _place(first, t, height, d):
    """The image of the tile row t after the band ``first`` of the batch, and its first row in that image."""
    bands, band = -(-height // (4 * d)), first + t // d
    return band // bands, 4 * d * (band % bands) + t % d


@kernel
def _combine_inputs(t, x, first, padding, d, columns, memory, v, output_height):
    """``v (36, tiles, C)`` for a tile row, from six rows of the padded image, d apart."""
    number, top = _place(first, t, output_height, d)
    image, top = x[number], top - padding
    height, width, channels = image.shape
    buffer = memory[get_thread_id()]
    row, end = carve(buffer, 0, (6, 4 * columns + 2 * d, channels))
    zeros, _ = carve(buffer, end, (channels,))
    zeros[:] = 0
    inside = min(width, row.shape[1] - padding)
    row[:, :padding] = 0
    row[:, padding + inside :] = 0
    for q in range(inside):
        d_0 = image[top, q] if 0 <= top < height else zeros
        d_1 = image[top + d, q] if 0 <= top + d < height else zeros
        d_2 = image[top + 2 * d, q] if 0 <= top + 2 * d < height else zeros
        d_3 = image[top + 3 * d, q] if 0 <= top + 3 * d < height else zeros
        d_4 = image[top + 4 * d, q] if 0 <= top + 4 * d < height else zeros
        d_5 = image[top + 5 * d, q] if 0 <= top + 5 * d < height else zeros
        p = padding + q
        v_0, v_1, v_2, v_3, v_4, v_5 = row[0, p], row[1, p], row[2, p], row[3, p], row[4, p], row[5, p]
        for c in range(channels):
            v_0[c], v_1[c], v_2[c], v_3[c], v_4[c], v_5[c] = _inputs(d_0[c], d_1[c], d_2[c], d_3[c], d_4[c], d_5[c])
    for s in range(columns):
        q, tile = 4 * d * (s // d) + s % d, t * columns + s
        for a in range(6):
            d_0, d_1, d_2 = row[a, q], row[a, q + d], row[a, q + 2 * d]
            d_3, d_4, d_5 = row[a, q + 3 * d], row[a, q + 4 * d], row[a, q + 5 * d]
            v_0, v_1, v_2 = v[6 * a, tile], v[6 * a + 1, tile], v[6 * a + 2, tile]
            v_3, v_4, v_5 = v[6 * a + 3, tile], v[6 * a + 4, tile], v[6 * a + 5, tile]
            for c in range(channels):
                v_0[c], v_1[c], v_2[c], v_3[c], v_4[c], v_5[c] = _inputs(
                    d_0[c], d_1[c], d_2[c], d_3[c], d_4[c], d_5[c]
                )


@kernel
def _combine_products(t, m, first, d, columns, memory, bias, residual, least, y):
    """The outputs ``y (B, H, W, C)`` of a tile row, from ``m (36, tiles, C)``."""
    image, top = _place(first, t, y.shape[1], d)
    before, out = (image * y.shape[1] + top) * y.shape[2], y[image, top:]
    height, width, channels = out.shape
    z, _ = carve(memory[get_thread_id()], 0, (6, 4, channels))
    for s in range(columns):
        q, tile = 4 * d * (s // d) + s % d, t * columns + s
        for a in range(6):
            m_0, m_1, m_2 = m[6 * a, tile], m[6 * a + 1, tile], m[6 * a + 2, tile]
            m_3, m_4, m_5 = m[6 * a + 3, tile], m[6 * a + 4, tile], m[6 * a + 5, tile]
            z_0, z_1, z_2, z_3 = z[a, 0], z[a, 1], z[a, 2], z[a, 3]
            for c in range(channels):
                z_0[c], z_1[c], z_2[c], z_3[c] = _outputs(m_0[c], m_1[c], m_2[c], m_3[c], m_4[c], m_5[c])
        for column in range(min(4, -(-(width - q) // d))):
            m_0, m_1, m_2, m_3 = z[0, column], z[1, column], z[2, column], z[3, column]
            m_4, m_5 = z[4, column], z[5, column]
            for c in range(channels):
                y_0, y_1, y_2, y_3 = _outputs(m_0[c], m_1[c], m_2[c], m_3[c], m_4[c], m_5[c])
                m_0[c], m_1[c], m_2[c], m_3[c] = y_0, y_1, y_2, y_3
            for r in range(min(4, -(-height // d))):
                pixel = before + r * d * width + q + column * d
                finish_pixel(z[r, column], pixel, 0, bias, residual, least, out[r * d, q + column * d])


@kernel
def _combine_output_gradients(t, dy, first, d, columns, memory, dm):
    """``dm (36, tiles, C)`` for a tile row, from four rows of ``dy (B, H, W, C)``, d apart; 0 beyond its edges."""
    image, top = _place(first, t, dy.shape[1], d)
    given = dy[image]
    height, width, channels = given.shape
    buffer = memory[get_thread_id()]
    row, end = carve(buffer, 0, (6, 4 * columns, channels))
    zeros, _ = carve(buffer, end, (channels,))
    zeros[:] = 0
    row[:, width:] = 0
    for q in range(width):
        dy_0 = given[top, q] if top < height else zeros
        dy_1 = given[top + d, q] if top + d < height else zeros
        dy_2 = given[top + 2 * d, q] if top + 2 * d < height else zeros
        dy_3 = given[top + 3 * d, q] if top + 3 * d < height else zeros
        dm_0, dm_1, dm_2, dm_3, dm_4, dm_5 = row[0, q], row[1, q], row[2, q], row[3, q], row[4, q], row[5, q]
        for c in range(channels):
            dm_0[c], dm_1[c], dm_2[c], dm_3[c], dm_4[c], dm_5[c] = _output_gradients(
                dy_0[c], dy_1[c], dy_2[c], dy_3[c]
            )
    for s in range(columns):
        q, tile = 4 * d * (s // d) + s % d, t * columns + s
        for a in range(6):
            dy_0, dy_1, dy_2, dy_3 = row[a, q], row[a, q + d], row[a, q + 2 * d], row[a, q + 3 * d]
            dm_0, dm_1, dm_2 = dm[6 * a, tile], dm[6 * a + 1, tile], dm[6 * a + 2, tile]
            dm_3, dm_4, dm_5 = dm[6 * a + 3, tile], dm[6 * a + 4, tile], dm[6 * a + 5, tile]
            for c in range(channels):
                dm_0[c], dm_1[c], dm_2[c], dm_3[c], dm_4[c], dm_5[c] = _output_gradients(
                    dy_0[c], dy_1[c], dy_2[c], dy_3[c]
                )
