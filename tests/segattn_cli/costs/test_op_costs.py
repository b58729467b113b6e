"""The cost of one call of each op, against counting by hand and against the arrays of the backend numba."""

from __future__ import annotations

import numpy as np
import pytest

from backends import get_backend
from segattn_cli.costs.op_costs import CALLS, op_cost
from segattn_cli.reading.op_source import op_names


def test_every_op_has_a_call():
    assert set(CALLS) == set(op_names())


@pytest.mark.parametrize(
    ("op", "forward", "backward"),
    [
        ("conv2d", 97 * 97 * 9 * 512 * 512, 2 * 97 * 97 * 9 * 512 * 512),
        ("linear", 9409 * 512 * 64, 2 * 9409 * 512 * 64),
        ("channel_attention", 2 * 9409 * 512**2, 3 * 9409 * 512**2),
        ("relu", 0, 0),
    ],
)
def test_multiply_adds(op, forward, backward):
    cost = op_cost(op)
    assert (cost.forward, cost.backward) == (forward, backward)


@pytest.mark.parametrize("op", ["batch_norm", "max_pool2d", "relu", "scale_fusion", "gated_residual"])
def test_sizes_are_those_of_arrays(op):
    """Of the shapes of the call, computed."""
    ops = get_backend("numpy")
    inputs = {name: np.ones(shape, np.float32) for name, shape in CALLS[op][0].items()}
    y, _ = getattr(ops, op)(**inputs, **CALLS[op][1])
    cost = op_cost(op)
    assert (cost.output, cost.output_bytes) == (y.shape, y.nbytes)
    assert cost.input_bytes == sum(array.nbytes for array in inputs.values())
