"""Every op of the contract, forward and backward, on all its cases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backends.contract import Ops
from segattn_cli.checking.cases import Case, cases, lay_out
from segattn_cli.checking.lockstep import JOINS, LockStep
from segattn_cli.checking.results import Result, summarise


def check_op(backend: Ops, op: str, dtype: str, *, quick: bool = False) -> Iterator[Result]:
    """Compare ``op`` of ``backend`` with the reference: two results a case, forward and backward.

    The oracle is the reference in float64 on the very inputs that the backend gets, those rounded to ``dtype``.
    ``quick`` leaves out the cases named "large".
    """
    for case in cases(op):
        if not (quick and case.name.startswith("large")):
            yield from _check_case(backend, op, case, dtype)


def _check_case(backend: Ops, op: str, case: Case, dtype: str) -> Iterator[Result]:
    step = LockStep(backend, dtype, conditioning=False)
    inputs = [_prepare(x, dtype, case.layout) for x in case.inputs]
    options = {name: _prepare(x, dtype, case.layout) for name, x in case.options.items()}
    if op in JOINS:
        getattr(step, op)(*inputs)
    else:
        y, cache = getattr(step, op)(*inputs, **options)
        rng = np.random.Generator(np.random.Philox(key=1))
        dy = _prepare(np.asarray(rng.standard_normal(y.shape)), dtype, case.layout)
        getattr(step, f"{op}_backward")(dy, cache)
    tensors = [(tensor.direction, tensor.name, tensor.comparison) for tensor in step.finish()]
    yield from summarise(op, case.name, dtype, tensors)


def _prepare(x: object, dtype: str, layout: str) -> object:
    """Floats in ``dtype``, labels and masks as they are, all laid out in memory as the case wants."""
    if isinstance(x, list):
        return [_prepare(each, dtype, layout) for each in x]
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        x = x.astype(dtype)
    return lay_out(x, layout)
