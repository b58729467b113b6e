"""Convolutions by cuDNN against those by products: both compute the same, and cuDNN the same bits twice."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.gpu

#: (B, H, W, Ci), (kh, kw, Ci, Co), options
SHAPES = [
    ((2, 17, 19, 16), (3, 3, 16, 24), {"padding": 1}),
    ((1, 24, 20, 32), (3, 3, 32, 32), {"padding": 4, "dilation": 4}),
    ((2, 33, 31, 3), (7, 7, 3, 8), {"stride": 2, "padding": 3}),
    ((1, 13, 11, 5), (3, 3, 5, 7), {"stride": 2, "padding": 1}),
    ((2, 16, 16, 64), (1, 1, 64, 128), {"stride": 2}),
]


@pytest.fixture
def cudnn(ops):
    from backends.cupy import cudnn

    if cudnn.version() is None:
        pytest.skip("cuDNN or its frontend is not installed: pip install '.[cudnn]'")
    return cudnn


def run(ops, shape, window, options, dtype):
    rng = np.random.default_rng(3)
    x, weight = (ops.asarray(rng.normal(size=each).astype(np.float32)).astype(dtype) for each in (shape, window))
    y, cache = ops.conv2d(x, weight, **options)
    dy = ops.asarray(rng.normal(size=y.shape).astype(np.float32)).astype(dtype)
    dx, dweight, _ = ops.conv2d_backward(dy, cache)
    return [ops.to_numpy(array.astype(np.float32)) for array in (y, dx, dweight)]


@pytest.mark.parametrize(("shape", "window", "options"), SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_as_by_products(ops, cudnn, monkeypatch, shape, window, options, dtype):
    import ml_dtypes

    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    theirs = run(ops, shape, window, options, dtype)
    assert cudnn._plans, "cuDNN had nothing to do"
    assert None not in cudnn._plans.values(), "cuDNN has no algorithm"
    again = run(ops, shape, window, options, dtype)
    monkeypatch.setattr(cudnn, "version", lambda: None)
    ours = run(ops, shape, window, options, dtype)
    epsilon = 2.0**-10 if dtype == np.float16 else 2.0**-7
    for first, second, product in zip(theirs, again, ours, strict=True):
        np.testing.assert_array_equal(first, second)
        assert np.abs(first - product).max() <= epsilon * np.abs(product).max()


def test_plain_float32_is_by_products(ops, cudnn):
    cudnn._plans.clear()
    run(ops, *SHAPES[0], np.float32)
    assert not cudnn._plans


def test_a_plan_is_made_once_a_shape(ops, cudnn):
    cudnn._plans.clear()
    run(ops, *SHAPES[0], np.float16)
    plans = dict(cudnn._plans)
    assert {key[0] for key in plans} == {"convolve", "input gradient", "weight gradient"}
    run(ops, *SHAPES[0], np.float16)
    assert cudnn._plans == plans
