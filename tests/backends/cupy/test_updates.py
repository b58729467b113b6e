"""What is done to all parameters at once, against the reference; arrays of many sizes in one call."""

from __future__ import annotations

import numpy as np
import pytest

from backends import reference
from backends.precision import array_dtype
from reference.ops import OpError

pytestmark = pytest.mark.gpu

#: Around the chunk of 8192 values that a block takes, nothing, and one.
SIZES = ((8191,), (3, 3, 5, 7), (0,), (8192,), (), (8193,), (40_000,), (1,), (2, 3))
RATES = [0.01 * (n + 1) for n in range(len(SIZES))]
DECAYS = [1e-2 if n % 2 else 0.0 for n in range(len(SIZES))]
GRADIENTS = ("float32", "float16", "bfloat16", "mixed")


def draw(seed, dtype="float32"):
    rng = np.random.default_rng(seed)
    dtypes = ("float32", "float64", "float16", "bfloat16") if dtype == "mixed" else (dtype,)
    drawn = [np.asarray(rng.normal(size=size)) for size in SIZES]
    return [x.astype(array_dtype(dtypes[n % len(dtypes)])) for n, x in enumerate(drawn)]


def sent(ops, arrays):
    return [ops.asarray(x.copy()) for x in arrays]


def fetched(ops, arrays):
    return [ops.to_numpy(x) for x in arrays]


@pytest.mark.parametrize("dtype", [*GRADIENTS, "float64"])
def test_sum_of_squares(ops, dtype):
    arrays = draw(0, dtype)
    total = ops.sum_of_squares(sent(ops, arrays))
    assert (total.shape, total.dtype) == ((), np.float64)
    assert float(ops.to_numpy(total)) == pytest.approx(float(reference.sum_of_squares(arrays)), rel=1e-12)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 5, 6])
def test_a_value_that_is_not_finite_shows_in_the_sum(ops, bad, place):
    arrays = draw(0, "float16")
    arrays[place][-1] = bad
    assert not np.isfinite(ops.to_numpy(ops.sum_of_squares(sent(ops, arrays))))


def test_the_sum_is_the_same_to_the_last_bit(ops):
    arrays = sent(ops, draw(1))
    first, second = (ops.to_numpy(ops.sum_of_squares(arrays)).tobytes() for _ in range(2))
    assert first == second


def test_a_sum_of_nothing(ops):
    assert ops.to_numpy(ops.sum_of_squares([])) == 0
    assert ops.to_numpy(ops.sum_of_squares([ops.asarray(np.zeros((0, 3), np.float32))])) == 0
    ops.sgd_update([], [], [], rates=[], decays=[], momentum=0.9)
    steps = ops.asarray(np.array(3.0, np.float32))
    ops.adamw_update([], [], [], steps, [], rates=[], decays=[], betas=(0.9, 0.99), epsilon=1e-8)
    assert ops.to_numpy(steps) == 4
    ops.move_towards([], [], [])


@pytest.mark.parametrize("scale", [1.0, 2.0**-10, np.array(0.25)])
@pytest.mark.parametrize("gradients", GRADIENTS)
def test_sgd_update(ops, gradients, scale):
    results = []
    for each in (reference, ops):
        w, v, g = sent(each, draw(1)), sent(each, draw(2)), sent(each, draw(3, gradients))
        factor = each.asarray(scale) if isinstance(scale, np.ndarray) else scale
        assert each.sgd_update(w, v, g, rates=RATES, decays=DECAYS, momentum=0.9, scale=factor) is None
        results.append(fetched(each, [*w, *v]))
    for wanted, got in zip(*results, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)


def test_sgd_update_in_double(ops):
    results = []
    for each in (reference, ops):
        w, v, g = (sent(each, draw(seed, "float64")) for seed in (1, 2, 3))
        each.sgd_update(w, v, g, rates=RATES, decays=DECAYS, momentum=0.9)
        results.append(fetched(each, [*w, *v]))
    for wanted, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-14)


ADAMW = {"rates": RATES, "decays": DECAYS, "betas": (0.8, 0.95), "epsilon": 1e-3}


