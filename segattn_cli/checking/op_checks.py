"""Every op of the contract, forward and backward, on all its cases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backends.contract import Ops
from backends.precision import array_dtype, cast, is_floating
from segattn_cli.checking.cases import Case, cases, lay_out
from segattn_cli.checking.lockstep import JOINS, LockStep
from segattn_cli.checking.results import CheckResult, summarise


def check_op(backend: Ops, op: str, dtype: str, *, quick: bool = False) -> Iterator[CheckResult]:
    """Compare ``op`` of ``backend`` with the reference: two results a case, forward and backward.

    The oracle is the reference in float64 on the very inputs that the backend gets, those rounded to ``dtype``.
    ``quick`` leaves out the cases named "large".
    """
    for case in cases(op):
        if not (quick and case.name.startswith("large")):
            yield from _check_case(backend, op, case, dtype)


def _check_case(backend: Ops, op: str, case: Case, dtype: str) -> Iterator[CheckResult]:
    step = LockStep(backend, dtype, conditioning=False)
    inputs = [_prepare(x, dtype, case.layout) for x in case.inputs]
    for n, x in enumerate(case.inputs):
        if is_floating(x) and x.shape == case.inputs[0].shape:  # a map, however few its axes
            inputs[n] = lay_out(x.astype(array_dtype(dtype)), case.layout)
    options = {name: _prepare(x, dtype, case.layout) for name, x in case.options.items()}
    if op in JOINS:
        getattr(step, op)(*inputs)
    else:
        y, cache = getattr(step, op)(*inputs, **options)
        rng = np.random.Generator(np.random.Philox(key=1))
        dy = lay_out(np.asarray(rng.standard_normal(y.shape)).astype(y.dtype), case.layout)
        getattr(step, f"{op}_backward")(dy, cache)
    tensors = [(tensor.direction, tensor.name, tensor.comparison) for tensor in step.finish()]
    yield from summarise(op, case.name, dtype, tensors)


def _prepare(x: object, dtype: str, layout: str) -> object:
    """Floats as they stand beside maps of ``dtype``, the rest as it is; in the memory layout of the case."""
    if isinstance(x, list):
        return [_prepare(each, dtype, layout) for each in x]
    return lay_out(cast(x, array_dtype(dtype)), layout)
