from __future__ import annotations

import numpy as np
import pytest

from reference.ops import OpError, linear, linear_backward


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_against_loops(leading, with_bias, rng):
    x, weight, dy = rng.normal(size=(*leading, 4)), rng.normal(size=(4, 5)), rng.normal(size=(*leading, 5))
    bias = rng.normal(size=5) if with_bias else None
    y, cache = linear(x, weight, bias)
    dx, dweight, dbias = linear_backward(dy, cache)

    wanted_y, wanted_dx = np.zeros(dy.shape), np.zeros(x.shape)
    wanted_dweight, wanted_dbias = np.zeros((4, 5)), np.zeros(5)
    for (*row, o) in np.ndindex(dy.shape):
        wanted_y[(*row, o)] += bias[o] if with_bias else 0
        wanted_dbias[o] += dy[(*row, o)]
        for i in range(4):
            wanted_y[(*row, o)] += x[(*row, i)] * weight[i, o]
            wanted_dx[(*row, i)] += dy[(*row, o)] * weight[i, o]
            wanted_dweight[i, o] += x[(*row, i)] * dy[(*row, o)]
    np.testing.assert_allclose(y, wanted_y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, wanted_dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dweight, wanted_dweight, rtol=1e-12, atol=1e-12)
    if with_bias:
        np.testing.assert_allclose(dbias, wanted_dbias, rtol=1e-12, atol=1e-12)
    else:
        assert dbias is None


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((2, 3), (4, 5), (5,), r"weight has shape \(4, 5\), wants \(Ci=3, Co\)\."),
        ((2, 3), (3, 5), (1,), r"bias has shape \(1,\), wants \(Co=5\)\."),
        ((2, 3), (1, 3, 5), (5,), r"weight has shape \(1, 3, 5\), wants \(Ci=3, Co\)\."),
        ((), (3, 5), (5,), r"x has shape \(\), wants \(\.\.\., Ci\)\."),
    ],
)
def test_errors(x, weight, bias, message):
    with pytest.raises(OpError, match=f"^linear: {message}$"):
        linear(np.zeros(x), np.zeros(weight), np.zeros(bias))
