"""What is done to all parameters at once, against the reference: many sizes, half gradients, steps left out."""

from __future__ import annotations

import numpy as np
import pytest

from backends import reference

from ...backends.cupy.conftest import ops  # noqa: F401, a fixture

SIZES = ((1,), (3, 3, 5, 7), (8191,), (8192,), (8193,), (2, 3), (20_000,), ())


def draw(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=size)).astype(dtype) for size in SIZES]


def test_sum_of_squares(ops):  # noqa: F811
    arrays = draw(0)
    got = float(ops.to_numpy(ops.sum_of_squares([ops.asarray(x) for x in arrays])))
    assert got == pytest.approx(float(reference.sum_of_squares(arrays)), rel=1e-12)
    arrays[4][17] = np.inf
    assert np.isinf(ops.to_numpy(ops.sum_of_squares([ops.asarray(x) for x in arrays])))


@pytest.mark.parametrize("apply", [True, False, "array"])
@pytest.mark.parametrize("halves", [False, True])
def test_sgd_update(ops, halves, apply):  # noqa: F811
    params, momenta, gradients = draw(1), draw(2), draw(3, np.float16 if halves else np.float32)
    rates, decays = np.linspace(0.01, 0.1, len(SIZES)).tolist(), [0.0, 1e-2] * (len(SIZES) // 2)
    results = []
    for each in (reference, ops):
        w, v, g = ([each.asarray(x.copy()) for x in arrays] for arrays in (params, momenta, gradients))
        how = {"scale": 0.5, "apply": apply}
        if apply == "array":
            how = {"scale": each.asarray(np.array(0.5)), "apply": each.asarray(np.array(True))}
        each.sgd_update(w, v, g, rates=rates, decays=decays, momentum=0.9, **how)
        results.append([each.to_numpy(x) for x in (*w, *v)])
    for wanted, got, before in zip(*results, (*params, *momenta), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        assert np.array_equal(got, before) == (apply is False)


@pytest.mark.parametrize("apply", [True, False, "array"])
@pytest.mark.parametrize("halves", [False, True])
def test_adamw_update(ops, halves, apply):  # noqa: F811
    params, means, gradients = draw(1), draw(2), draw(3, np.float16 if halves else np.float32)
    squares = [x * x for x in draw(4)]
    rates, decays = np.linspace(0.01, 0.1, len(SIZES)).tolist(), [0.0, 1e-2] * (len(SIZES) // 2)
    results = []
    for each in (reference, ops):
        w, m, v, g = ([each.asarray(x.copy()) for x in arrays] for arrays in (params, means, squares, gradients))
        steps = each.asarray(np.array(1.0, np.float32))
        how = {"scale": 0.5, "apply": apply}
        if apply == "array":
            how = {"scale": each.asarray(np.array(0.5)), "apply": each.asarray(np.array(True))}
        each.adamw_update(w, m, v, steps, g, rates=rates, decays=decays, betas=(0.9, 0.99), epsilon=1e-3, **how)
        results.append([each.to_numpy(x) for x in (*w, *m, *v, steps)])
    for wanted, got, before in zip(*results, (*params, *means, *squares, np.float32(1)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        assert np.array_equal(got, before) == (apply is False)


def test_move_towards(ops):  # noqa: F811
    targets, sources, weights = draw(4), draw(5), np.linspace(0.01, 1, len(SIZES)).tolist()
    results = []
    for each in (reference, ops):
        t = [each.asarray(x.copy()) for x in targets]
        each.move_towards(t, [each.asarray(x) for x in sources], weights)
        results.append([each.to_numpy(x) for x in t])
    for wanted, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
