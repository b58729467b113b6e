from __future__ import annotations

import numpy as np
import pytest

from reference.ops import OpError, global_mean_pool, global_mean_pool_backward


def test_against_loops(rng):
    x, dy = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 4))
    y, cache = global_mean_pool(x)
    dx = global_mean_pool_backward(dy, cache)
    for b, c in np.ndindex(2, 4):
        assert y[b, c] == pytest.approx(sum(x[b, h, w, c] for h, w in np.ndindex(3, 5)) / 15, rel=1e-12)
    for b, h, w, c in np.ndindex(x.shape):
        assert dx[b, h, w, c] == dy[b, c] / 15


def test_float32_keeps_its_digits():
    y, _ = global_mean_pool(np.full((1, 600, 500, 1), 0.1, np.float32))
    assert y.item() == np.float32(0.1)


def test_other_axes_are_refused():
    with pytest.raises(OpError, match=r"^global_mean_pool: x has shape \(4, 5\), wants \(B, H, W, C\)\.$"):
        global_mean_pool(np.zeros((4, 5)))
