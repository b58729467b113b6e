"""The step of SGD against a loop over single numbers, and what it must leave alone, on every CPU backend."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

SHAPES = [(3, 3, 2, 4), (5,), (), (1, 7), (130, 130)]
RATES, DECAYS = [0.1, 0.2, 0.4, 0.03, 0.01], [0.01, 0.0, 0.5, 0.0, 0.1]


@pytest.fixture
def groups(rng):
    """``groups(dtype, of_gradients)``: parameters, momenta, gradients."""

    def make(dtype, of_gradients):
        return [
            [np.asarray(rng.normal(size=shape), of) for shape in SHAPES] for of in (dtype, dtype, of_gradients)
        ]

    return make


def by_hand(params, momenta, gradients, scale):
    """In Python's floats, number by number."""
    for w, v, g, rate, decay in zip(params, momenta, gradients, RATES, DECAYS, strict=True):
        moved = []
        for weight, moment, gradient in zip(w.ravel(), v.ravel(), g.ravel(), strict=True):
            moment = 0.9 * float(moment) + (float(gradient) * scale + decay * float(weight))
            moved.append((float(weight) - rate * moment, moment))
        yield np.reshape([each[0] for each in moved], w.shape), np.reshape([each[1] for each in moved], w.shape)


@pytest.mark.parametrize("scale", [1.0, 0.25, np.array(2.0**-10, np.float32), np.array(1 / 3)])
@pytest.mark.parametrize(
    ("dtype", "of_gradients", "rtol"),
    [
        (np.float64, np.float64, 1e-14), (np.float32, np.float32, 1e-5), (np.float32, np.float16, 1e-5),
        (np.float32, ml_dtypes.bfloat16, 1e-5),
    ],
)  # fmt: skip
def test_it_is_the_formula_for_every_number(ops, groups, dtype, of_gradients, rtol, scale):
    params, momenta, gradients = groups(dtype, of_gradients)
    wanted = list(by_hand(params, momenta, gradients, float(scale)))
    kept = [*params, *momenta]
    ops.sgd_update(params, momenta, gradients, rates=RATES, decays=DECAYS, momentum=0.9, scale=scale)
    assert all(after is before for after, before in zip([*params, *momenta], kept, strict=True))
    for (w, v), param, moment in zip(wanted, params, momenta, strict=True):
        np.testing.assert_allclose(param, w, rtol, rtol)
        np.testing.assert_allclose(moment, v, rtol, rtol)
        assert (param.dtype, moment.dtype, param.shape) == (dtype, dtype, w.shape)


@pytest.mark.parametrize("of_gradients", [np.float16, np.float32])
def test_gradients_may_be_read_only_and_stay(ops, groups, of_gradients):
    params, momenta, gradients = groups(np.float32, of_gradients)
    before = [gradient.copy() for gradient in gradients]
    for gradient in gradients:
        gradient.flags.writeable = False
    ops.sgd_update(params, momenta, gradients, rates=RATES, decays=DECAYS, momentum=0.9, scale=0.5)
    for gradient, wanted in zip(gradients, before, strict=True):
        np.testing.assert_array_equal(gradient, wanted)


def test_a_half_gradient_is_unscaled_in_the_dtype_of_the_weights(ops):
    w, v = np.zeros(1, np.float32), np.zeros(1, np.float32)
    ops.sgd_update([w], [v], [np.ones(1, np.float16)], rates=[1.0], decays=[0.0], momentum=0.0, scale=2.0**-30)
    assert v == 2.0**-30  # float16 would make 0 of it


@pytest.mark.parametrize("apply", [False, np.False_, np.array(False)])
def test_nothing_changes_where_it_does_not_apply(ops, groups, apply):
    params, momenta, gradients = groups(np.float32, np.float32)
    gradients[0][0] = np.nan
    before = [array.copy() for array in (*params, *momenta)]
    ops.sgd_update(
        params, momenta, gradients, rates=RATES, decays=DECAYS, momentum=0.9, scale=np.array(np.nan), apply=apply
    )
    for array, wanted in zip((*params, *momenta), before, strict=True):
        assert array.tobytes() == wanted.tobytes()


def test_an_array_of_true_applies(ops, groups):
    params, momenta, gradients = groups(np.float32, np.float32)
    before = params[0].copy()
    ops.sgd_update(params, momenta, gradients, rates=RATES, decays=DECAYS, momentum=0.9, apply=np.array(True))
    assert not np.array_equal(params[0], before)


def test_arrays_in_another_order_are_moved_in_place(ops):
    results = []
    for order in ("C", "F"):
        rng = np.random.default_rng(0)
        w, v, g = (np.asarray(rng.uniform(size=(4, 5)), order=order) for _ in range(3))
        ops.sgd_update([w], [v], [g], rates=[0.1], decays=[0.1], momentum=0.9)
        results.append((w, v))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, 1e-14)


def test_one_rate_too_few_is_an_error(ops, groups):
    params, momenta, gradients = groups(np.float32, np.float32)
    with pytest.raises(ValueError, match="shorter"):
        ops.sgd_update(params, momenta, gradients, rates=RATES[:-1], decays=DECAYS, momentum=0.9)
