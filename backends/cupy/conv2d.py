"""Two-dimensional convolution by matrix products, and the choice between them.

A 1×1 convolution of stride 1 is one product. Any other is a product and a move of data, in one order or the other.
The intermediate result, a row of *columns* for each pixel, is most of the traffic, so the narrower columns are
chosen:

================  =======================================  =============================  =====================
                  forward                                  backward                       columns
================  =======================================  =============================  =====================
gather first      gather the pixels under each window,     the same, transposed: product  (pixels, kh·kw·Ci)
                  multiply by the weights                  first, then each input pixel
                                                           collects
product first     multiply each input pixel by all taps'   the same, transposed: gather   (pixels, kh·kw·Co)
(stride 1 only)   weights, each output pixel collects      dy once, for both products
================  =======================================  =============================  =====================

Strides, padding and dilation change only which pixels are gathered or collected. Columns are computed for as many
pixels at a time as fit into :data:`SCRATCH_BYTES`.

In float16, bfloat16 and TF32, which use the matrix units, cuDNN computes the convolutions that need more than one
product, if its frontend is installed and it has an algorithm: its columns stay on the chip. In float32 the products
above are faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import cupy

from backends.cupy import cudnn
from backends.cupy.channel_sum import channel_sum
from backends.cupy.checks import checked, checked_gradient
from backends.cupy.gemm import gemm, tf32_allowed
from backends.cupy.launch import c_type, launch, lines
from backends.cupy.pointwise import ReluCache, finish, relu_backward
from backends.precision import vector_dtype
from reference.ops.checks import HALVES, OpError, check_integers
from reference.ops.windows import output_size

#: The most memory that the columns of one product may take.
SCRATCH_BYTES = 256 * 2**20


class Conv2dCache(NamedTuple):
    x: cupy.ndarray  # (B, H, W, Ci)
    weight: cupy.ndarray  # (kh, kw, Ci, Co)
    has_bias: bool
    stride: int
    padding: int
    dilation: int
    packed: cupy.ndarray | None = None  # (Co, kh, kw, Ci): the weight as cuDNN reads it, if cuDNN computes


class Conv2dReluCache(NamedTuple):
    conv: Conv2dCache
    relu: ReluCache
    has_residual: bool


class Taps(NamedTuple):
    """Tap (i, j) of pixel (h, w) lies on ``(h·stride − padding + i·dilation, w·stride − padding + j·dilation)``."""

    kh: int
    kw: int
    stride: int
    padding: int
    dilation: int

    def reversed(self) -> Taps:
        """The taps that, at stride 1, lie on the pixels whose windows have this pixel under a tap."""
        return self._replace(padding=-self.padding, dilation=-self.dilation)


def conv2d(
    x: cupy.ndarray,
    weight: cupy.ndarray,
    bias: cupy.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[cupy.ndarray, Conv2dCache]:
    """Slide a window of weights over the image."""
    x, weight, bias = checked("conv2d", x=(x, "B H W Ci"), weight=(weight, "kh kw Ci Co"), bias=(bias, "Co"))
    y, cache = _convolve("conv2d", x, weight, bias is not None, stride, padding, dilation)
    return (y if bias is None else finish(y, y, bias)), cache


def conv2d_backward(
    dy: cupy.ndarray, cache: Conv2dCache, *, needs_dx: bool = True
) -> tuple[cupy.ndarray | None, cupy.ndarray, cupy.ndarray | None]:
    """From ``dy (B, H', W', Co)``: ``dx``, ``dweight``, and ``dbias`` or None."""
    x, weight, has_bias, stride, padding, dilation, packed = cache
    size = _output_size("conv2d", x.shape[1:3], weight.shape[:2], stride, padding, dilation)
    dy = checked_gradient("conv2d_backward", dy, (len(x), *size, weight.shape[3]), x.dtype)

    taps = _taps(cache)
    inputs, outputs = weight.shape[2:]
    dx, dweight = cupy.empty(x.shape, x.dtype) if needs_dx else None, cupy.empty(weight.shape, weight.dtype)
    if _is_pointwise(taps):
        gemm(_rows(x).T, _rows(dy), _rows(dweight))
        if dx is not None:
            gemm(_rows(dy), _rows(weight).T, _rows(dx))
    elif packed is not None and _gradients_by_cudnn(x, packed, dy, dx, dweight, taps):
        pass  # both are there
    elif taps.stride == 1 and outputs <= inputs:
        by_output = cupy.ascontiguousarray(weight.transpose(0, 1, 3, 2)).reshape(-1, inputs)  # (kh·kw·Co, Ci)
        by_input = cupy.empty((inputs, len(by_output)), vector_dtype(x.dtype))  # (Ci, kh·kw·Co), the gradient
        for first, columns in _blocks(x, len(by_output)):
            _gather(dy, columns, x.shape[1:3], taps.reversed(), first)
            if dx is not None:
                gemm(columns, by_output, _rows(dx)[first : first + len(columns)])
            gemm(_rows(x)[first : first + len(columns)].T, columns, by_input, accumulate=first > 0)
        by_tap = by_input.reshape(inputs, taps.kh, taps.kw, outputs).transpose(1, 2, 0, 3)
        dweight = cupy.ascontiguousarray(by_tap, x.dtype)
    else:
        total = cupy.empty(weight.shape, vector_dtype(x.dtype))  # of all blocks, at least float32
        for first, columns in _blocks(dy, weight.size // outputs):
            dy_rows = _rows(dy)[first : first + len(columns)]
            _gather(x, columns, size, taps, first)
            gemm(columns.T, dy_rows, _rows(total), accumulate=first > 0)
            if dx is not None:
                gemm(dy_rows, _rows(weight).T, columns)  # their gradient, in the same memory
                _collect(columns, dx, size, taps, first)
        dweight = total.astype(x.dtype, copy=False)
    # y += bias
    dbias = channel_sum(_rows(dy)[None])[0] if has_bias else None
    return dx, dweight, dbias


def conv2d_relu(
    x: cupy.ndarray,
    weight: cupy.ndarray,
    bias: cupy.ndarray | None = None,
    residual: cupy.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    overwrite_residual: bool = False,
) -> tuple[cupy.ndarray, Conv2dReluCache]:
    """A convolution, a residual and ReLU."""
    x, weight, bias, residual = checked(
        "conv2d_relu", x=(x, "B H W Ci"), weight=(weight, "kh kw Ci Co"), bias=(bias, "Co"),
        residual=(residual, "B H' W' Co"),
    )
    z, conv_cache = _convolve("conv2d_relu", x, weight, bias is not None, stride, padding, dilation)
    if residual is not None and residual.shape != z.shape:
        raise OpError(f"conv2d_relu: residual has shape {residual.shape}, wants {z.shape} as the output has.")
    y = finish(z, z, bias, residual, relu=True)
    return y, Conv2dReluCache(conv_cache, ReluCache(y), residual is not None)


def conv2d_relu_backward(
    dy: cupy.ndarray, cache: Conv2dReluCache, *, needs_dx: bool = True
) -> tuple[cupy.ndarray | None, cupy.ndarray, cupy.ndarray | None, cupy.ndarray | None]:
    """From ``dy (B, H', W', Co)``: ``dx``, ``dweight``, ``dbias`` and ``dresidual``, or None."""
    dtotal = relu_backward(dy, cache.relu)
    return *conv2d_backward(dtotal, cache.conv, needs_dx=needs_dx), dtotal if cache.has_residual else None


def engine() -> str:
    """What computes convolutions of more than one product: ``"cuDNN 9.19"``, or ``"products"``."""
    return f"cuDNN {version}" if (version := cudnn.version()) else "products"


def _convolve(
    op: str, x: cupy.ndarray, weight: cupy.ndarray, has_bias: bool, stride: int, padding: int, dilation: int
) -> tuple[cupy.ndarray, Conv2dCache]:
    """The convolution without its bias."""
    size = _output_size(op, x.shape[1:3], weight.shape[:2], stride, padding, dilation)
    cache = Conv2dCache(x, weight, has_bias, stride, padding, dilation)

    taps = _taps(cache)
    inputs, outputs = weight.shape[2:]
    y = cupy.empty((len(x), *size, outputs), x.dtype)  # (B, H', W', Co)
    if _is_pointwise(taps):
        gemm(_rows(x), _rows(weight), _rows(y))
    elif _uses_cudnn(x) and (packed := _convolve_by_cudnn(x, weight, y, taps)) is not None:
        cache = cache._replace(packed=packed)
    elif taps.stride == 1 and outputs < inputs:
        by_input = cupy.ascontiguousarray(weight.transpose(2, 0, 1, 3)).reshape(inputs, -1)  # (Ci, kh·kw·Co)
        for first, columns in _blocks(x, by_input.shape[1]):
            gemm(_rows(x)[first : first + len(columns)], by_input, columns)
            _collect(columns, y, x.shape[1:3], taps.reversed(), first)
    else:
        for first, columns in _blocks(y, weight.size // outputs):
            _gather(x, columns, size, taps, first)
            gemm(columns, _rows(weight), _rows(y)[first : first + len(columns)])
    return y, cache


@lru_cache(maxsize=None, typed=True)
def _output_size(
    op: str, size: tuple[int, int], window: tuple[int, int], stride: int, padding: int, dilation: int
) -> tuple[int, int]:
    check_integers(op, at_least=1, stride=stride, dilation=dilation)
    check_integers(op, at_least=0, padding=padding)
    return output_size(op, size, window, stride=stride, padding=padding, dilation=dilation)


def _uses_cudnn(x: cupy.ndarray) -> bool:
    on_matrix_units = x.dtype.name in HALVES or (tf32_allowed() and x.itemsize == 4)
    return on_matrix_units and cudnn.version() is not None


def _convolve_by_cudnn(
    x: cupy.ndarray, weight: cupy.ndarray, y: cupy.ndarray, taps: Taps
) -> cupy.ndarray | None:
    """Fill ``y``, and return the weight as cuDNN reads it; None if cuDNN has no algorithm."""
    inputs, outputs = weight.shape[2:]
    packed = cupy.empty((outputs, taps.kh, taps.kw, inputs), x.dtype)
    _transpose(weight.reshape(-1, outputs), packed.reshape(outputs, -1))
    return None if cudnn.convolve(x, packed, y, *taps[2:]) is None else packed


def _gradients_by_cudnn(
    x: cupy.ndarray, packed: cupy.ndarray, dy: cupy.ndarray, dx: cupy.ndarray | None, dweight: cupy.ndarray,
    taps: Taps,
) -> bool:
    """Fill ``dweight``, and ``dx`` if there is one; False if cuDNN has no algorithm for one of them."""
    dpacked = cudnn.weight_gradient(x, dy, cupy.empty(packed.shape, packed.dtype), *taps[2:])
    if dpacked is None or (dx is not None and cudnn.input_gradient(dy, packed, dx, *taps[2:]) is None):
        return False
    outputs = len(packed)
    _transpose(dpacked.reshape(outputs, -1), dweight.reshape(-1, outputs))
    return True


def _taps(cache: Conv2dCache) -> Taps:
    kh, kw = cache.weight.shape[:2]
    return Taps(kh, kw, cache.stride, cache.padding, cache.dilation)


def _is_pointwise(taps: Taps) -> bool:
    return taps[:4] == (1, 1, 1, 0)


def _rows(array: cupy.ndarray) -> cupy.ndarray:
    return array.reshape(-1, array.shape[-1])


def _blocks(image: cupy.ndarray, width: int) -> Iterator[tuple[int, cupy.ndarray]]:
    """Columns for the pixels of ``image``: of whole images at a time if one fits, else of parts of one.

    Yields the first pixel and the uninitialised columns ``(pixels, width)``, which share their memory.
    """
    batch, one_image = len(image), image.shape[1] * image.shape[2]
    fitting = max(SCRATCH_BYTES // (width * image.itemsize), 1)
    pixels = min(fitting // one_image, batch) * one_image if fitting >= one_image else fitting
    columns = cupy.empty((pixels, width), image.dtype)
    for first in range(0, batch * one_image, pixels):
        yield first, columns[: batch * one_image - first]


def _transpose(matrix: cupy.ndarray, out: cupy.ndarray) -> None:
    """``out (N, M) = matrixᵀ``, both contiguous."""
    rows, columns = matrix.shape
    launch(
        "conv2d.cu", f"transpose<{c_type(matrix)}>", (-(-columns // 32), -(-rows // 32)), (32, 8),
        matrix, out, rows, columns,
    )


def _gather(image: cupy.ndarray, columns: cupy.ndarray, grid: tuple[int, int], taps: Taps, first: int) -> None:
    """Row n of the columns has the pixels of the image under the window of pixel ``first + n``, tap after tap."""
    _, height, width, channels = image.shape
    copied = c_type(image)
    if channels * image.itemsize % 16 == 0:  # a thread copies 16 bytes
        copied, channels = "uint4", channels * image.itemsize // 16
    launch(
        "conv2d.cu", f"gather<{copied}>", *lines(len(columns) * taps.kh * taps.kw, channels),
        image, columns, first, len(columns), height, width, channels, *grid, *taps,
    )


def _collect(columns: cupy.ndarray, image: cupy.ndarray, grid: tuple[int, int], taps: Taps, first: int) -> None:
    """The transpose of :func:`_gather`: a pixel of the image is the sum of the columns' values for it.

    Blocks come in order. If they are parts of images, the first one clears the image and each adds its part.
    """
    _, height, width, channels = image.shape
    pixels = grid[0] * grid[1]
    in_parts = first % pixels != 0 or len(columns) % pixels != 0
    if in_parts and first == 0:
        image.fill(0)
    first_image, last_image = first // pixels, (first + len(columns) - 1) // pixels
    launch(
        "conv2d.cu", f"collect<{c_type(image)}>", *lines((last_image - first_image + 1) * height * width, channels),
        columns, image, first_image, last_image - first_image + 1, first, len(columns), height, width, channels,
        *grid, *taps, in_parts,
    )
