"""The step of AdamW against a loop over single numbers and against PyTorch's, on every CPU backend."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

SHAPES = [(3, 3, 2, 4), (5,), (), (1, 7), (130, 130)]
RATES, DECAYS = [0.1, 0.2, 0.4, 0.03, 0.01], [0.01, 0.0, 0.5, 0.0, 0.1]
OPTIONS = {"rates": RATES, "decays": DECAYS, "betas": (0.8, 0.95), "epsilon": 1e-3}


@pytest.fixture
def groups(rng):
    """``groups(dtype, of_gradients)``: parameters, means, squares, steps, gradients."""

    def make(dtype, of_gradients):
        params, means, gradients = (
            [np.asarray(rng.normal(size=shape), of) for shape in SHAPES] for of in (dtype, dtype, of_gradients)
        )
        squares = [np.asarray(rng.uniform(size=shape), dtype) for shape in SHAPES]
        return params, means, squares, np.array(3, dtype), gradients

    return make


def one_number(w, m, v, t, g, rate, decay, betas, epsilon):
    """In Python's floats."""
    w = w - rate * decay * w
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    w = w - rate * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + epsilon)
    return w, m, v


@pytest.mark.parametrize("scale", [1.0, 0.25, np.array(2.0**-10, np.float32), np.array(1 / 3)])
@pytest.mark.parametrize(
    ("dtype", "of_gradients", "tolerance"),
    [
        (np.float64, np.float64, 1e-13), (np.float32, np.float32, 1e-5), (np.float32, np.float16, 1e-5),
        (np.float32, ml_dtypes.bfloat16, 1e-5),
    ],
)  # fmt: skip
def test_it_is_the_formula_for_every_number(ops, groups, dtype, of_gradients, tolerance, scale):
    params, means, squares, steps, gradients = groups(dtype, of_gradients)
    wanted = [
        [one_number(*numbers, rate, decay, OPTIONS["betas"], OPTIONS["epsilon"]) for numbers in zip(
            *(array.ravel().astype(float) for array in (w, m, v)), [4] * w.size,
            g.ravel().astype(float) * float(scale), strict=True,
        )]
        for w, m, v, g, rate, decay in zip(params, means, squares, gradients, RATES, DECAYS, strict=True)
    ]  # fmt: skip
    ops.adamw_update(params, means, squares, steps, gradients, **OPTIONS, scale=scale)
    assert (steps, steps.dtype) == (4, dtype)
    for triple, *got in zip(wanted, params, means, squares, strict=True):
        for array, numbers in zip(got, np.transpose(triple), strict=True):
            assert array.dtype == dtype
            np.testing.assert_allclose(array.ravel(), numbers, tolerance, tolerance)


@pytest.mark.parametrize("apply", [False, np.False_, np.array(False)])
def test_nothing_changes_where_it_does_not_apply(ops, groups, apply):
    *changed, steps, gradients = groups(np.float32, np.float32)
    gradients[0][0] = np.nan
    arrays = [array for group in changed for array in group] + [steps]
    before = [array.copy() for array in arrays]
    ops.adamw_update(*changed, steps, gradients, **OPTIONS, scale=np.array(np.nan), apply=apply)
    for array, wanted in zip(arrays, before, strict=True):
        assert array.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("of_gradients", [np.float16, np.float32])
def test_gradients_may_be_read_only_and_stay(ops, groups, of_gradients):
    *changed, gradients = groups(np.float32, of_gradients)
    before = [gradient.copy() for gradient in gradients]
    for gradient in gradients:
        gradient.flags.writeable = False
    ops.adamw_update(*changed, gradients, **OPTIONS, apply=np.array(True))
    for gradient, wanted in zip(gradients, before, strict=True):
        np.testing.assert_array_equal(gradient, wanted)


def test_arrays_in_another_order_are_moved_in_place(ops, groups):
    results = []
    for order in ("C", "F"):
        rng = np.random.default_rng(0)
        w, m, v, g = (np.asarray(rng.uniform(size=(4, 5)), order=order) for _ in range(4))
        steps = np.array(0.0)
        ops.adamw_update([w], [m], [v], steps, [g], rates=[0.1], decays=[0.1], betas=(0.9, 0.99), epsilon=1e-8)
        results.append((w, m, v, steps))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, 1e-14)


def test_one_rate_too_few_is_an_error(ops, groups):
    with pytest.raises(ValueError, match="shorter"):
        ops.adamw_update(*groups(np.float32, np.float32), **{**OPTIONS, "rates": RATES[:-1]})


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_a_hundred_steps_are_those_of_torch(ops, rng, dtype, tolerance):
    """With a rate and a decay for each parameter; the steps that are left out do not count."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    params = [np.asarray(rng.normal(size=shape) / 10, dtype) for shape in SHAPES]  # as large as weights are
    means, squares = ([np.zeros_like(param) for param in params] for _ in range(2))
    steps, rates = np.zeros((), dtype), [0.001, 0.002, 0.004, 0.0003, 0.01]
    tensors = [torch.tensor(param, requires_grad=True) for param in params]
    groups = [
        {"params": [tensor], "lr": rate, "weight_decay": decay}
        for tensor, rate, decay in zip(tensors, rates, DECAYS, strict=True)
    ]
    oracle = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    for step in range(100):
        gradients = [np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES]
        applies = step % 7 != 3
        ops.adamw_update(
            params, means, squares, steps, gradients, rates=rates, decays=DECAYS, betas=(0.9, 0.999), epsilon=1e-8,
            apply=np.array(applies),
        )  # fmt: skip
        if applies:
            for tensor, gradient in zip(tensors, gradients, strict=True):
                tensor.grad = torch.tensor(gradient)
            oracle.step()
    assert steps == sum(step % 7 != 3 for step in range(100)) < 100
    for param, tensor in zip(params, tensors, strict=True):
        np.testing.assert_allclose(param, tensor.detach().numpy(), tolerance, tolerance)
