"""The cases reach every op of the contract, and are what their names say."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import reference.ops
from backends.contract import Ops
from segattn_cli.checking.cases import CASES, LAYOUTS, cases, lay_out
from segattn_cli.checking.lockstep import GRADIENTS, JOINS


def test_every_op_of_the_contract_has_cases_and_named_gradients() -> None:
    functions = {name for name, value in vars(Ops).items() if inspect.isfunction(value) and name[0] != "_"}
    backward = {name.removesuffix("_backward") for name in functions if name.endswith("_backward")}
    forward = {name for name in functions if not name.endswith("_backward")}
    assert set(GRADIENTS) == backward
    others = {"asarray", "to_numpy", "synchronize"}
    others |= {"label_map", "hard_pixels"}  # labels are compared exactly, by the tests
    others |= {"constants", "resize_bilinear_rows"}  # the tests compare them with the ops that they stand in for
    others |= {"sum_of_squares", "sgd_update", "adamw_update", "move_towards"}  # after the backward pass
    assert set(CASES) == forward - others == backward | set(JOINS)


@pytest.mark.parametrize("op", GRADIENTS)
def test_gradients_are_named_after_the_inputs(op: str) -> None:
    inputs = [f"d{name}" for name in inspect.signature(getattr(reference.ops, op)).parameters]
    assert [name for name in inputs if name in GRADIENTS[op]] == list(GRADIENTS[op])


@pytest.mark.parametrize("op", CASES)
def test_cases_have_names_of_their_own_and_the_same_values_each_time(op: str) -> None:
    names = [case.name for case in cases(op)]
    assert len(set(names)) == len(names) >= 5
    for one, other in zip(cases(op), cases(op), strict=True):
        for x, again in zip(one.inputs, other.inputs, strict=True):
            np.testing.assert_equal(x, again)
    assert not np.array_equal(cases("relu", seed=1)[0].inputs[0], cases("relu", seed=2)[0].inputs[0])


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("layout", ["plain", *LAYOUTS])
def test_a_layout_keeps_the_values(layout: str, shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    y = lay_out(x, layout)
    np.testing.assert_array_equal(y, x)
    assert y.dtype == x.dtype
    assert y.flags.writeable is (layout != "read-only")
    if layout == "strided" and shape:
        assert y.strides[-1] < 0
    if layout == "transposed" and len(shape) > 1:
        assert not y.flags.c_contiguous


def test_labels_and_logits_are_extreme_enough() -> None:
    by_name = {case.name: case for case in cases("softmax_cross_entropy")}
    assert np.all(by_name["all pixels ignored"].inputs[1] == 255)
    assert np.sum(by_name["one labelled pixel"].inputs[1] != 255) == 1
    assert np.abs(by_name["logits ±1000"].inputs[0]).max() == 1000
    steep = {case.name: case for case in cases("position_attention")}["logits ±1000"]
    logits = steep.inputs[0] @ steep.inputs[1].mT
    assert np.abs(logits).max() > 1000
    assert np.array_equal(logits, np.round(logits))
    energies = {case.name: case for case in cases("channel_attention")}["energies ±1000, paper"].inputs[0]
    assert np.abs(energies.mT @ energies).max() > 500
