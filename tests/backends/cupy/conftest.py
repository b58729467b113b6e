"""The backend under test, and one way to compare any of its ops with the reference."""

from __future__ import annotations

import numpy as np
import pytest

import reference.ops
from backends import BackendError, get_backend
from backends.tolerances import compare


@pytest.fixture(scope="session")
def ops():
    try:
        return get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture
def cupy(ops):
    import cupy

    return cupy


@pytest.fixture
def poisoned(cupy, monkeypatch):
    """Fresh memory holds NaN, so that a value which no kernel wrote shows."""
    empty, empty_like = cupy.empty, cupy.empty_like

    def poison(array):
        array.fill(np.nan if array.dtype.kind == "f" else 77)
        return array

    monkeypatch.setattr(cupy, "empty", lambda *args, **kwargs: poison(empty(*args, **kwargs)))
    monkeypatch.setattr(cupy, "empty_like", lambda *args, **kwargs: poison(empty_like(*args, **kwargs)))


def cast(value, dtype):
    """Arrays of floats to ``dtype``; masks, labels, options and None as they are."""
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


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
    return float(np.nanmax(np.abs(value.astype(np.float64) - exact), initial=0.0) / scale)


@pytest.fixture
def agree(ops, poisoned):
    """``agree(op, inputs, options, dtype)``: the backend computes what the reference computes in float64.

    Where the reference itself, run in ``dtype``, is far from float64, the problem is ill-conditioned and the
    table's allowance for that holds.
    """

    def check(op, inputs, options, dtype, layout=lambda x: x):
        def case(wanted):
            """Inputs, options and dy in ``wanted``, all rounded to ``dtype`` first."""

            def both(x):
                return cast(cast(x, dtype), wanted)

            def dy(shape):
                return both(np.random.default_rng(9).normal(size=shape))

            return op, [both(x) for x in inputs], {name: both(value) for name, value in options.items()}, dy

        exact = run(reference.ops, *case("float64"))
        plain = run(reference.ops, *case(dtype))

        sent = []

        def put(x):
            if x is None:
                return None
            sent.append((x, layout(ops.asarray(x))))
            return sent[-1][1]

        got = run(ops, *case(dtype), put)
        for name, value in exact.items():
            if value is None:
                assert got[name] is None, f"{op}: {name} should be None"
                continue
            result = compare(value, got[name], dtype, plain_error=error_of(plain[name], value))
            assert result.passed, f"{op}: {name} {result.reason}"
        for before, after in sent:
            np.testing.assert_array_equal(ops.to_numpy(after), before, err_msg=f"{op} changed an input")

    return check
