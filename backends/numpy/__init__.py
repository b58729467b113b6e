"""The fast CPU backend: the reference's ops, except those that BLAS, blocks and threads speed up."""

from __future__ import annotations

from reference import ops, updates
from reference.ops import *  # noqa: F403
from reference.updates import *  # noqa: F403

# isort: split
from backends.numpy.batch_norm import (  # noqa: F401
    batch_norm,
    batch_norm_backward,
    batch_norm_relu,
    batch_norm_relu_backward,
)
from backends.numpy.channel_attention import channel_attention, channel_attention_backward  # noqa: F401
from backends.numpy.conv2d import (  # noqa: F401
    conv2d,
    conv2d_backward,
    conv2d_relu,
    conv2d_relu_backward,
)
from backends.numpy.hard_pixels import hard_pixels  # noqa: F401
from backends.numpy.heap import keep_freed_memory
from backends.numpy.linear import linear, linear_backward  # noqa: F401
from backends.numpy.lovasz_softmax import lovasz_softmax, lovasz_softmax_backward  # noqa: F401
from backends.numpy.max_pool2d import max_pool2d, max_pool2d_backward  # noqa: F401
from backends.numpy.position_attention import position_attention, position_attention_backward  # noqa: F401
from backends.numpy.relu import relu, relu_backward  # noqa: F401
from backends.numpy.resize_bilinear import (  # noqa: F401
    resize_bilinear,
    resize_bilinear_backward,
    resize_bilinear_rows,
)
from backends.numpy.softmax_cross_entropy import (  # noqa: F401
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from backends.numpy.softmax_dice import softmax_dice, softmax_dice_backward  # noqa: F401
from backends.numpy.softmax_focal import softmax_focal, softmax_focal_backward  # noqa: F401

name = "numpy"
keep_freed_memory()
__all__ = [*ops.__all__, *updates.__all__]
