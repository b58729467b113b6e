"""The backend under test, and one way to compare any of its ops with the reference."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest

import reference.ops
from backends import BackendError, get_backend
from backends.precision import array_dtype, cast, is_floating, vector_dtype
from backends.tolerances import TOLERANCES, compare


@pytest.fixture(scope="session")
def ops():
    try:
        ops = get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))
    if os.environ.get("SEGATTN_TESTS_WITHOUT_POOL"):  # each array has memory of its own, whose end memcheck knows
        import cupy

        cupy.cuda.set_allocator(None)
    return ops


@pytest.fixture
def cupy(ops):
    import cupy

    return cupy


@pytest.fixture
def poisoned(cupy, monkeypatch):
    """Fresh memory holds NaN, so that a value which no kernel wrote shows."""
    empty, empty_like = cupy.empty, cupy.empty_like

    def poison(array):
        array.fill(np.nan if is_floating(array) else 77)
        return array

    monkeypatch.setattr(cupy, "empty", lambda *args, **kwargs: poison(empty(*args, **kwargs)))
    monkeypatch.setattr(cupy, "empty_like", lambda *args, **kwargs: poison(empty_like(*args, **kwargs)))


#: Ops whose result is a scalar, which is float32 beside 16 bits.
LOSSES = ("softmax_cross_entropy", "softmax_focal", "softmax_dice", "lovasz_softmax")
#: In what the reference, as the plain implementation, computes beside bfloat16, which NumPy hardly has.
PLAIN = {"bfloat16": "float16"}


def to_maps(value, dtype):
    """Arrays of floats, however few their axes, to ``dtype``; masks, labels, options and None as they are."""
    return value.astype(dtype) if is_floating(value) else value


def run(ops, op, inputs, options, dy, put=lambda x: x):
    """Forward and backward: every output by name, in NumPy."""
    given = {name: put(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
    y, cache = getattr(ops, op)(*map(put, inputs), **given)
    gradients = getattr(ops, f"{op}_backward")(put(dy(y.shape)) if y.ndim else 1.0, cache)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    outputs = {"y": y} | {f"gradient {n}": gradient for n, gradient in enumerate(gradients)}
    for statistic in ("mean", "variance"):
        if options.get("training"):
            outputs[statistic] = getattr(cache, statistic)
    return {name: None if value is None else ops.to_numpy(value) for name, value in outputs.items()}


def error_of(value, exact):
    """The largest error of ``value`` in units of the largest exact magnitude."""
    scale = np.abs(exact).max() or 1.0
    error = np.abs(value.astype(np.float64) - exact)
    return float(error[np.isfinite(error)].max(initial=0.0) / scale)


def stored_dtypes(op, inputs, maps):
    """The dtype of each output: maps have theirs, statistics and losses are float32 beside 16 bits."""
    dtypes = {"y": vector_dtype(maps) if op in LOSSES else inputs[0].dtype}
    names = inspect.signature(getattr(reference.ops, op)).parameters
    given = [x for name, x in zip(names, inputs, strict=False) if name not in ("mean", "variance")]
    dtypes |= {f"gradient {n}": x.dtype for n, x in enumerate(given) if is_floating(x)}  # in the order of inputs
    return dtypes | dict.fromkeys(("mean", "variance"), vector_dtype(maps))


@pytest.fixture
def agree(ops, poisoned):
    """``agree(op, inputs, options, dtype)``: the backend computes what the reference computes in float64.

    Where the reference itself, run in ``dtype``, is far from float64, the problem is ill-conditioned and the
    table's allowance for that holds.
    """

    def check(op, inputs, options, dtype, layout=lambda x: x):
        maps = array_dtype(dtype)
        first, *others = inputs
        rounded = [to_maps(first, maps)]
        rounded += [to_maps(x, maps) if np.shape(x) == first.shape else cast(x, maps) for x in others]
        kept = {name: cast(x, maps) for name, x in options.items()}

        def dy(shape):
            return to_maps(np.random.default_rng(9).normal(size=shape), maps)

        def case(wanted):
            """The very same values, all in ``wanted``."""
            given = [to_maps(x, wanted) for x in rounded], {name: to_maps(x, wanted) for name, x in kept.items()}
            return op, *given, lambda shape: to_maps(dy(shape), wanted)

        exact = run(reference.ops, *case("float64"))
        with np.errstate(over="ignore", invalid="ignore"):
            plain = run(reference.ops, *case(PLAIN.get(dtype, dtype)))
        carried = TOLERANCES[dtype].epsilon / TOLERANCES[PLAIN.get(dtype, dtype)].epsilon
        stored = stored_dtypes(op, rounded, maps)

        sent = []

        def put(x):
            if x is None:
                return None
            sent.append((x, layout(ops.asarray(x))))
            return sent[-1][1]

        got = run(ops, op, rounded, kept, dy, put)
        for name, value in exact.items():
            if value is None:
                assert got[name] is None, f"{op}: {name} should be None"
                continue
            error = error_of(plain[name], value) * carried
            result = compare(value, got[name], dtype, plain_error=error, stored=stored[name])
            assert result.passed, f"{op}: {name} {result.reason}"
        for before, after in sent:
            np.testing.assert_array_equal(ops.to_numpy(after), before, err_msg=f"{op} changed an input")

    return check
