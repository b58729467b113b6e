"""Running averages against a loop over single numbers, and what they must leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from reference.updates import move_towards

SHAPES, WEIGHTS = [(3, 3, 2, 4), (5,), ()], [0.1, 1.0, 0.0]


@pytest.fixture
def pairs(rng):
    """``pairs(dtype)``: targets and sources."""
    return lambda dtype: [[np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES] for _ in range(2)]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-15)])
def test_it_is_the_formula_for_every_number(pairs, dtype, rtol):
    targets, sources = pairs(dtype)
    for source in sources:
        source.flags.writeable = False
    wanted = []
    for target, source, weight in zip(targets, sources, WEIGHTS, strict=True):
        pairs_of_numbers = zip(target.ravel().tolist(), source.ravel().tolist(), strict=True)
        wanted.append(np.reshape([t + weight * (s - t) for t, s in pairs_of_numbers], target.shape))
    kept = list(targets)
    move_towards(targets, sources, WEIGHTS)
    for target, same, value in zip(targets, kept, wanted, strict=True):
        assert target is same
        assert target.dtype == dtype
        np.testing.assert_allclose(target, value, rtol, rtol)


def test_all_the_way_is_the_source_and_none_of_it_stays(pairs):
    targets, sources = pairs(np.float32)
    before = targets[2].copy()
    move_towards(targets, sources, WEIGHTS, apply=np.array(True))
    np.testing.assert_array_equal(targets[1], sources[1])
    np.testing.assert_array_equal(targets[2], before)


@pytest.mark.parametrize("apply", [False, np.False_, np.array(False)])
def test_nothing_changes_where_it_does_not_apply(pairs, apply):
    targets, sources = pairs(np.float32)
    sources[0][0] = np.inf
    before = [target.copy() for target in targets]
    move_towards(targets, sources, WEIGHTS, apply=apply)
    for target, wanted in zip(targets, before, strict=True):
        assert target.tobytes() == wanted.tobytes()


def test_one_weight_too_few_is_an_error(pairs):
    with pytest.raises(ValueError, match="shorter"):
        move_towards(*pairs(np.float32), WEIGHTS[:-1])
