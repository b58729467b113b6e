"""Ops that run a backend and the reference side by side, call by call, and compare everything that comes back.

A :class:`LockStep` is itself a set of ops, so one call of one op and a whole network are checked alike. Both sides
start every call from the same inputs: what a call returns is the reference's result, so that rounding does not
add up over the layers, and a wrong op shows up by itself and not in all that follows it.
"""

from __future__ import annotations

import inspect
import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import reference.ops as oracle
from backends.contract import Ops
from backends.precision import array_dtype, cast, is_floating, vector_dtype
from backends.tolerances import TOLERANCES, Comparison, compare, failure
from reference.ops.checks import HALVES

#: A backend is judged by its values: products of some BLAS set the processor's flag, rarely, where no NaN is.
judged_by_values = np.errstate(invalid="ignore")

#: Op → the names of what its backward returns, in order.
GRADIENTS = {
    "conv2d": ("dx", "dweight", "dbias"),
    "conv2d_relu": ("dx", "dweight", "dbias", "dresidual"),
    "batch_norm": ("dx", "dscale", "dshift"),
    "batch_norm_relu": ("dx", "dscale", "dshift", "dresidual"),
    "relu": ("dx",),
    "max_pool2d": ("dx",),
    "global_mean_pool": ("dx",),
    "resize_bilinear": ("dx",),
    "linear": ("dx", "dweight", "dbias"),
    "dropout": ("dx",),
    "softmax": ("dx",),
    "softmax_cross_entropy": ("dlogits",),
    "softmax_focal": ("dlogits",),
    "softmax_dice": ("dlogits",),
    "lovasz_softmax": ("dlogits",),
    "position_attention": ("dquery", "dkey", "dvalue"),
    "channel_attention": ("dx",),
    "gated_residual": ("dx", "dupdate", "dgate"),
    "scale_fusion": ("dscores", "dscale_logits"),
    "scale_max": ("dscores",),
    "scale_mean": ("dscores",),
}
#: Ops whose result is a scalar, which is float32 beside 16 bits.
LOSSES = tuple(op for op, gradients in GRADIENTS.items() if gradients == ("dlogits",))
#: Ops that take a list of arrays and have no backward.
JOINS = ("concatenate", "stack")
#: The input of a ReLU counts as zero below this fraction of its largest value.
KINK = 1e-5
#: Precisions whose rounding is larger than that, in which a tolerance of one rounding is too strict for some ops.
ROUGH = (*HALVES, "tf32")


@dataclass(eq=False)
class ComparedTensor:
    """One tensor that the backend and the reference computed, and their comparison."""

    op: str
    name: str  # "y", "dkey", …, or an input that must not change
    direction: str  # "forward" or "backward"
    comparison: Comparison
    value: Any = field(default=None, repr=False)  # the reference's, with which the network continues
    forward: ComparedTensor | None = None  # the output of the call that this belongs to
    observed: str = ""  # its name in the network

    @property
    def path(self) -> str:
        """Its name in the network, or that of its call: ``dkey of head.position.attended``."""
        owner = self.forward.observed if self.forward else ""
        return self.observed or f"{self.name} of {owner or self.op}"


class Snapshot(NamedTuple):
    """An array that the backend was given or returned, and the checksum of its values at that time."""

    name: str
    array: Any
    checksum: int


class PairedCache(NamedTuple):
    """The caches of one call, of the reference and of the backend."""

    forward: ComparedTensor
    oracle: Any  # of the reference in float64
    plain: Any  # of the reference in the dtype itself; None without conditioning
    backend: Any
    given: list[Snapshot]  # the inputs, which must not change
    on_kink: Any  # where the sign of a ReLU's input is a matter of rounding; None for other ops
    mean: Any  # of a batch norm: layers read these two
    variance: Any


