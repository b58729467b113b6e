"""All backends offer the same ops with the same signatures: those of the contract."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from backends import BACKENDS, BackendError, get_backend
from backends.contract import Ops

NAMES = sorted(name for name in vars(Ops) if not name.startswith("_"))


@pytest.fixture(params=sorted(BACKENDS))
def ops(request):
    try:
        return get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))


def parameters(function):
    """Names, kinds and defaults, in order; annotations may differ."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.name != "self"]


def test_the_contract_is_not_empty():
    assert {"conv2d", "conv2d_backward", "position_attention_backward", "asarray"} <= set(NAMES)


@pytest.mark.parametrize("op", NAMES)
def test_signatures(ops, op):
    assert parameters(getattr(ops, op)) == parameters(getattr(Ops, op))


def test_every_op_has_its_backward(ops):
    without = {"asarray", "to_numpy", "synchronize", "constants", "concatenate", "stack"}
    without |= {"label_map", "hard_pixels", "resize_bilinear_rows"}
    without |= {"sum_of_squares", "sgd_update", "adamw_update", "move_towards"}  # after the backward pass
    forward = [name for name in NAMES if name not in without and not name.endswith("_backward")]
    assert [name for name in forward if f"{name}_backward" not in NAMES] == []


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "float32", "float64"])
def test_asarray_keeps_the_dtype(ops, dtype):
    assert ops.asarray(np.zeros(3, dtype)).dtype == dtype


def test_asarray_of_python_numbers(ops):
    assert ops.asarray([1, 2]).dtype.kind == "i"
    assert ops.asarray([1.0, 2.0]).dtype == np.float32
    assert ops.asarray([1, 2], np.float64).dtype == np.float64


def test_there_and_back(ops):
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(ops.to_numpy(ops.asarray(x)), x)
    ops.synchronize()


def test_name(ops):
    assert get_backend(ops.name) is ops
