"""Where cuDNN would convolve: the weights that it is given, and the gradients that are taken from it.

cuDNN itself is not here. The reference's convolution stands in for its three functions.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

import reference.ops
from backends.cupy import cudnn

from ...backends.cupy.conftest import cupy, error_of, ops, run  # noqa: F401, fixtures


@pytest.fixture
def with_cudnn(monkeypatch, ops):  # noqa: F811
    """As if it was installed, by the reference on NumPy arrays; ``(Co, kh, kw, Ci)`` are its weights."""

    def numbers(array):
        return ops.to_numpy(array).astype(np.float64)

    def convolve(x, weight, y, stride, padding, dilation):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        y.set(reference.ops.conv2d(numbers(x), numbers(weight).transpose(1, 2, 3, 0), **options)[0])
        return y

    def gradients(x, dy, weight, stride, padding, dilation):
        _, cache = reference.ops.conv2d(
            x, weight.transpose(1, 2, 3, 0), stride=stride, padding=padding, dilation=dilation
        )
        return reference.ops.conv2d_backward(dy, cache)

    def input_gradient(dy, weight, dx, *options):
        dx.set(gradients(np.zeros(dx.shape), numbers(dy), numbers(weight), *options)[0])
        return dx

    def weight_gradient(x, dy, dweight, *options):
        by_tap = gradients(numbers(x), numbers(dy), np.zeros(dweight.shape), *options)[1]
        dweight.set(by_tap.transpose(3, 0, 1, 2))
        return dweight

    for function in (convolve, input_gradient, weight_gradient):
        monkeypatch.setattr(cudnn, function.__name__, function)
    monkeypatch.setattr(sys.modules["backends.cupy.conv2d"], "_uses_cudnn", lambda x: True)


@pytest.mark.parametrize("lacking", ["convolve", "input_gradient", "weight_gradient"])
@pytest.mark.parametrize("channels", [(3, 4), (40, 33)])
@pytest.mark.parametrize("stride", [1, 2])
def test_products_compute_what_cudnn_has_no_algorithm_for(
    ops, with_cudnn, monkeypatch, lacking, channels, stride  # noqa: F811
):
    monkeypatch.setattr(cudnn, lacking, lambda *_: None)
    agrees(ops, channels, "float32", stride)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("channels", [(3, 4), (40, 33), (33, 40)])
def test_agrees(ops, with_cudnn, channels, dtype):  # noqa: F811
    agrees(ops, channels, dtype, 2)


def agrees(ops, channels, dtype, stride):  # noqa: F811
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=size) for size in ((1, 6, 5, channels[0]), (3, 3, *channels), channels[1:]))
    x, weight = (ops.to_numpy(ops.asarray(each, np.dtype(dtype))) for each in (x, weight))
    bias = bias.astype(np.float64 if dtype == "float64" else np.float32)
    inputs, options = [x, weight, bias], {"stride": stride, "padding": 1}

    def dy(shape):
        return rng.normal(size=shape).astype(dtype)

    rng = np.random.default_rng(1)
    got = run(ops, "conv2d", inputs, options, dy, ops.asarray)
    rng = np.random.default_rng(1)
    exact = run(reference.ops, "conv2d", [each.astype(np.float64) for each in inputs], options,
                lambda shape: dy(shape).astype(np.float64))  # fmt: skip
    for name, value in exact.items():
        assert np.isfinite(got[name].astype(np.float64)).all(), name
        assert error_of(got[name], value) < {"float64": 1e-12, "float32": 1e-6}.get(dtype, 1e-2), name
