"""The loop over the blocks of a kernel, in compiled code: what a thread calls, and what Python calls.

``prange`` does the same, but Numba analyses a function with it twice, looks for more loops that could be parallel
in it, and compiles its parts as functions of their own, which doubled the time of the first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.cgutils import intp_t, voidptr_t

from backends.numba.intrinsic import intrinsic

#: What a thread calls, as in Numba's layers: with the addresses of the number of the first part and of their count.
_PART = ir.FunctionType(ir.VoidType(), [voidptr_t, intp_t.as_pointer(), voidptr_t, voidptr_t])
#: What runs the parts: Numba's layer of threads, or :mod:`backends.numba.pool`, under the same name.
_RUN = ir.FunctionType(ir.VoidType(), [_PART.as_pointer(), *[voidptr_t] * 4, intp_t, intp_t, intp_t])
#: The places in what all threads share.
_BLOCKS, _PARTS, _FAILED, _ARGUMENTS = range(4)


def over_blocks(function: Callable[..., Any], body: Any) -> Callable[..., Any]:
    """A function to compile: ``body(block, *arguments)`` for all blocks, which are handed out in so many parts.

    ``body`` is the compiled ``function``, whose name and place the result has.
    """

    @intrinsic
    def run(typingctx, blocks, parts, threads, arguments):
        signature: Any = types.Dispatcher(body).get_call_type(typingctx, (types.intp, *arguments), {})

        def generate(context, builder, _, values):
            compiled = body.overloads[signature.args]
            context.add_linking_libs([compiled.library])
            return _generate_loop(context, builder, compiled.fndesc, signature, *values)

        return types.boolean(types.intp, types.intp, types.intp, arguments), generate

    def loop(blocks, parts, threads, *arguments):
        if run(blocks, parts, threads, arguments):
            raise MemoryError("a compiled loop has no memory")

    for name in ("__module__", "__qualname__", "__name__"):
        setattr(loop, name, getattr(function, name))
    place = function.__code__
    loop.__code__ = loop.__code__.replace(co_filename=place.co_filename, co_firstlineno=place.co_firstlineno)
    return loop


def _generate_loop(context, builder, body, signature, blocks, parts, threads, arguments):
    """Run all parts, and return whether the body failed in one of them, which only a lack of memory makes it."""
    shared = [blocks, parts, intp_t(0), arguments]
    data = cgutils.alloca_once(builder, ir.LiteralStructType([each.type for each in shared]))
    for place, value in enumerate(shared):
        builder.store(value, cgutils.gep_inbounds(builder, data, 0, place))
    number = cgutils.alloca_once_value(builder, cgutils.get_null_value(voidptr_t))
    count = cgutils.alloca_once_value(builder, parts)
    step = cgutils.alloca_once_value(builder, intp_t(1))  # in bytes, from the number of a part to the next
    run = cgutils.get_or_insert_function(builder.module, _RUN, "numba_parallel_for")
    part = _generate_part(context, builder.module, body, signature, data.type)
    addresses = [builder.bitcast(each, voidptr_t) for each in (number, count, step, data)]
    builder.call(run, [part, *addresses, intp_t(0), intp_t(1), threads])
    return cgutils.is_not_null(builder, builder.load(cgutils.gep_inbounds(builder, data, 0, _FAILED)))


def _generate_part(context, module, body, signature, data_type):
    """The function that a thread calls with some parts of the loop."""
    function = ir.Function(module, _PART, f"{body.llvm_func_name}.part")
    builder = ir.IRBuilder(function.append_basic_block())
    number, count, _, address = function.args
    data = builder.bitcast(address, data_type)
    first = builder.ptrtoint(builder.load(builder.bitcast(number, voidptr_t.as_pointer())), intp_t)
    last = builder.add(first, builder.load(count))
    blocks, parts = (builder.load(cgutils.gep_inbounds(builder, data, 0, place)) for place in (_BLOCKS, _PARTS))
    start, stop = (builder.sdiv(builder.mul(each, blocks), parts) for each in (first, last))
    compute = _generate_block(context, module, body, signature, data_type)
    with cgutils.for_range_slice(builder, start, stop, intp_t(1), intp_t) as (block, _):
        builder.call(compute, [block, data])
    builder.ret_void()
    return function


def _generate_block(context, module, body, signature, data_type):
    """The function that computes a block.

    It is one by itself, since LLVM would check for all blocks at once, and roughly, whether arrays overlap. Sums
    would be taken in another order then, depending on where the arrays are.
    """
    kind = ir.FunctionType(ir.VoidType(), [intp_t, data_type])
    function = ir.Function(module, kind, f"{body.llvm_func_name}.block")
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    block, data = function.args
    assume = module.declare_intrinsic("llvm.assume", (), ir.FunctionType(ir.VoidType(), [ir.IntType(1)]))
    builder.call(assume, [builder.icmp_signed(">=", block, intp_t(0))])  # no place is counted from the end
    values = cgutils.unpack_tuple(builder, builder.load(cgutils.gep_inbounds(builder, data, 0, _ARGUMENTS)))
    arguments = [_borrow(context, builder, *each) for each in zip(signature.args[1:], values, strict=True)]
    status, _ = context.call_internal_no_propagate(builder, body, signature, [block, *arguments])
    with builder.if_then(status.is_error, likely=False):
        builder.store(intp_t(1), cgutils.gep_inbounds(builder, data, 0, _FAILED))
    builder.ret_void()
    return function


def _borrow(context, builder, kind, value):
    """An array without its counter of references, which threads would change for each pixel, and in turns only."""
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    return array._getvalue()
