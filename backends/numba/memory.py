"""Arrays in memory that is there already: parts of an array, and of the stack."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.np.arrayobj import populate_array

from backends.numba.compile import inner
from backends.numba.intrinsic import intrinsic


@inner
def carve(memory, first, shape):
    """The part of ``memory`` from ``first`` on as an array of ``shape``, and the end of it."""
    size = 1
    for length in shape:
        size *= length
    return view(memory, first, shape), first + size


@intrinsic
def view(typingctx, x, first, shape):
    """The values of ``x``, an array in C order, from ``first`` on as an array of ``shape``.

    NumPy's ``reshape`` is more to compile, and calls a function that says whether it has to copy.
    """
    kind = types.Array(x.dtype, len(shape), "C")

    def generate(context, builder, signature, arguments):
        source, lengths = context.make_array(x)(context, builder, arguments[0]), arguments[2]
        place = builder.gep(source.data, [arguments[1]], inbounds=True)
        array = _array(context, builder, kind, place, cgutils.unpack_tuple(builder, lengths), source.meminfo)
        return impl_ret_borrowed(context, builder, kind, array)

    is_in_order = x.layout == "C"
    return (kind(x, types.intp, types.UniTuple(types.intp, len(shape))), generate) if is_in_order else None


def on_stack(shape_of: Callable[[int], tuple[int, ...]]) -> Any:
    """A function of an array, which returns one of the same dtype, of ``shape_of(bytes of a value)``, on the stack.

    It exists until the function that asked for it returns. For memory from NumPy, compiled code counts references.
    """

    def memory(typingctx, x):
        shape = shape_of(x.dtype.bitwidth // 8)
        kind = types.Array(x.dtype, len(shape), "C")

        def generate(context, builder, signature, arguments):
            data = cgutils.alloca_once(builder, context.get_data_type(x.dtype), size=math.prod(shape))
            return _array(context, builder, kind, data, [cgutils.intp_t(length) for length in shape])

        return kind(x), generate

    return intrinsic(memory)


def _array(context, builder, kind, data, lengths, meminfo=None):
    """An array of the type ``kind`` that begins at ``data``."""
    strides = [cgutils.intp_t(kind.dtype.bitwidth // 8)]
    for length in reversed(lengths[1:]):
        strides.insert(0, builder.mul(length, strides[0], flags=["nsw"]))
    array = context.make_array(kind)(context, builder)
    populate_array(array, data, lengths, strides, strides[-1], meminfo)
    return array._getvalue()
