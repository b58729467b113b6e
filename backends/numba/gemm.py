"""Matrix products on one thread, in tiles of the result that stay in vector registers.

A tile is the product of a few rows of the left matrix and as many columns of the right one as two vector registers
hold. For each step along the depth, the processor loads a row of the panel of these columns, and multiplies it by
one number of each row of the left matrix (Goto and van de Geijn, ACM TOMS 2008). The right matrix is packed into
such panels before. BLAS does the same, but packs both matrices at each call, which takes as long as a narrow
product itself, and uses half of the processor where the environment holds it to older kernels.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from backends.numba.compile import inner
from backends.numba.intrinsic import intrinsic
from backends.numba.memory import carve, on_stack

_FEATURES = llvmlite.binding.get_host_cpu_features()
#: Bytes of a vector register.
_VECTOR = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
#: Rows of a tile: two vectors of sums for each of them, and two of a panel, fill the registers.
ROWS = 12 if _FEATURES.get("avx512f") else 6
#: Steps along the depth, whose rows stay in the first cache of a core (L1), and columns, whose panels stay in the
#: second (L2).
DEPTH, COLUMNS = 256, 512
#: From one copied row of the left matrix to the next. A power of 2 would put all of them into one place of a cache.
STEP = DEPTH + 16
#: So many rows before they are packed, the processor is told to fetch them.
_AHEAD = 8

#: Memory for copied rows of a tile, and for a tile that is partly outside of the result.
rows_of_tile = on_stack(lambda item: (ROWS * STEP,))
edge_of_tile = on_stack(lambda item: (ROWS, 2 * _VECTOR // item))


def panels_of(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int, int]:
    """The shape of the panels of a matrix of this ``shape`` on the right."""
    depth, columns = shape
    width = 2 * _VECTOR // dtype.itemsize
    return -(-columns // width), depth, width


def most_values(depth: int, columns: int) -> int:
    """No fewer values than the panels of a matrix ``(depth, columns)`` have, on the right or on the left."""
    return depth * (columns + 2 * _VECTOR // 4)


@inner
def width_of(x):
    """The width of a panel on the right, for the dtype of ``x``."""
    return 2 * _VECTOR // x.itemsize


@inner
def carve_panels(memory, first, depth, columns, width):
    """Memory from ``first`` on as the panels of a matrix ``(depth, columns)``, and the end of it."""
    return carve(memory, first, (-(-columns // width), depth, width))


@inner
def pack(b, panels):
    """Copy ``b (K, N)`` to ``panels (N / width, K, width)``, with zeros beyond the last column.

    The width is that of a panel on the right, or :data:`ROWS` for a transposed matrix on the left.
    """
    depth, columns = b.shape
    width = panels.shape[2]
    whole = columns // width
    step = b.strides[0] // b.itemsize
    ahead = _AHEAD * step
    if b.strides[0] < b.strides[1]:  # a transposed view
        for p in range(whole):
            for j in range(width):
                for k in range(depth):
                    panels[p, k, j] = b[k, p * width + j]
    elif width == ROWS:
        for k in range(depth):
            for p in range(whole):
                _fetch_line(b, k * step + p * width + ahead)
                _copy_rows_of_tile(b, k * step + p * width, panels, (p * depth + k) * width)
    else:
        for k in range(depth):
            for p in range(whole):
                _fetch_line(b, k * step + p * width + ahead)
                _fetch_line(b, k * step + p * width + ahead + width // 2)
                copy_two_vectors(b, k * step + p * width, panels, (p * depth + k) * width)
    if whole < len(panels):
        panels[whole] = 0
        for k in range(depth):
            for j in range(whole * width, columns):
                panels[whole, k, j - whole * width] = b[k, j]


@inner
def multiply(a, panels, c, add):
    """``c = a·b``, or with ``add`` ``c += a·b``, for ``a (M, K)``, the panels of ``b (K, N)`` and ``c (M, N)``."""
    rows, depth = a.shape
    width, step = panels.shape[2], a.strides[0] // a.itemsize
    copies, edge = rows_of_tile(a), edge_of_tile(a)
    copies[:] = 0
    group = COLUMNS // width
    for first in range(0, len(panels), group):
        count = min(len(panels) - first, group)
        for start in range(0, depth, DEPTH):
            length = min(depth - start, DEPTH)
            for top in range(0, rows, ROWS):
                for i in range(min(ROWS, rows - top)):
                    row = (top + i) * step + start
                    copy_values(a, row, copies, i * STEP, length)
                coming = max(0, min(ROWS, rows - top - ROWS))  # rows, fetched by turns while this tile is computed
                for p in range(count):
                    for i in range(p * coming // count, (p + 1) * coming // count):
                        row = (top + ROWS + i) * step + start
                        for k in range(0, length, width // 2):
                            _fetch_line(a, row + k)
                    left = (first + p) * width
                    panel, more = left * depth + start * width, add or start > 0
                    multiply_tile(copies, 0, panels, panel, length, top, left, edge, c, more)


@inner
def multiply_transposed(columns, panels, c, add):
    """``c = aᵀ·b``, or with ``add`` ``c += aᵀ·b``, for panels of ``a (K, M)`` and ``b (K, N)``, ``c (M, N)``."""
    depth, width = panels.shape[1:]
    edge = edge_of_tile(c)
    for start in range(0, depth, DEPTH):
        length, more = min(depth - start, DEPTH), add or start > 0
        for t in range(len(columns)):
            for p in range(len(panels)):
                first, panel = (t * depth + start) * ROWS, (p * depth + start) * width
                address, step, is_whole = _place_of_tile(t * ROWS, p * width, edge, c)
                _tile_of_columns(columns, first, panels, panel, address, step, length, more and is_whole)
                if not is_whole:
                    _copy_edge(edge, t * ROWS, p * width, c, more)


@inner
def multiply_tile(a, a_from, panels, panels_from, depth, top, left, edge, c, add):
    """The tile of ``c`` whose first value is in row ``top`` and column ``left``; ``edge`` is memory for a tile."""
    address, step, is_whole = _place_of_tile(top, left, edge, c)
    _tile_of_rows(a, a_from, panels, panels_from, address, step, depth, add and is_whole)
    if not is_whole:
        _copy_edge(edge, top, left, c, add)


@inner
def _place_of_tile(top, left, edge, c):
    """Where a tile is written, the distance of its rows, and whether this is in ``c`` and not in ``edge``."""
    width, step = edge.shape[1], c.strides[0] // c.itemsize
    if top + ROWS <= c.shape[0] and left + width <= c.shape[1]:
        return _address(c, top * step + left), step, True
    return _address(edge, 0), width, False


@inner
def _copy_edge(edge, top, left, c, add):
    """Write the part of a tile that is in ``c``, or with ``add`` add it."""
    for i in range(min(ROWS, c.shape[0] - top)):
        for j in range(min(edge.shape[1], c.shape[1] - left)):
            c[top + i, left + j] = edge[i, j] + c[top + i, left + j] if add else edge[i, j]


# What has to be a few instructions of the processor is written in those of LLVM. A place in the memory of an array
# is counted in values, from its first one.


def _pointers(context, builder, signature, values, *pairs):
    """The addresses of pairs of arguments: an array, and a place in its memory."""
    arrays = [context.make_array(signature.args[x])(context, builder, values[x]) for x, _ in pairs]
    return [builder.gep(x.data, [values[place]]) for x, (_, place) in zip(arrays, pairs, strict=True)]


@intrinsic
def copy_values(typingctx, x, from_, y, to, count):
    """Copy ``count`` values of a row. In a part of a matrix Numba would not know that they are contiguous."""

    def generate(context, builder, signature, arguments):
        source, target = _pointers(context, builder, signature, arguments, (0, 1), (2, 3))
        cgutils.raw_memcpy(builder, target, source, arguments[4], x.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(x, types.intp, y, types.intp, types.intp), generate


@intrinsic
def _address(typingctx, x, place):
    def generate(context, builder, signature, arguments):
        (pointer,) = _pointers(context, builder, signature, arguments, (0, 1))
        return builder.ptrtoint(pointer, cgutils.intp_t)

    return types.intp(x, types.intp), generate


@intrinsic
def _fetch_line(typingctx, x, place):
    """Tell the processor that a line of the cache will be read soon. The place may be beyond the end."""

    def generate(context, builder, signature, arguments):
        (address,) = _pointers(context, builder, signature, arguments, (0, 1))
        _generate_fetch(builder, address, 0)
        return context.get_dummy_value()

    return types.none(x, types.intp), generate


def _generate_fetch(builder, address, write):
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = builder.module.declare_intrinsic(
        "llvm.prefetch", (byte,), ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    )
    builder.call(function, [builder.bitcast(address, byte), flag(write), flag(3), flag(1)])


def _copy_of(count_of):
    """A copy of ``count_of(bytes of a value)`` values, without a loop."""

    def copy(typingctx, x, from_, y, to):
        item = x.dtype.bitwidth // 8

        def generate(context, builder, signature, arguments):
            source, target = _pointers(context, builder, signature, arguments, (0, 1), (2, 3))
            vector = ir.VectorType(source.type.pointee, count_of(item)).as_pointer()
            values = builder.load(builder.bitcast(source, vector), align=item)
            builder.store(values, builder.bitcast(target, vector), align=item)
            return context.get_dummy_value()

        return types.none(x, types.intp, y, types.intp), generate

    return intrinsic(copy)


copy_two_vectors, _copy_rows_of_tile = _copy_of(lambda item: 2 * _VECTOR // item), _copy_of(lambda item: ROWS)
_copy_half_vector = _copy_of(lambda item: _VECTOR // 2 // item)


@inner
def copy_loosely(x, from_, y, to, count, size):
    """Copy ``count`` values of ``x``, which has ``size``, and perhaps some more, fewer than a vector has.

    It is a few instructions for the small pieces of patches, where :func:`copy_values` calls a function.
    """
    lanes = width_of(x) // 4
    if from_ + count + lanes <= size:
        for k in range(0, count, lanes):
            _copy_half_vector(x, from_ + k, y, to + k)
    else:
        copy_values(x, from_, y, to, count)


def _tile(row_step, depth_step):
    """The product of a panel and of rows that are ``row_step`` apart in memory, and their values ``depth_step``."""

    def tile(typingctx, a, a_from, panels, panels_from, c, c_step, depth, add):
        """``c = a·panel``, or with ``add`` ``c += a·panel``, at the address ``c``, for rows ``c_step`` apart."""

        def generate(context, builder, signature, arguments):
            rows, panel = _pointers(context, builder, signature, arguments, (0, 1), (2, 3))
            address, out_step, length, adds = arguments[4:]
            out = builder.inttoptr(address, panel.type)
            item = a.dtype.bitwidth // 8
            _generate_tile(builder, rows, panel, out, out_step, length, adds, item, row_step, depth_step)
            return context.get_dummy_value()

        index = types.intp
        return types.none(a, index, panels, index, index, index, index, types.boolean), generate

    return intrinsic(tile)


_tile_of_rows, _tile_of_columns = _tile(STEP, 1), _tile(1, ROWS)


def _generate_tile(builder, a, panel, c, c_step, depth, add, item, row_step, depth_step):
    """A loop along the depth, which keeps all sums in registers, and then adds or writes them to ``c``."""
    lanes = _VECTOR // item
    index, vector = depth.type, ir.VectorType(a.type.pointee, lanes)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

    def vector_at(pointer, place):
        return builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())

    outs = [
        [vector_at(c, builder.add(builder.mul(c_step, index(i)), index(v * lanes))) for v in range(2)]
        for i in range(ROWS)
    ]
    for row in outs:
        for out in row:
            _generate_fetch(builder, out, 1)
    before = builder.block
    loop, after = builder.append_basic_block("depth"), builder.append_basic_block("result")
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(index)
    sums = [[builder.phi(vector) for _ in range(2)] for _ in range(ROWS)]
    first, column = builder.mul(k, index(2 * lanes)), builder.mul(k, index(depth_step))
    factors = [builder.load(vector_at(panel, builder.add(first, index(v * lanes))), align=item) for v in range(2)]
    totals = []
    for i, row in enumerate(sums):
        value = builder.load(builder.gep(a, [builder.add(column, index(i * row_step))]))
        single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
        spread = builder.shuffle_vector(single, single, everywhere)
        products = [builder.fmul(spread, factor, flags=("contract",)) for factor in factors]
        totals.append([builder.fadd(*pair, flags=("contract",)) for pair in zip(row, products, strict=True)])
    following = builder.add(k, index(1))
    k.add_incoming(index(0), before)
    k.add_incoming(following, loop)
    for row, row_after in zip(sums, totals, strict=True):
        for total, total_after in zip(row, row_after, strict=True):
            total.add_incoming(ir.Constant(vector, [0.0] * lanes), before)
            total.add_incoming(total_after, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)

    builder.position_at_end(after)
    pairs = [pair for row in zip(outs, totals, strict=True) for pair in zip(*row, strict=True)]
    with builder.if_else(add) as (adds, writes):
        with adds:
            for out, total in pairs:
                builder.store(builder.fadd(builder.load(out, align=item), total), out, align=item)
        with writes:
            for out, total in pairs:
                builder.store(total, out, align=item)
