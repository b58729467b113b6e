"""The ops on an NVIDIA GPU: products by cuBLAS, some convolutions by cuDNN, the rest by ``kernels/*.cu``.

The functions, their arguments and their errors are those of :mod:`reference.ops`; arrays are ``cupy.ndarray``,
float32, float64, float16 or bfloat16. The differences:

- Calls return when their kernels are queued, without waiting for the device. So the *values* of labels are not
  checked: a label that is neither a class nor ignored makes the loss NaN instead of raising.
- Results are the same from run to run: no kernel adds with float atomics.
- Products in float32 do not use TF32 unless :func:`backends.cupy.gemm.allow_tf32` allows it.
- Position attention holds blocks of rows, never an N×N matrix; see :mod:`backends.cupy.position_attention`.
"""

from __future__ import annotations

from backends.cupy.device import require_device

require_device()  # before anything that needs CuPy

# ruff: noqa: E402
from backends.cupy.arrays import asarray, concatenate, constants, stack, synchronize, to_numpy
from backends.cupy.batch_norm import (
    batch_norm,
    batch_norm_backward,
    batch_norm_relu,
    batch_norm_relu_backward,
)
from backends.cupy.channel_attention import channel_attention, channel_attention_backward
from backends.cupy.conv2d import conv2d, conv2d_backward, conv2d_relu, conv2d_relu_backward
from backends.cupy.hard_pixels import hard_pixels
from backends.cupy.label_map import label_map
from backends.cupy.linear import linear, linear_backward
from backends.cupy.lovasz_softmax import lovasz_softmax, lovasz_softmax_backward
from backends.cupy.pointwise import (
    dropout,
    dropout_backward,
    gated_residual,
    gated_residual_backward,
    relu,
    relu_backward,
)
from backends.cupy.pooling import (
    global_mean_pool,
    global_mean_pool_backward,
    max_pool2d,
    max_pool2d_backward,
)
from backends.cupy.position_attention import position_attention, position_attention_backward
from backends.cupy.resize_bilinear import resize_bilinear, resize_bilinear_backward, resize_bilinear_rows
from backends.cupy.scale_fusion import (
    scale_fusion,
    scale_fusion_backward,
    scale_max,
    scale_max_backward,
    scale_mean,
    scale_mean_backward,
)
from backends.cupy.softmax import softmax, softmax_backward
from backends.cupy.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from backends.cupy.softmax_dice import softmax_dice, softmax_dice_backward
from backends.cupy.softmax_focal import softmax_focal, softmax_focal_backward
from backends.cupy.updates import adamw_update, move_towards, sgd_update, sum_of_squares
from reference.ops.checks import OpError

name = "cupy"

__all__ = [
    "OpError",
    "adamw_update",
    "asarray",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_relu",
    "batch_norm_relu_backward",
    "channel_attention",
    "channel_attention_backward",
    "concatenate",
    "constants",
    "conv2d",
    "conv2d_backward",
    "conv2d_relu",
    "conv2d_relu_backward",
    "dropout",
    "dropout_backward",
    "gated_residual",
    "gated_residual_backward",
    "global_mean_pool",
    "global_mean_pool_backward",
    "hard_pixels",
    "label_map",
    "linear",
    "linear_backward",
    "lovasz_softmax",
    "lovasz_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "move_towards",
    "name",
    "position_attention",
    "position_attention_backward",
    "relu",
    "relu_backward",
    "resize_bilinear",
    "resize_bilinear_backward",
    "resize_bilinear_rows",
    "scale_fusion",
    "scale_fusion_backward",
    "scale_max",
    "scale_max_backward",
    "scale_mean",
    "scale_mean_backward",
    "sgd_update",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_dice",
    "softmax_dice_backward",
    "softmax_focal",
    "softmax_focal_backward",
    "stack",
    "sum_of_squares",
    "synchronize",
    "to_numpy",
]
