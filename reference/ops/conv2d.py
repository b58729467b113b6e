"""Two-dimensional convolution, with stride, zero padding and dilation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays, check_gradient, check_integers
from reference.ops.sums import channel_sum
from reference.ops.windows import crop, output_size, pad, under_tap


class Conv2dCache(NamedTuple):
    x: np.ndarray  # (B, H, W, Ci)
    weight: np.ndarray  # (kh, kw, Ci, Co)
    has_bias: bool
    stride: int
    padding: int
    dilation: int


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[np.ndarray, Conv2dCache]:
    """Slide a window of weights over the image; as everywhere in deep learning, the window is not flipped. ::

        y[h, w] = Σ_ij x_padded[h·stride + i·dilation, w·stride + j·dilation] · weight[i, j] + bias

    where a pixel x[h, w] is a row of Ci values and weight[i, j] a Ci × Co matrix. The sum over the taps (i, j) is
    the loop below: each tap is one matrix product with all pixels under it. Dilation spreads the taps; DeepLab and
    DANet use it in place of a stride to enlarge the receptive field of a layer.

    Shapes: ``x (B, H, W, Ci)``, ``weight (kh, kw, Ci, Co)``, ``bias (Co,)`` → ``(B, H', W', Co)`` with
    ``H' = ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1``, all of one floating dtype.

    Caches the input, which is another layer's output and in memory anyway, and no copies of its windows.

    Raises :class:`OpError` for shapes or dtypes that do not fit, a stride or dilation below 1, and an image that
    is smaller, with its padding, than one window.

    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> difference = np.array([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1)  # to the right minus to the left
    >>> y, cache = conv2d(x, difference)
    >>> y[0, :, :, 0]
    array([[2., 2.],
           [2., 2.],
           [2., 2.],
           [2., 2.]])
    """
    size = check_conv2d("conv2d", x, weight, bias, stride=stride, padding=padding, dilation=dilation)

    x_padded = pad(x, padding)  # (B, H + 2p, W + 2p, Ci)
    y = np.zeros((len(x), *size, weight.shape[3]), x.dtype)  # (B, H', W', Co)
    for i, j in np.ndindex(weight.shape[:2]):
        seen = under_tap(i, j, size, stride=stride, dilation=dilation)
        y += x_padded[seen] @ weight[i, j]  # (B, H', W', Ci) @ (Ci, Co)
    if bias is not None:
        y += bias
    return y, Conv2dCache(x, weight, bias is not None, stride, padding, dilation)


def conv2d_backward(
    dy: np.ndarray, cache: Conv2dCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """From ``dy (B, H', W', Co)``: ``dx``, ``dweight``, and ``dbias`` or None; each tap's product, transposed.

    A network's first convolution does not need ``dx``, the gradient of the image: without ``needs_dx`` it is None.

    >>> y, cache = conv2d(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)))
    >>> dx, dweight, dbias = conv2d_backward(np.ones_like(y), cache)
    >>> dx[0, :, :, 0]  # under how many windows a pixel lies
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    x, weight, has_bias, stride, padding, dilation = cache
    size = output_size("conv2d", x.shape[1:3], weight.shape[:2], stride=stride, padding=padding, dilation=dilation)
    inputs, outputs = weight.shape[2:]
    check_gradient("conv2d_backward", dy, (len(x), *size, outputs), x.dtype)

    x_padded = pad(x, padding)  # (B, H + 2p, W + 2p, Ci)
    dx_padded = np.zeros_like(x_padded)
    dweight = np.zeros_like(weight)
    for i, j in np.ndindex(weight.shape[:2]):
        seen = under_tap(i, j, size, stride=stride, dilation=dilation)
        # y += x_padded[seen] @ weight[i, j]
        dx_padded[seen] += dy @ weight[i, j].T  # (B, H', W', Co) @ (Co, Ci)
        dweight[i, j] = x_padded[seen].reshape(-1, inputs).T @ dy.reshape(-1, outputs)  # (Ci, Co)
    # y += bias
    dbias = channel_sum(dy) if has_bias else None  # (Co,)
    # x_padded = pad(x, padding)
    dx = crop(dx_padded, padding) if needs_dx else None  # (B, H, W, Ci)
    return dx, dweight, dbias


def check_conv2d(
    op: str, x: Any, weight: Any, bias: Any, residual: Any = None, *, stride: int, padding: int, dilation: int
) -> tuple[int, int]:
    """Check the arguments of a convolution; the size ``(H', W')`` of its output."""
    weights = {"weight": (weight, "kh kw Ci Co"), "bias": (bias, "Co")}
    check_arrays(op, x=(x, "B H W Ci"), **weights, residual=(residual, "B H' W' Co"))
    check_integers(op, at_least=1, stride=stride, dilation=dilation)
    check_integers(op, at_least=0, padding=padding)
    size = output_size(op, x.shape[1:3], weight.shape[:2], stride=stride, padding=padding, dilation=dilation)
    if residual is not None and residual.shape[1:3] != size:
        wanted = (x.shape[0], *size, weight.shape[3])
        raise OpError(f"{op}: residual has shape {residual.shape}, wants {wanted} as the output has.")
    return size
