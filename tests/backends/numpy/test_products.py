"""Products in compiled tiles, against NumPy in float64, at sizes that fill no tile, no panel and no block."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")

import reference.ops as oracle
from backends.numba import conv2d, conv2d_backward, gemm, products
from backends.numba.finish import Finish
from backends.numpy.threads import set_thread_count

SHAPES = [(1, 1, 1), (5, 3, 2), (12, 256, 32), (13, 257, 33), (50, 600, 1100), (700, 7, 65), (601, 1, 40)]
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def draw():
    rng = np.random.default_rng(0)
    return lambda shape, dtype: rng.standard_normal(shape).astype(dtype)


@both_dtypes
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_multiply(draw, shape, dtype, transposed):
    rows, depth, columns = shape
    x = draw((rows, depth), dtype)
    weight = draw((columns, depth), dtype).T if transposed else draw((depth, columns), dtype)
    bias, residual = draw((columns,), dtype), draw((rows, columns), dtype)
    y = products.multiply(x, weight, finish=Finish.of(weight, bias, residual, relu=True))
    exact = x.astype(np.float64) @ weight.astype(np.float64)
    assert_near(products.multiply(x, weight), exact)
    assert_near(y, np.maximum(exact + bias + residual, 0))


@both_dtypes
@pytest.mark.parametrize("shape", [*SHAPES, (2000, 70, 90)])
def test_multiply_transposed(draw, shape, dtype):
    length, rows, columns = shape
    x, y = draw((length, rows), dtype), draw((length, columns), dtype)
    exact = x.T.astype(np.float64) @ y.astype(np.float64)
    assert_near(products.multiply_transposed(x, y), exact)


def test_the_number_of_threads_changes_no_bit(draw):
    x, weight, y = draw((700, 300), "float32"), draw((300, 600), "float32"), draw((700, 90), "float32")
    results = []
    for threads in (1, 2, 3):
        set_thread_count(threads)
        results.append((products.multiply(x, weight), products.multiply_transposed(x, y)))
    set_thread_count(None)
    for each in results[1:]:
        for a, b in zip(each, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("taps", "stride"), [(1, 2), (3, 2), (7, 3)])
def test_the_number_of_threads_changes_no_bit_of_products_with_patches(draw, taps, stride):
    x, weight = draw((2, 61, 47, 40), "float32"), draw((taps, taps, 40, 33), "float32")
    results = []
    for threads in (1, 2, 3):
        set_thread_count(threads)
        y, cache = conv2d(x, weight, stride=stride, padding=taps // 2)
        results.append((y, *conv2d_backward(y, cache)[:2]))
    set_thread_count(None)
    for each in results[1:]:
        for a, b in zip(each, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("taps", "stride"), [(1, 2), (3, 2), (7, 3)])
def test_products_with_patches_of_many_blocks_are_those_of_the_reference(draw, taps, stride):
    x, weight = draw((2, 61, 47, 40), "float64"), draw((taps, taps, 40, 33), "float64")
    options = {"stride": stride, "padding": taps // 2}
    y, cache = conv2d(x, weight, **options)
    exact, exact_cache = oracle.conv2d(x, weight, **options)
    gradients, wanted = conv2d_backward(y, cache), oracle.conv2d_backward(exact, exact_cache)
    for ours, theirs in ((y, exact), (gradients[0], wanted[0]), (gradients[1], wanted[1])):
        assert_near(ours, theirs)


def test_infinities_and_nan_stay_in_their_rows(draw):
    x, weight = draw((20, 40), "float32"), draw((40, 50), "float32")
    x[3, 5], x[7, 2] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = np.where(np.isfinite(x @ weight), 0, x @ weight)
        np.testing.assert_array_equal(np.where(np.isfinite(y := products.multiply(x, weight)), 0, y), expected)


def test_panels_have_zeros_beyond_the_last_column():
    width = gemm.panels_of((1, 1), np.dtype("float32"))[2]
    panels = products.packed(np.ones((3, width + 1), np.float32))
    assert panels.shape == (2, 3, width)
    assert panels[1, :, 0].all()
    assert not panels[1, :, 1:].any()


def assert_near(got, exact):
    tolerance = 3e-6 if got.dtype == np.float32 else 1e-13
    assert np.max(np.abs(got - exact)) <= tolerance * max(1, np.max(np.abs(exact)))
