"""What memory compiled loops work in, and that no thread counts the references to an array of its caller."""

from __future__ import annotations

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from numba import types  # noqa: E402
from numba.core import cgutils  # noqa: E402

from backends.numba import blas  # noqa: E402
from backends.numba.compile import aligned, kernel, release, scratch, workspace  # noqa: E402
from backends.numba.intrinsic import intrinsic  # noqa: E402
from backends.numba.memory import carve, on_stack, view  # noqa: E402

three_rows = on_stack(lambda item: (3, 32 // item))


@intrinsic
def counter(typingctx, x):
    """The address of the number of references to ``x``, or 0 if they are not counted."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(x)(context, builder, arguments[0])
        return builder.ptrtoint(array.meminfo, cgutils.intp_t)

    return types.intp(x), generate


@kernel
def look(block, x, counters):
    counters[block, 0] = counter(x)
    counters[block, 1] = counter(x[block])
    counters[block, 2] = counter(view(x, 0, (2, 3, 1)))
    counters[block, 3] = counter(np.empty(3))


@kernel
def cut(block, x, out):
    flat = view(x, 0, (x.size,))
    part, end = carve(flat, 2, (2, 3))
    row, end = carve(flat, end, (4,))
    rows = three_rows(x)
    rows[:] = 7
    rows[1] = 8
    out[0, :6], out[0, 6] = view(part, 0, (6,)), end
    out[1, :4], out[1, 4], out[1, 5], out[1, 6] = row, part[1, 2], rows[0, 3], rows[2, 0]
    out[2, 0], out[2, 1], out[2, 2] = len(rows), rows.shape[1], rows.sum()


def test_references_to_an_array_of_the_caller_are_not_counted():
    counters = np.full((2, 4), -1)
    look(2, np.zeros((2, 3)), counters)
    assert (counters[:, :3] == 0).all()
    assert (counters[:, 3] != 0).all()  # those to an array of the loop are


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_a_memory_and_of_the_stack(dtype: type):
    out = np.zeros((3, 7))
    cut(1, np.arange(24, dtype=dtype).reshape(4, 6), out)
    width = 32 // np.dtype(dtype).itemsize
    assert out[0].tolist() == [2, 3, 4, 5, 6, 7, 12]
    assert out[1].tolist() == [8, 9, 10, 11, 7, 7, 7]
    assert out[2, :3].tolist() == [3, width, (7 + 8 + 7) * width]


def test_a_view_of_an_array_that_is_not_in_order_is_not_compiled():
    @numba.njit
    def transposed(x):
        return view(x.T, 0, (2,))

    with pytest.raises(numba.TypingError):
        transposed(np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_begins_with_a_line_of_the_caches(dtype: type):
    release()
    for memory in (aligned(5, dtype), workspace(1000, dtype), *scratch(1000, dtype)):
        assert memory.ctypes.data % 64 == 0
    assert aligned(5, dtype).shape == (5,)
    assert workspace(1000, dtype).shape == (1000,)
    assert scratch(1000, dtype).shape[1] >= 1000


@numba.njit
def multiply(a, b, c, add):
    blas.multiply(a, b, c, add)


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("sizes", [(3, 4, 5), (1, 7, 1), (9, 1, 6), (5, 6, 1), (1, 1, 1)], ids=str)
def test_a_product_by_blas_of_parts_and_transposed_views(sizes: tuple[int, int, int], add: bool):
    rows, depth, columns = sizes
    rng = np.random.default_rng(0)
    for left in (rng.random((rows, depth + 3))[:, :depth], rng.random((depth, rows + 2))[:, :rows].T):
        for right in (rng.random((depth, columns + 1))[:, :columns], rng.random((columns, depth)).T):
            out = rng.random((rows, columns + 4))
            wanted = out.copy()
            wanted[:, :columns] = left @ right + (wanted[:, :columns] if add else 0)
            multiply(left, right, out[:, :columns], add)
            np.testing.assert_allclose(out, wanted)
