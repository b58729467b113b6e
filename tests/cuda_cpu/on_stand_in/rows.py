"""Softmax of rows of each length at which another kernel begins or ends."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from ...backends.cupy.conftest import ops  # noqa: F401, a fixture

TOLERANCES = {np.float32: 2e-6, np.float64: 1e-13, np.float16: 1e-3, ml_dtypes.bfloat16: 8e-3}
#: A warp a row up to 512 values, 4 more a thread every 128; then a block a row, 4 more every 2048.
ENDS = [*range(128, 513, 128), *range(2048, 34_817, 2048)]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("width", [1, *ENDS, *(end + 1 for end in ENDS)])
def test_softmax(ops, width, dtype):  # noqa: F811
    x = np.random.default_rng(width).normal(size=(2, width), scale=3).astype(dtype)
    dy = np.random.default_rng(0).normal(size=x.shape).astype(dtype)
    exact = np.exp(x.astype(np.float64))
    exact /= exact.sum(axis=-1, keepdims=True)
    y, cache = ops.softmax(ops.asarray(x))
    assert np.abs(ops.to_numpy(y).astype(np.float64) - exact).max() <= TOLERANCES[dtype] * exact.max()
    y = ops.to_numpy(y).astype(np.float64)
    slope = y * (dy.astype(np.float64) - (y * dy.astype(np.float64)).sum(axis=-1, keepdims=True))
    dx = ops.to_numpy(ops.softmax_backward(ops.asarray(dy), cache)).astype(np.float64)
    assert np.abs(dx - slope).max() <= TOLERANCES[dtype] * max(np.abs(slope).max(), 1e-3)