class LockStep:
    """The ops of ``backend``, each compared in ``dtype`` with the reference in float64.

    ``dtype`` is float64 or a precision (:data:`backends.contract.PRECISIONS`). In float16 and bfloat16 what has one
    value a channel is float32. The plain implementation there is the reference in float16.

    With ``conditioning``, a tensor may be off by as much as a plain implementation is (see
    :func:`backends.tolerances.compare`): in a network, some gradients are zero but for rounding. What is
    :data:`ROUGH` always may: a GPU may truncate the factors of TF32 instead of rounding them. Pass
    :meth:`observe` to the network's context so that tensors get their names, and call :meth:`finish` at the end.
    """

    name = "lock-step"

    def __init__(self, backend: Ops, dtype: str, *, conditioning: bool) -> None:
        self.backend = backend
        self.dtype = dtype
        self.maps = array_dtype(dtype)
        self.plain_dtype = plain_dtype(dtype)
        self.conditioning = conditioning or dtype in ROUGH
        self.tensors: list[ComparedTensor] = []
        self._returned: list[tuple[ComparedTensor, Snapshot]] = []
        self.asarray, self.to_numpy, self.synchronize = oracle.asarray, oracle.to_numpy, oracle.synchronize
        for op in GRADIENTS:
            setattr(self, op, partial(self._forward, op))
            setattr(self, f"{op}_backward", partial(self._backward, op))
        for op in JOINS:
            setattr(self, op, partial(self._join, op))

    def observe(self, name: str, array: Any) -> None:
        """Note that ``array`` is called ``name`` in the network."""
        for tensor in reversed(self.tensors):
            if tensor.value is array:
                tensor.observed = name
                return

    def finish(self) -> list[ComparedTensor]:
        """Everything that was compared, in order; what the backend overwrote after returning it has failed."""
        for tensor, returned in self._returned:
            if tensor.comparison.passed and self._checksum(returned.array) != returned.checksum:
                tensor.comparison = failure(self.dtype, "was overwritten after it had been returned")
        return self.tensors

    @judged_by_values
    def _forward(self, op: str, *args: Any, **options: Any) -> tuple[Any, PairedCache]:
        function = getattr(oracle, op)
        names = list(inspect.signature(function).parameters)
        inputs = dict(zip(names, args, strict=False)) | options
        wanted, oracle_cache = function(**_cast(inputs, "float64"))
        plain, plain_cache = self._plain(function, **_cast(inputs, self.plain_dtype)) or (None, None)

        stored = vector_dtype(self.maps) if op in LOSSES else self.maps
        forward = ComparedTensor(op, "y", "forward", failure(self.dtype, "is missing"), wanted.astype(stored))
        self.tensors.append(forward)
        given = self._give(inputs)
        arrays = inputs | {each.name: each.array for each in given}
        cache = None
        try:
            y, cache = getattr(self.backend, op)(
                *[arrays[name] for name in names[: len(args)]], **{name: arrays[name] for name in options}
            )
            self._compare(forward, wanted, y, plain)
            if options.get("training"):
                for name in ("mean", "variance"):
                    tensor = self._add(op, name, forward, "forward")
                    self._compare(tensor, getattr(oracle_cache, name), getattr(cache, name))
        except Exception as error:  # whatever a backend does is a finding, and no end of the check
            forward.comparison = _raised(self.dtype, error)
        self._check_unchanged(given, forward, "forward")
        statistics = [cast(getattr(oracle_cache, name, None), self.maps) for name in ("mean", "variance")]
        return forward.value, PairedCache(
            forward, oracle_cache, plain_cache, cache, given, self._on_kink(op, inputs), *statistics
        )

    @judged_by_values
    def _backward(self, op: str, dy: Any, cache: PairedCache, **options: Any) -> Any:
        dy = np.asarray(dy, cache.forward.value.dtype)
        if cache.on_kink is not None and cache.on_kink.any():
            dy = np.where(cache.on_kink, dy.dtype.type(0), dy)
        function = getattr(oracle, f"{op}_backward")
        wanted = _as_tuple(function(dy.astype("float64"), cache.oracle, **options))
        plain: tuple = (None,) * len(wanted)
        if cache.plain is not None:
            plain = _as_tuple(self._plain(function, dy.astype(self.plain_dtype), cache.plain, **options))

        gradients = [self._add(op, name, cache.forward, "backward") for name in GRADIENTS[op]]
        belong = {each.name: each.array.dtype for each in cache.given}
        for tensor, value in zip(gradients, wanted, strict=True):
            stored = belong.get(tensor.name[1:], self.maps)  # "dweight" to "weight"
            tensor.value = None if value is None else value.astype(np.dtype(stored))
        given_dy = self._give({"dy": dy})
        try:
            backward = getattr(self.backend, f"{op}_backward")
            got = _as_tuple(backward(given_dy[0].array, cache.backend, **options))
            for each in zip(gradients, wanted, got, plain, strict=True):
                self._compare(*each)
        except Exception as error:
            gradients[0].comparison = _raised(self.dtype, error)
        self._check_unchanged([*cache.given, *given_dy], cache.forward, "backward")
        values = tuple(tensor.value for tensor in gradients)
        return values if len(values) > 1 else values[0]

    def _join(self, op: str, arrays: Any) -> Any:
        wanted = getattr(oracle, op)([array.astype("float64") for array in arrays])
        value = wanted.astype(arrays[0].dtype)
        tensor = ComparedTensor(op, "y", "forward", failure(self.dtype, "is missing"), value)
        self.tensors.append(tensor)
        given = self._give({f"arrays[{n}]": array for n, array in enumerate(arrays)})
        try:
            self._compare(tensor, wanted, getattr(self.backend, op)([each.array for each in given]))
        except Exception as error:
            tensor.comparison = _raised(self.dtype, error)
        self._check_unchanged(given, tensor, "forward")
        return tensor.value

    def _add(self, op: str, name: str, forward: ComparedTensor, direction: str) -> ComparedTensor:
        """Another tensor of the call whose output is ``forward``; it counts as missing until it is compared."""
        tensor = ComparedTensor(op, name, direction, failure(self.dtype, "is missing"), forward=forward)
        self.tensors.append(tensor)
        return tensor

    def _compare(self, tensor: ComparedTensor, wanted: Any, got: Any, plain: Any = None) -> None:
        if wanted is None and got is None:  # the gradient of a bias that is not there
            self.tensors.remove(tensor)
        elif wanted is None:
            tensor.comparison = failure(self.dtype, "should be None")
        elif got is not None:
            error = plain_error(wanted, plain, self.dtype, self.plain_dtype)
            stored = cast(wanted, self.maps).dtype if tensor.value is None else tensor.value.dtype
            tensor.comparison = compare(
                wanted, self.backend.to_numpy(got), self.dtype, plain_error=error, stored=stored
            )
            self._returned.append((tensor, Snapshot(tensor.name, got, self._checksum(got))))

    def _plain(self, function: Any, *args: Any, **options: Any) -> Any:
        """What a plain implementation gives, where it counts; what overflows in it gives no allowance."""
        if not self.conditioning:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return function(*args, **options)

    def _on_kink(self, op: str, inputs: dict[str, Any]) -> Any:
        """Where the input of the ReLU inside a fused op is so near 0 that rounding decides on its sign.

        There the gradient is any of two values, both right, so no gradient is sent that way. Plain ReLUs and
        pools see the very same input on both sides, and agree.
        """
        if not op.endswith("_relu"):
            return None
        arguments = _cast(inputs, "float64")
        residual = arguments.pop("residual", None)
        arguments.pop("overwrite_residual", None)  # which changes no value
        z, _ = getattr(oracle, op.removesuffix("_relu"))(**arguments)
        if residual is not None:
            z = z + residual
        rounding = 2 * TOLERANCES[self.dtype].epsilon if self.dtype in ROUGH else 0
        return np.abs(z) <= max(KINK, rounding) * np.abs(z).max()

    def _give(self, inputs: dict[str, Any]) -> list[Snapshot]:
        """The arrays among ``inputs``, as the backend's."""
        arrays = {name: self.backend.asarray(x) for name, x in inputs.items() if isinstance(x, np.ndarray)}
        return [Snapshot(name, array, self._checksum(array)) for name, array in arrays.items()]

    def _check_unchanged(self, given: list[Snapshot], forward: ComparedTensor, direction: str) -> None:
        for n, each in enumerate(given):
            checksum = self._checksum(each.array)
            if checksum != each.checksum:
                tensor = self._add(forward.op, each.name, forward, direction)
                tensor.comparison = failure(self.dtype, "is an input, which the op changed")
                given[n] = each._replace(checksum=checksum)  # reported once

    def _checksum(self, array: Any) -> int:
        return zlib.crc32(np.ascontiguousarray(self.backend.to_numpy(array)).tobytes())


