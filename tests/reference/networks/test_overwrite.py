"""What a backend may overwrite at inference is read by no layer again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import reference.ops
from reference.layers import Context

from .test_backward_order import NETWORKS


@pytest.mark.parametrize("name", ["resnet18", "decoder", "resnet50"])
def test_residuals_that_may_be_overwritten_are_not_read_again(make_problem, name):
    problem = make_problem(size=(17, 20), batch=1, **NETWORKS[name])
    params, spoiled = problem.network.fold(problem.params), []

    def conv2d_relu(x, weight, bias=None, residual=None, *, overwrite_residual=False, **geometry):
        result = reference.ops.conv2d_relu(x, weight, bias, residual, **geometry)
        if overwrite_residual and residual is not None:
            residual[:] = np.nan
            spoiled.append(residual)
        return result

    spoiling = SimpleNamespace(**{**vars(reference.ops), "conv2d_relu": conv2d_relu})
    wanted = problem.network.predict(problem.images, Context(reference.ops, params))
    got = problem.network.predict(problem.images, Context(spoiling, params, overwrite=True))
    np.testing.assert_array_equal(got, wanted)
    assert spoiled
