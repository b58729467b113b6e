"""The cross-check in 16 bits and TF32, on what any machine can run: the reference, which rounds."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

import reference.ops
from backends import BackendError, get_backend
from backends.precision import is_floating, vector_dtype
from reference.ops.checks import HALVES
from segattn_cli.checking import GPU_DTYPES, prepare
from segattn_cli.checking.cases import CASES
from segattn_cli.checking.lockstep import GRADIENTS, JOINS, LOSSES
from segattn_cli.checking.network_checks import NETWORKS, check_network
from segattn_cli.checking.op_checks import check_op


class RoundedCache(NamedTuple):
    cache: Any
    dtypes: dict[str, Any]  # of the inputs
    maps: Any
    mean: Any
    variance: Any


class Rounding:
    """Computes in float32 and rounds each result to the dtype of what it belongs to; ``faults`` replace ops."""

    name = "rounding"

    def __init__(self, **faults: Any) -> None:
        for op in ("asarray", "to_numpy", "synchronize"):
            setattr(self, op, getattr(reference.ops, op))
        for op in JOINS:
            setattr(self, op, partial(self._join, op))
        for op in GRADIENTS:
            setattr(self, op, partial(self._forward, op))
            setattr(self, f"{op}_backward", partial(self._backward, op))
        for op, fault in faults.items():
            setattr(self, op, partial(fault, getattr(self, op)))

    def _join(self, op, arrays):
        return getattr(reference.ops, op)([longer(each) for each in arrays]).astype(arrays[0].dtype)

    def _forward(self, op, *args, **options):
        function = getattr(reference.ops, op)
        given = dict(zip(inspect.signature(function).parameters, args, strict=False)) | options
        y, cache = function(**{name: longer(value) for name, value in given.items()})
        dtypes = {name: value.dtype for name, value in given.items() if is_floating(value)}
        maps = args[0].dtype
        stored = vector_dtype(maps) if op in LOSSES else maps
        statistics = [getattr(cache, name, None) for name in ("mean", "variance")]
        return y.astype(stored), RoundedCache(cache, dtypes, maps, *statistics)

    def _backward(self, op, dy, cache, **options):
        gradients = getattr(reference.ops, f"{op}_backward")(longer(dy), cache.cache, **options)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        rounded = tuple(
            None if gradient is None else gradient.astype(cache.dtypes.get(name[1:], cache.maps))
            for name, gradient in zip(GRADIENTS[op], gradients, strict=True)
        )
        return rounded if len(rounded) > 1 else rounded[0]


def longer(x):
    return x.astype(np.float32) if is_floating(x) and x.dtype.name in HALVES else x


def failures(results):
    return [(each.direction, each.case, each.first_divergence, each.reason) for each in results if not each.passed]


@pytest.fixture(params=HALVES)
def dtype(request):
    if request.param == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed: pip install ml_dtypes")
    return request.param


@pytest.mark.parametrize("op", CASES)
def test_one_rounding_agrees(op, dtype):
    assert failures(check_op(Rounding(), op, dtype, quick=True)) == []


@pytest.mark.parametrize("network", ["tiny-dual-attention", "tiny-position-max"])
def test_networks_agree(network, dtype):
    assert failures(check_network(Rounding(), network, NETWORKS[network], dtype)) == []


def off_by_four_roundings(op, *args, **options):
    y, cache = op(*args, **options)
    return (y + 4 * np.finfo(np.float16).eps * np.abs(y).max()).astype(y.dtype), cache


def in_float32(op, *args, **options):
    y, cache = op(*args, **options)
    return y.astype(np.float32), cache


@pytest.mark.parametrize("fault", [off_by_four_roundings, in_float32])
def test_what_is_wrong_is_seen(fault):
    found = failures(check_op(Rounding(linear=fault), "linear", "float16", quick=True))
    assert found
    assert {direction for direction, *_ in found} == {"forward"}


def test_what_is_wrong_in_tf32_is_seen():
    assert failures(check_op(Rounding(linear=off_by_four_roundings), "linear", "tf32", quick=True))


def test_a_vector_of_16_bits_is_seen():
    def short(backward, dy, cache, **options):
        dx, dweight, dbias = backward(dy, cache, **options)
        return dx, dweight, None if dbias is None else dbias.astype(np.float16)

    (first, *_) = failures(check_op(Rounding(linear_backward=short), "linear", "float16", quick=True))
    assert first[2:] == ("dbias", "has dtype float16 instead of float32")


def test_factors_of_tf32_may_be_cut_off():
    def cut(x):
        """10 bits of mantissa."""
        return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    def attention(op, *tokens):
        return op(*map(cut, tokens))

    backend = Rounding(position_attention=attention)
    assert failures(check_op(backend, "position_attention", "tf32", quick=True)) == []


@pytest.mark.parametrize("dtype", GPU_DTYPES)
def test_a_backend_of_the_cpu_has_none_of_it(dtype):
    with pytest.raises(BackendError, match=rf"numpy computes in float32, not in {dtype}, which needs a GPU"):
        prepare(get_backend("numpy"), dtype)
