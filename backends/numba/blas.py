"""Matrix products inside compiled loops: the BLAS of SciPy, called by its address.

``np.dot`` in compiled code accepts neither rows of a wider matrix nor a result to add to; gemm accepts both.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import llvmlite.binding
import scipy
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address

from backends.numba.intrinsic import intrinsic
from backends.numpy.threads import blas_libraries


def _import_table() -> None:
    """Import SciPy's table of BLAS functions without the rest of scipy.linalg, which takes a tenth of a second."""
    name = "scipy.linalg.cython_blas"
    spec = PathFinder.find_spec("cython_blas", [f"{path}/linalg" for path in scipy.__path__])
    if name not in sys.modules and spec is not None and spec.loader is not None:
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


_import_table()
for _name in ("sgemm", "dgemm"):
    llvmlite.binding.add_symbol(f"segattn_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
blas_libraries.cache_clear()  # SciPy's has been loaded since

_CHARACTER, _INT = ir.IntType(8), ir.IntType(32)


@intrinsic
def multiply(typingctx, a, b, c, add):
    """``c = a·b``, or with ``add`` ``c += a·b``, for ``a (M, K)``, ``b (K, N)``, ``c (M, N)``.

    The rows of ``c`` are contiguous, as are the rows of ``a`` and ``b`` or their columns (of a transposed view).
    All are float32 or all float64.
    """

    def generate(context, builder, signature, arguments):
        left, right, out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        item = cgutils.intp_t(c.dtype.bitwidth // 8)
        (rows, depth), (_, columns) = _pair(builder, left.shape), _pair(builder, right.shape)
        # BLAS is column-major: it computes cᵀ = bᵀ·aᵀ.
        b_letter, b_step = _layout(builder, right, item)
        a_letter, a_step = _layout(builder, left, item)
        c_step = _larger(builder, builder.sdiv(_pair(builder, out.strides)[0], item), cgutils.intp_t(1))
        n, m, k, ldb, lda, ldc = (
            builder.trunc(each, _INT) for each in (columns, rows, depth, b_step, a_step, c_step)
        )
        number = context.get_value_type(c.dtype)
        alpha, beta = number(1.0), builder.uitofp(arguments[3], number)
        values = (b_letter, a_letter, n, m, k, alpha, right.data, ldb, left.data, lda, beta, out.data, ldc)
        places = [each if each.type.is_pointer else cgutils.alloca_once_value(builder, each) for each in values]
        pointers = [builder.bitcast(place, cgutils.voidptr_t) for place in places]
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] * len(pointers))
        name = "segattn_sgemm" if c.dtype == types.float32 else "segattn_dgemm"
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), pointers)
        return context.get_dummy_value()

    return types.none(a, b, c, types.boolean), generate


def _layout(builder, x, item):
    """BLAS's letter for whether a matrix is stored by columns, and the step between its rows or columns."""
    (rows, columns), (row_step, column_step) = _pair(builder, x.shape), _pair(builder, x.strides)
    one = cgutils.intp_t(1)
    by_rows = builder.or_(builder.icmp_signed("==", column_step, item), builder.icmp_signed("==", columns, one))
    letter = builder.select(by_rows, _CHARACTER(ord("N")), _CHARACTER(ord("T")))
    step = builder.sdiv(builder.select(by_rows, row_step, column_step), item)
    return letter, _larger(builder, step, builder.select(by_rows, columns, rows))


def _larger(builder, x, y):
    return builder.select(builder.icmp_signed(">", x, y), x, y)


def _pair(builder, values):
    return cgutils.unpack_tuple(builder, values, 2)
