"""What holds for every op: right derivatives, right dtypes, no side effects, errors that say what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import reference.ops
from backends.tolerances import compare
from reference.ops import OpError

DTYPES = ["float32", "float64"]


def run(case, inputs, seed=1):
    """Forward, then backward from a random dy: ``y`` and the gradients, all by name."""
    y, cache = case.forward(inputs)
    dy = np.asarray(np.random.default_rng(seed).normal(size=y.shape), y.dtype)
    return {"y": y, **{f"d{name}": gradient for name, gradient in case.backward(dy, cache).items()}}


def test_every_op_has_a_case(all_cases):
    ops = {name.removesuffix("_backward") for name in reference.ops.__all__ if name.endswith("_backward")}
    assert ops == {case.op for case in all_cases.values()}


def test_gradients_are_slopes(case, rng, slope):
    inputs = case.inputs()
    y, cache = case.forward(inputs)
    dy = np.asarray(rng.normal(size=y.shape))
    gradients = case.backward(dy, cache)
    for name, x in inputs.items():
        for _ in range(3):
            direction = np.asarray(rng.normal(size=x.shape))

            def along(value, name=name):
                return np.vdot(dy, case.forward(inputs | {name: value})[0])

            predicted = float(np.vdot(gradients[name], direction))
            assert predicted == pytest.approx(slope(along, x, direction), rel=1e-6, abs=1e-7), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_and_gradients_have_the_dtype_and_shape_of_inputs(case, dtype):
    inputs = {name: x.astype(dtype) for name, x in case.inputs().items()}
    outputs = run(case, inputs)
    assert {array.dtype for array in outputs.values()} == {np.dtype(dtype)}
    assert {name: outputs[f"d{name}"].shape for name in inputs} == case.shapes
    assert all(isinstance(array, np.ndarray) for array in outputs.values())


def test_float32_is_as_close_to_float64_as_the_tolerance_demands(case):
    single = {name: x.astype(np.float32) for name, x in case.inputs().items()}
    double = {name: x.astype(np.float64) for name, x in single.items()}
    got, wanted = run(case, single), run(case, double)
    for name in wanted:
        outcome = compare(wanted[name], got[name], "float32")
        assert outcome.passed, (name, outcome.reason)


def test_arguments_and_outputs_are_never_changed(case):
    inputs = case.inputs()
    kept = {name: x.copy() for name, x in inputs.items()}
    for x in inputs.values():
        x.flags.writeable = False
    y, cache = case.forward(inputs)
    y.flags.writeable = False
    dy = np.asarray(np.random.default_rng(1).normal(size=y.shape))
    dy.flags.writeable = False
    first = case.backward(dy, cache)
    second = case.backward(dy, cache)
    for name in inputs:
        np.testing.assert_array_equal(inputs[name], kept[name])
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("layout", ["every second", "backwards", "fortran"])
def test_memory_layout_does_not_matter(case, layout):
    def lay_out(x):
        if x.ndim == 0:
            return x
        if layout == "fortran":
            return np.asfortranarray(x)
        if layout == "backwards":
            return np.flip(np.flip(x).copy())
        wide = np.full(tuple(2 * n for n in x.shape), np.nan)
        sparse = wide[tuple(slice(0, None, 2) for _ in x.shape)]
        sparse[...] = x
        return sparse

    inputs = case.inputs()
    strided = {name: lay_out(x) for name, x in inputs.items()}
    y, cache = case.forward(inputs)
    dy = np.asarray(np.random.default_rng(1).normal(size=y.shape))
    y_strided, cache_strided = case.forward(strided)
    np.testing.assert_allclose(y_strided, y, rtol=1e-12, atol=1e-12)
    gradients = case.backward(dy, cache)
    for name, gradient in case.backward(lay_out(dy), cache_strided).items():
        np.testing.assert_allclose(gradient, gradients[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_a_thousand_stay_finite(case, dtype):
    inputs = {name: (1000 * np.sign(x)).astype(dtype) for name, x in case.inputs().items()}
    for name, array in run(case, inputs).items():
        assert np.isfinite(array).all(), name


def test_mixed_dtypes_are_refused(case):
    inputs = case.inputs()
    first, *others = inputs
    for name in others:
        with pytest.raises(OpError, match=rf"^{case.op}\w*: {name} is float32, wants float64 as {first} is\.$"):
            case.forward(inputs | {name: inputs[name].astype(np.float32)})


def test_integers_are_refused(case):
    inputs = {name: np.ones(x.shape, int) for name, x in case.inputs().items()}
    with pytest.raises(OpError, match=rf"^{case.op}: {next(iter(inputs))} is int64, wants a floating dtype"):
        case.forward(inputs)


def test_what_is_no_array_is_refused(case):
    inputs = case.inputs()
    first = next(iter(inputs))
    with pytest.raises(OpError, match=rf"^{case.op}: {first} is a list, wants an array"):
        case.forward(inputs | {first: inputs[first].tolist()})


def test_empty_arrays_are_refused(case):
    inputs = case.inputs()
    first = next(iter(inputs))
    with pytest.raises(OpError, match=rf"^{case.op}: {first} is empty"):
        case.forward(inputs | {first: inputs[first][:0]})


def test_axes_that_do_not_fit_are_refused(case):
    """One more value along the last axis of any input but the first no longer fits the first."""
    inputs = case.inputs()
    for name in list(inputs)[1:]:
        if inputs[name].ndim:
            longer = np.concatenate([inputs[name], inputs[name][..., :1]], axis=-1)
            if name in ("weight", "value"):  # whose last axis is free; the one before is not
                longer = np.concatenate([inputs[name], inputs[name][..., :1, :]], axis=-2)
            with pytest.raises(OpError, match=rf"^{case.op}\w*: {name} has shape .*, wants \("):
                case.forward(inputs | {name: longer})


def test_a_dy_of_the_wrong_shape_or_dtype_is_refused(case):
    y, cache = case.forward(case.inputs())
    if y.ndim == 0:  # a loss, whose dloss may be any scalar
        with pytest.raises(OpError, match=r"_backward: dloss has shape \(1,\), wants a scalar"):
            case.backward(np.ones(1), cache)
        return
    with pytest.raises(OpError, match=r"^\w+_backward: dy is float64 of shape \(1,.*wants float64 of shape"):
        case.backward(np.ones((1, *y.shape)), cache)
    with pytest.raises(OpError, match=r"^\w+_backward: dy is float32 of shape .*wants float64 of shape"):
        case.backward(np.ones(y.shape, np.float32), cache)
