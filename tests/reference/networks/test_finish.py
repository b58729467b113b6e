"""A gradient is given away as soon as it is whole: once, and not before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from .test_backward_order import NETWORKS


@pytest.mark.parametrize("name", ["dual, two scales", "largefov, maximum", "position", "every term", "decoder"])
def test_every_gradient_is_finished_once_and_whole(make_problem, name):
    problem = make_problem(size=(9, 12), batch=1, **NETWORKS[name])

    def backward(ctx):
        problem.objective.forward(problem.images, problem.labels, ctx)
        return problem.objective.backward(ctx)

    first = problem.context()
    wanted = backward(first)
    finished, unfinished = {}, []

    def finish(name, gradient):
        assert name not in finished
        finished[name] = gradient.copy()
        unfinished.append(len(wanted) - len(ctx.gradients))

    ctx = replace(problem.context(), finish=finish, expected=first.additions)
    backward(ctx)
    assert list(finished) == list(first.additions)
    assert finished.keys() == wanted.keys()
    assert all(np.array_equal(finished[name], gradient) for name, gradient in wanted.items())
    if len(problem.network.scopes) == 1:  # of several, the last one finishes what all use
        assert unfinished[0] == len(wanted) - 1
