"""The ops of segmentation networks and their derivatives, in plain NumPy, written to be read.

One op per file, forward directly above backward::

    y, cache = op(x, ...)
    dx, ... = op_backward(dy, cache)

``dy`` is the derivative of some scalar (the loss) with respect to ``y``, and has its shape and dtype; ``dx``
belongs to ``x`` in the same way. A cache is a NamedTuple of what the backward pass needs, and no more. Images and
maps are channels last, ``(B, H, W, C)``; tokens are ``(B, N, C)`` with N = H·W.

Ops are pure: they change no argument, hold no state and draw no random numbers. They take float32 or float64 and
return the same; what does not fit raises :class:`OpError`. They use no tricks: these functions are the oracle that
every backend must agree with.

>>> x = asarray([[[[-1.0], [2.0]]]])
>>> y, cache = relu(x)
>>> relu_backward(y, cache)
array([[[[0.],
         [2.]]]], dtype=float32)
"""

from __future__ import annotations

from reference.ops.arrays import asarray, concatenate, constants, stack, synchronize, to_numpy
from reference.ops.batch_norm import batch_norm, batch_norm_backward
from reference.ops.batch_norm_relu import batch_norm_relu, batch_norm_relu_backward
from reference.ops.channel_attention import channel_attention, channel_attention_backward
from reference.ops.checks import OpError
from reference.ops.conv2d import conv2d, conv2d_backward
from reference.ops.conv2d_relu import conv2d_relu, conv2d_relu_backward
from reference.ops.dropout import dropout, dropout_backward
from reference.ops.gated_residual import gated_residual, gated_residual_backward
from reference.ops.global_mean_pool import global_mean_pool, global_mean_pool_backward
from reference.ops.hard_pixels import hard_pixels
from reference.ops.label_map import label_map
from reference.ops.linear import linear, linear_backward
from reference.ops.lovasz_softmax import lovasz_softmax, lovasz_softmax_backward
from reference.ops.max_pool2d import max_pool2d, max_pool2d_backward
from reference.ops.position_attention import position_attention, position_attention_backward
from reference.ops.relu import relu, relu_backward
from reference.ops.resize_bilinear import resize_bilinear, resize_bilinear_backward, resize_bilinear_rows
from reference.ops.scale_fusion import scale_fusion, scale_fusion_backward
from reference.ops.scale_max import scale_max, scale_max_backward
from reference.ops.scale_mean import scale_mean, scale_mean_backward
from reference.ops.softmax import softmax, softmax_backward
from reference.ops.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from reference.ops.softmax_dice import softmax_dice, softmax_dice_backward
from reference.ops.softmax_focal import softmax_focal, softmax_focal_backward

__all__ = [
    "OpError",
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
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_dice",
    "softmax_dice_backward",
    "softmax_focal",
    "softmax_focal_backward",
    "stack",
    "synchronize",
    "to_numpy",
]
