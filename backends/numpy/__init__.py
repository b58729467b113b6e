"""The fast CPU backend: the reference's ops, but those that BLAS, blocks and threads speed up are overridden."""

from __future__ import annotations

from reference.ops import *  # noqa: F403

# isort: split
from backends.numpy.conv2d import conv2d, conv2d_backward  # noqa: F401

name = "numpy"