def adamw_results(ops, dtype, gradients, **how):
    """All that three steps change, of which the first may be left out."""
    w, m, g = sent(ops, draw(1, dtype)), sent(ops, draw(2, dtype)), sent(ops, draw(3, gradients))
    v = sent(ops, [x * x for x in draw(4, dtype)])
    steps = ops.asarray(np.array(0, np.float32))
    for apply in (how.pop("first", True), True, ops.asarray(np.array(True))):
        assert ops.adamw_update(w, m, v, steps, g, **ADAMW, apply=apply, **how) is None
    return fetched(ops, [*w, *m, *v, steps])


@pytest.mark.parametrize("scale", [1.0, 2.0**-10, np.array(0.25)])
@pytest.mark.parametrize("gradients", GRADIENTS)
def test_adamw_update(ops, gradients, scale):
    results = []
    for each in (reference, ops):
        factor = each.asarray(scale) if isinstance(scale, np.ndarray) else scale
        results.append(adamw_results(each, "float32", gradients, scale=factor))
    for wanted, got in zip(*results, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("first", [True, False, np.array(False)])
def test_adamw_update_in_double_counts_the_steps_that_apply(ops, first):
    results = []
    for each in (reference, ops):
        flag = each.asarray(first) if isinstance(first, np.ndarray) else first
        results.append(adamw_results(each, "float64", "float64", first=flag))
    assert results[1][-1] == (3 if first is True else 2)
    for wanted, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("apply", [False, np.array(False)])
def test_nothing_changes_where_it_does_not_apply(ops, apply):
    before = [*draw(1), *draw(2)]
    w, v, g = sent(ops, draw(1)), sent(ops, draw(2)), sent(ops, draw(3))
    g[0][:] = np.nan
    flag = ops.asarray(apply) if isinstance(apply, np.ndarray) else apply
    ops.sgd_update(w, v, g, rates=RATES, decays=DECAYS, momentum=0.9, scale=np.nan, apply=flag)
    steps = ops.asarray(np.array(2.0, np.float32))
    ops.adamw_update(w, v, v, steps, g, **ADAMW, scale=np.nan, apply=flag)
    ops.adamw_update(w, v, v, steps, g, **ADAMW, apply=np.array(False))
    assert ops.to_numpy(steps) == 2
    ops.move_towards(w, g, RATES, apply=flag)
    for wanted, got in zip(before, fetched(ops, [*w, *v]), strict=True):
        assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", GRADIENTS)
def test_move_towards(ops, dtype):
    sources = draw(5, dtype)
    exact = [x.astype(np.float64) for x in sources]  # a product of 16 bits would be rounded to them by NumPy
    results = []
    for each, given in ((reference, exact), (ops, sources)):
        targets = sent(each, draw(4))
        each.move_towards(targets, sent(each, given), RATES, apply=each.asarray(np.array(True)))
        results.append(fetched(each, targets))
    for wanted, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)


def test_what_does_not_fit_is_named(ops):
    w, v, g = (sent(ops, draw(seed)) for seed in (1, 2, 3))
    numbers = {"rates": RATES, "decays": DECAYS, "momentum": 0.9}
    with pytest.raises(OpError, match=r"^sgd_update: got 9, 9, 8, 9, 9 arrays and numbers, wants as many of each"):
        ops.sgd_update(w, v, g[:-1], **numbers)
    with pytest.raises(OpError, match=r"^sgd_update: got 9, 9, 9, 8, 9 arrays and numbers"):
        ops.sgd_update(w, v, g, **{**numbers, "rates": RATES[:-1]})
    with pytest.raises(OpError, match=r"^adamw_update: got 9, 9, 9, 9, 8, 9 arrays and numbers"):
        ops.adamw_update(w, v, v, w[4], g, **{**ADAMW, "rates": RATES[:-1]})
    with pytest.raises(OpError, match=r"^move_towards: array 1 is float32 of shape \(3, 3, 5, 7\); all of a row"):
        ops.move_towards(w, [g[0], g[0], *g[2:]], RATES)
    with pytest.raises(OpError, match=r"^move_towards: what changes is float16, wants all float32 or all float64"):
        ops.move_towards(sent(ops, draw(4, "float16")), g, RATES)
