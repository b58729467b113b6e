"""The fast CPU backend with compiled loops: the ``numpy`` backend's ops, except those that Numba makes faster."""

from __future__ import annotations

from backends.errors import BackendError

try:
    import numba  # noqa: F401
except ImportError as error:
    raise BackendError("The backend numba needs Numba: install it with pip install 'segattn[numba]'.") from error

# isort: split
from backends.numpy import *  # noqa: F403

# isort: split
from backends.numba.batch_norm import (  # noqa: F401
    batch_norm,
    batch_norm_backward,
    batch_norm_relu,
    batch_norm_relu_backward,
)
from backends.numba.channel_attention import channel_attention, channel_attention_backward  # noqa: F401
from backends.numba.constants import constants  # noqa: F401
from backends.numba.conv2d import (  # noqa: F401
    conv2d,
    conv2d_backward,
    conv2d_relu,
    conv2d_relu_backward,
)
from backends.numba.elementwise import (  # noqa: F401
    gated_residual,
    gated_residual_backward,
    relu,
    relu_backward,
)
from backends.numba.hard_pixels import hard_pixels  # noqa: F401
from backends.numba.linear import linear, linear_backward  # noqa: F401
from backends.numba.lovasz_softmax import lovasz_softmax, lovasz_softmax_backward  # noqa: F401
from backends.numba.max_pool2d import max_pool2d, max_pool2d_backward  # noqa: F401
from backends.numba.position_attention import position_attention, position_attention_backward  # noqa: F401
from backends.numba.resize_bilinear import (  # noqa: F401
    resize_bilinear,
    resize_bilinear_backward,
    resize_bilinear_rows,
)
from backends.numba.scale_fusion import scale_fusion, scale_fusion_backward  # noqa: F401
from backends.numba.softmax_cross_entropy import (  # noqa: F401
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from backends.numba.softmax_dice import softmax_dice, softmax_dice_backward  # noqa: F401
from backends.numba.softmax_focal import softmax_focal, softmax_focal_backward  # noqa: F401
from backends.numba.updates import adamw_update, sgd_update  # noqa: F401

name = "numba"