def plain_dtype(dtype: str) -> str:
    """In what the plain implementation computes beside ``dtype``: NumPy has float16, and bfloat16 hardly.

    >>> plain_dtype("float64"), plain_dtype("tf32"), plain_dtype("bfloat16")
    ('float32', 'float32', 'float16')
    """
    return {"float64": "float32", "tf32": "float32", "bfloat16": "float16"}.get(dtype, dtype)


def plain_error(wanted: Any, plain: Any, dtype: str, plain_dtype: str) -> float:
    """The error of a plain implementation relative to ``max|wanted|``, carried over from its dtype to ``dtype``.

    The rounding of float32 that a computation blows up, it blows up in float64 just as much.
    """
    if plain is None:
        return 0.0
    error = np.abs(plain.astype("float64") - wanted)
    largest = float(np.abs(wanted).max(initial=0.0)) or 1.0
    carried = TOLERANCES[dtype].epsilon / TOLERANCES[plain_dtype].epsilon
    return float(error[np.isfinite(error)].max(initial=0.0)) / largest * carried


def _cast(inputs: dict[str, Any], dtype: str) -> dict[str, Any]:
    return {
        name: x.astype(dtype) if isinstance(x, np.ndarray) and is_floating(x) else x
        for name, x in inputs.items()
    }


def _as_tuple(result: Any) -> tuple:
    return tuple(result) if isinstance(result, tuple) else (result,)


def _raised(dtype: str, error: Exception) -> Comparison:
    return failure(dtype, f"raised {type(error).__name__}: {error}")
