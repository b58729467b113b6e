"""Which dtype a precision means, and what of a network has it."""

from __future__ import annotations

from typing import get_args

import ml_dtypes
import numpy as np
import pytest

from backends.contract import PRECISIONS
from backends.precision import array_dtype, cast_weights
from segattn_cli.config import keys

DTYPES = {"float32": np.float32, "tf32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def test_every_precision_has_its_dtype_and_can_be_configured():
    assert {precision: array_dtype(precision) for precision in PRECISIONS} == DTYPES
    assert get_args({key.path: key.type for key in keys()}["training.precision"]) == PRECISIONS


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_weights_are_rounded_and_what_has_one_value_a_channel_is_not(rng, precision):
    shapes = {"conv.weight": (3, 3, 2, 4), "linear.weight": (4, 5), "bn.weight": (4,), "bias": (4,), "gate": ()}
    params = {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}
    before = {name: value.copy() for name, value in params.items()}
    cast = cast_weights(params, array_dtype(precision))
    for name, value in params.items():
        np.testing.assert_array_equal(value, before[name])
        if value.ndim < 2:
            assert cast[name] is value
        else:
            assert cast[name].dtype == DTYPES[precision]
            np.testing.assert_array_equal(cast[name], value.astype(DTYPES[precision]))
    assert list(cast) == list(params)


def test_what_has_the_dtype_already_is_not_copied(rng):
    params = {"conv.weight": rng.normal(size=(1, 1, 3, 4)).astype(np.float32)}
    assert cast_weights(params, array_dtype("tf32"))["conv.weight"] is params["conv.weight"]
