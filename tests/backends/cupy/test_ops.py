"""Every op, forward and backward, against the reference in float64."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from backends.precision import array_dtype
from reference.ops import OpError, hard_pixels, resize_bilinear

from .conftest import LOSSES

pytestmark = pytest.mark.gpu


def normal(*shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(size=shape) * scale


def ties(*shape):
    """Few different values: windows and scales tie."""
    return np.random.default_rng(1).integers(-2, 3, shape).astype(np.float64)


def norm_inputs(*shape, offset=0.0, residual=False):
    channels = shape[-1]
    inputs = [normal(*shape) + offset, normal(channels, seed=1), normal(channels, seed=2), normal(channels, seed=3)]
    inputs.append(np.abs(normal(channels, seed=4)) + 0.1)
    return [*inputs, normal(*shape, seed=5)] if residual else inputs


def mask(*shape):
    return np.random.default_rng(2).random(shape) > 0.4


def labels(*shape, classes, void=0.2):
    rng = np.random.default_rng(3)
    return np.where(rng.random(shape) < void, 255, rng.integers(0, classes, shape)).astype(np.int32)


def steps(count):
    """Logits of two classes whose errors have a distance, both between pixels of one class and of two."""
    p = (np.random.default_rng(5).permutation(count) + 0.3) / count
    return np.stack([np.log(p / (1 - p)), np.zeros(count)], axis=-1)


def attention_inputs(batch, pixels, inner, channels, scale=1.0):
    return [
        normal(batch, pixels, inner, seed=0, scale=scale),
        normal(batch, pixels, inner, seed=1, scale=scale),
        normal(batch, pixels, channels, seed=2),
    ]


def conv_inputs(x, weight, bias=True):
    return [normal(*x), normal(*weight, seed=1), normal(weight[-1], seed=2) if bias else None]


CASES = {
    "relu": ("relu", [ties(3, 5, 7)], {}),
    "relu long": ("relu", [normal(70_001)], {}),
    "conv 3x3": ("conv2d", conv_inputs((2, 7, 5, 3), (3, 3, 3, 4)), {"padding": 1}),
    "conv 16-byte copies": ("conv2d", conv_inputs((2, 9, 6, 8), (3, 3, 8, 5), bias=False), {"padding": 1}),
    "conv pointwise": ("conv2d", conv_inputs((2, 6, 5, 7), (1, 1, 7, 9)), {}),
    "conv pointwise stride": ("conv2d", conv_inputs((2, 7, 6, 4), (1, 1, 4, 3), bias=False), {"stride": 2}),
    "conv dilated": ("conv2d", conv_inputs((1, 11, 9, 4), (3, 3, 4, 6)), {"padding": 4, "dilation": 4}),
    "conv stem": ("conv2d", conv_inputs((1, 19, 22, 3), (7, 7, 3, 8), bias=False), {"stride": 2, "padding": 3}),
    "conv everything": (
        "conv2d", conv_inputs((2, 13, 10, 5), (2, 3, 5, 4)), {"stride": 3, "padding": 2, "dilation": 2}
    ),
    "conv narrowing": ("conv2d", conv_inputs((2, 8, 9, 6), (3, 2, 6, 4)), {"padding": 5, "dilation": 2}),
    "conv square": ("conv2d", conv_inputs((2, 8, 9, 4), (3, 3, 4, 4)), {"padding": 2, "dilation": 2}),
    "conv one pixel": ("conv2d", conv_inputs((1, 1, 1, 2), (3, 3, 2, 2)), {"padding": 1}),
    "conv gaps": ("conv2d", conv_inputs((1, 9, 9, 2), (1, 1, 2, 2)), {"stride": 4}),
    "conv relu": ("conv2d_relu", conv_inputs((2, 7, 5, 3), (3, 3, 3, 4)), {"padding": 1}),
    "conv relu residual": (
        "conv2d_relu", [*conv_inputs((2, 7, 5, 3), (3, 3, 3, 4)), normal(2, 7, 5, 4)], {"padding": 1}
    ),
    "batch norm training": ("batch_norm", norm_inputs(2, 9, 7, 33), {"training": True}),
    "batch norm inference": ("batch_norm", norm_inputs(2, 5, 7, 3), {"training": False}),
    "batch norm large mean": ("batch_norm", norm_inputs(2, 40, 50, 6, offset=100.0), {"training": True}),
    "batch norm one channel": ("batch_norm", norm_inputs(3, 31, 37, 1), {"training": True, "eps": 1e-3}),
    "norm relu": ("batch_norm_relu", norm_inputs(2, 9, 7, 40), {"training": True}),
    "norm relu residual": ("batch_norm_relu", norm_inputs(2, 9, 7, 64, residual=True), {"training": True}),
    "norm relu residual inference": (
        "batch_norm_relu", norm_inputs(1, 6, 5, 65, residual=True), {"training": False}
    ),
    "max pool": ("max_pool2d", [ties(2, 11, 8, 5)], {"window": 3, "stride": 2, "padding": 1}),
    "max pool overlapping": ("max_pool2d", [ties(1, 9, 10, 3)], {"window": 3, "stride": 1, "padding": 1}),
    "max pool gaps": ("max_pool2d", [normal(1, 12, 9, 2)], {"window": 2, "stride": 3}),
    "max pool negative": ("max_pool2d", [-1.0 - ties(1, 5, 5, 2) ** 2], {"window": 3, "stride": 2, "padding": 2}),
    "mean pool": ("global_mean_pool", [normal(3, 13, 11, 37)], {}),
    "mean pool one": ("global_mean_pool", [normal(1, 1, 1, 1)], {}),
    "resize up": ("resize_bilinear", [normal(2, 5, 7, 3)], {"size": (37, 50)}),
    "resize up corners": ("resize_bilinear", [normal(2, 5, 7, 3)], {"size": (33, 49), "align_corners": True}),
    "resize down": ("resize_bilinear", [normal(1, 31, 29, 4)], {"size": (7, 10)}),
    "resize down corners": ("resize_bilinear", [normal(1, 31, 29, 4)], {"size": (7, 10), "align_corners": True}),
    "resize mixed": ("resize_bilinear", [normal(1, 6, 19, 2)], {"size": (17, 8)}),
    "resize same": ("resize_bilinear", [normal(2, 4, 5, 3)], {"size": (4, 5)}),
    "resize from one": ("resize_bilinear", [normal(1, 1, 1, 3)], {"size": (4, 5)}),
    "resize from one corners": ("resize_bilinear", [normal(1, 1, 3, 2)], {"size": (5, 1), "align_corners": True}),
    "resize to one": ("resize_bilinear", [normal(1, 6, 5, 2)], {"size": (1, 1)}),
    "resize wide": ("resize_bilinear", [normal(1, 3, 40, 19)], {"size": (24, 40)}),
    "linear": ("linear", [normal(2, 5, 3, 7), normal(7, 4, seed=1), normal(4, seed=2)], {}),
    "linear no bias": ("linear", [normal(9, 1), normal(1, 6, seed=1), None], {}),
    "linear one output": ("linear", [normal(30, 5), normal(5, 1, seed=1), normal(1, seed=2)], {}),
    "linear tall": ("linear", [normal(3000, 8), normal(8, 70, seed=1), normal(70, seed=2)], {}),
    "dropout": ("dropout", [normal(2, 3, 4, 5), mask(2, 3, 4, 5)], {"rate": 0.4}),
    "dropout channels": ("dropout", [normal(2, 3, 4, 5), mask(2, 1, 1, 5)], {"rate": 0.1}),
    "softmax": ("softmax", [normal(3, 5, 19)], {}),
    "softmax extreme": ("softmax", [ties(4, 33) * 500], {}),
    "softmax long": ("softmax", [normal(3, 1500, scale=5.0)], {}),
    "softmax very long": ("softmax", [normal(2, 17_000, scale=5.0)], {}),
    "softmax one": ("softmax", [normal(7, 1)], {}),
    "cross-entropy": ("softmax_cross_entropy", [normal(2, 9, 8, 11), labels(2, 9, 8, classes=11)], {}),
    "cross-entropy extreme": ("softmax_cross_entropy", [ties(2, 70, 5) * 500, labels(2, 70, classes=5)], {}),
    "cross-entropy void": ("softmax_cross_entropy", [normal(3, 4, 6), np.full((3, 4), 255, np.uint8)], {}),
    "cross-entropy other void": (
        "softmax_cross_entropy", [normal(40, 6), labels(40, classes=6, void=0.0).astype(np.int64)],
        {"ignore_label": 2},
    ),
    "cross-entropy many": ("softmax_cross_entropy", [normal(20_000, 40), labels(20_000, classes=40)], {}),
    "cross-entropy weighted": (
        "softmax_cross_entropy", [normal(2, 300, 11), labels(2, 300, classes=11)],
        {"class_weights": np.random.default_rng(4).uniform(0.1, 2.0, 11)},
    ),
    "cross-entropy weighted void": (
        "softmax_cross_entropy", [normal(5, 3), np.full(5, 255)], {"class_weights": np.ones(3)}
    ),
    "focal": ("softmax_focal", [normal(2, 9, 8, 11), labels(2, 9, 8, classes=11)], {}),
    "focal extreme": ("softmax_focal", [ties(2, 70, 5) * 500, labels(2, 70, classes=5)], {}),
    "focal void": ("softmax_focal", [normal(3, 4, 6), np.full((3, 4), 255, np.uint8)], {}),
    "focal gamma 0": ("softmax_focal", [normal(31, 3, scale=3.0), labels(31, classes=3)], {"gamma": 0.0}),
    "focal gamma 0.5": ("softmax_focal", [normal(31, 3, scale=3.0), labels(31, classes=3)], {"gamma": 0.5}),
    "focal many": ("softmax_focal", [normal(20_000, 40), labels(20_000, classes=40)], {}),
    "focal weighted": (
        "softmax_focal", [normal(2, 300, 11), labels(2, 300, classes=11)],
        {"class_weights": np.random.default_rng(4).uniform(0.1, 2.0, 11), "gamma": 3.0},
    ),
    "dice": ("softmax_dice", [normal(2, 9, 8, 11), labels(2, 9, 8, classes=11)], {}),
    "dice extreme": ("softmax_dice", [ties(2, 70, 5) * 500, labels(2, 70, classes=5)], {}),
    "dice void": ("softmax_dice", [normal(3, 4, 6), np.full((3, 4), 255, np.uint8)], {}),
    "dice absent": ("softmax_dice", [normal(3, 40, 6), 2 * labels(3, 40, classes=2, void=0.0)], {}),
    "dice many": ("softmax_dice", [normal(40_000, 70), labels(40_000, classes=70)], {}),
    "lovasz": ("lovasz_softmax", [normal(2, 9, 8, 11), labels(2, 9, 8, classes=11)], {}),
    "lovasz certain": ("lovasz_softmax", [ties(2, 70, 1) * [500, 0], np.zeros((2, 70), np.int64)], {}),
    "lovasz void": ("lovasz_softmax", [normal(3, 4, 6), np.full((3, 4), 255, np.uint8)], {}),
    "lovasz absent": ("lovasz_softmax", [normal(60, 4), 2 * labels(60, classes=2, void=0.0)], {}),
    "lovasz other void": ("lovasz_softmax", [normal(60, 4), labels(60, classes=4, void=0.0)], {"ignore_label": 2}),
    "lovasz many": ("lovasz_softmax", [steps(2000), labels(2000, classes=2)], {}),
    "position attention": ("position_attention", attention_inputs(2, 37, 5, 9), {}),
    "position attention one": ("position_attention", attention_inputs(1, 1, 1, 1), {}),
    "position attention tiles": ("position_attention", attention_inputs(2, 129, 20, 24, scale=0.5), {}),
    "position attention 128": ("position_attention", attention_inputs(1, 70, 100, 8, scale=0.3), {}),
    "position attention wide": ("position_attention", attention_inputs(1, 300, 8, 64), {}),
    "position attention long": ("position_attention", attention_inputs(1, 1100, 4, 6), {}),
    "position attention extreme": ("position_attention", attention_inputs(1, 50, 4, 6, scale=20.0), {}),
    "channel attention": ("channel_attention", [normal(2, 30, 13, scale=0.3)], {}),
    "channel attention paper": ("channel_attention", [normal(2, 30, 13, scale=0.3)], {"form": "paper"}),
    "channel attention wide": ("channel_attention", [normal(1, 40, 600, scale=0.2)], {}),
    "channel attention extreme": ("channel_attention", [normal(1, 40, 6, scale=5.0)], {}),
    "gated residual": ("gated_residual", [normal(2, 50, 7), normal(2, 50, 7, seed=1), np.array(0.3)], {}),
    "gated residual flat": ("gated_residual", [normal(5), normal(5, seed=1), np.array(-2.0)], {}),
    "scale fusion": ("scale_fusion", [normal(3, 2, 5, 4, 40), normal(2, 5, 4, 3, seed=1)], {}),
    "scale fusion extreme": ("scale_fusion", [normal(2, 1, 5, 4, 7), ties(1, 5, 4, 2) * 500], {}),
    "scale fusion one": ("scale_fusion", [normal(1, 1, 2, 3, 4), normal(1, 2, 3, 1)], {}),
    "scale max": ("scale_max", [ties(3, 2, 5, 4, 7)], {}),
    "scale mean": ("scale_mean", [normal(3, 2, 5, 4, 7)], {}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(agree, case, dtype):
    agree(*CASES[case], dtype)


@pytest.mark.parametrize("case", CASES)
def test_takes_strided_arrays(agree, cupy, case):
    def every_second(x):
        if x.ndim == 0:
            return x
        wide = cupy.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]

    agree(*CASES[case], "float32", every_second)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, "float32") for case in CASES), *((case, "float16") for case in CASES if "position" in case)],
)
def test_takes_arrays_from_anywhere_in_memory(agree, cupy, case, dtype):
    """Contiguous, but behind one value of a larger array: 16 bytes that are read at once must be copied first."""

    def behind_one_value(x):
        larger = cupy.zeros(x.size + 1, x.dtype)
        larger[1:] = x.ravel()
        return larger[1:].reshape(x.shape)

    agree(*CASES[case], dtype, behind_one_value)


def with_scratch(agree, monkeypatch, module, size, case, dtype):
    monkeypatch.setattr(sys.modules[f"backends.cupy.{module}"], "SCRATCH_BYTES", size)
    agree(*CASES[case], dtype)


@pytest.mark.parametrize("rows", [1, 7, 20, 60])
@pytest.mark.parametrize("case", ["conv 3x3", "conv stem", "conv everything", "conv narrowing", "conv square"])
def test_convolution_in_blocks(agree, monkeypatch, case, rows):
    """Blocks that cut images in parts, and blocks of several images."""
    _, (_, weight, _), _ = CASES[case]
    row_bytes = weight.size // weight.shape[-1] * 8
    with_scratch(agree, monkeypatch, "conv2d", rows * row_bytes, case, "float64")


@pytest.mark.parametrize("rows", [2, 11, 40])
def test_position_attention_in_blocks(agree, monkeypatch, rows):
    with_scratch(agree, monkeypatch, "row_blocks", rows * 37 * 8, "position attention", "float64")


@pytest.mark.parametrize("rows", [2, 64, 100])
@pytest.mark.parametrize("case", ["position attention wide", "position attention tiles"])
def test_position_attention_of_16_bits_in_blocks(agree, monkeypatch, case, rows):
    pixels = CASES[case][1][0].shape[1]
    with_scratch(agree, monkeypatch, "row_blocks", rows * (pixels + 7) * 2, case, "float16")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", ["position attention wide", "position attention tiles", "position attention 128"])
def test_a_block_walks_over_all_tiles(agree, monkeypatch, case, dtype):
    """Maps as small as these would have a block for each tile."""
    monkeypatch.setattr(sys.modules["backends.cupy.attention_mma"], "_parts", lambda *_: 1)
    agree(*CASES[case], dtype)


@pytest.mark.parametrize("op", LOSSES)
def test_labels_are_not_looked_at_but_a_wrong_one_shows(ops, op):
    logits = ops.asarray(normal(6, 4).astype(np.float32))
    for wrong in (4, -1):
        loss, cache = getattr(ops, op)(logits, ops.asarray(np.array([0, 1, 2, 3, 255, wrong])))
        assert np.isnan(ops.to_numpy(loss))
        dlogits = ops.to_numpy(getattr(ops, f"{op}_backward")(1.0, cache))
        assert np.isnan(dlogits).any()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("rows", [(0, 37), (11, 12), (30, 37)])
def test_rows_of_a_resized_map(ops, poisoned, rows, align_corners):
    x = normal(2, 5, 7, 3).astype(np.float32)
    whole, _ = resize_bilinear(x.astype(np.float64), (37, 50), align_corners=align_corners)
    found = ops.to_numpy(ops.resize_bilinear_rows(ops.asarray(x), (37, 50), rows, align_corners=align_corners))
    np.testing.assert_allclose(found, whole[:, slice(*rows)], atol=1e-5)
    with pytest.raises(OpError, match="rows are"):
        ops.resize_bilinear_rows(ops.asarray(x), (37, 50), (30, 38))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("threshold", "least"), [(0.7, 0.1), (0.3, 0.0), (0.0, 0.25), (0.0, 0.0), (1.0, 0.0)])
@pytest.mark.parametrize("void", [0.2, 1.0])
def test_hard_pixels(ops, poisoned, dtype, threshold, least, void):
    logits = normal(3, 37, 11, scale=2.0).astype(array_dtype(dtype))
    target = labels(3, 37, classes=11, void=void)
    options = {"threshold": threshold, "least": least}
    wanted = hard_pixels(logits.astype(np.float64), target, **options)
    found = ops.hard_pixels(ops.asarray(logits), ops.asarray(target), **options)
    np.testing.assert_array_equal(ops.to_numpy(found), wanted)
    bytes_ = ops.hard_pixels(ops.asarray(logits), ops.asarray(target.astype(np.uint8)), **options)
    assert bytes_.dtype == np.uint8
    np.testing.assert_array_equal(ops.to_numpy(bytes_), wanted)


def test_a_label_or_a_logit_that_is_wrong_stays_hard(ops):
    """So that the loss becomes NaN."""
    logits = normal(40, 4, scale=2.0).astype(np.float32)
    logits[7, 2] = np.nan
    target = labels(40, classes=4, void=0.0)
    target[3], target[4], target[7] = 4, -1, 1
    found = ops.to_numpy(ops.hard_pixels(ops.asarray(logits), ops.asarray(target), threshold=0.0, least=0.1))
    assert found[[3, 4, 7]].tolist() == [4, -1, 1]


@pytest.mark.parametrize("op", LOSSES)
def test_dloss_may_be_an_array(ops, op):
    logits, target = ops.asarray(normal(6, 4)), ops.asarray(np.arange(6) % 4)
    _, cache = getattr(ops, op)(logits, target)
    by_array = getattr(ops, f"{op}_backward")(ops.asarray(np.array(0.25)), cache)
    by_float = getattr(ops, f"{op}_backward")(0.25, cache)
    np.testing.assert_array_equal(ops.to_numpy(by_array), ops.to_numpy(by_float))


def test_sums_that_cancel(ops):
    """The gradient of a bias is zero where every dy has its opposite, however many there are."""
    half = normal(5000, 3).astype(np.float32)
    dy = np.concatenate([half, -half[::-1]])
    x, weight, bias = (ops.asarray(np.zeros(shape, np.float32)) for shape in ((10_000, 2), (2, 3), 3))
    _, cache = ops.linear(x, weight, bias)
    dbias = ops.to_numpy(ops.linear_backward(ops.asarray(dy), cache)[2])
    assert np.abs(dbias).max() < 1e-10


def test_nan_passes_through(ops):
    x = np.ones((1, 4, 4, 1), np.float32)
    x[0, 1, 1] = np.nan
    bad = ops.asarray(x)
    one, zero = ops.asarray(np.ones(1, np.float32)), ops.asarray(np.zeros(1, np.float32))
    assert np.isnan(ops.to_numpy(ops.relu(bad)[0])).sum() == 1
    assert np.isnan(ops.to_numpy(ops.max_pool2d(bad, window=2, stride=2)[0])).sum() == 1
    assert np.isnan(ops.to_numpy(ops.batch_norm_relu(bad, one, zero, zero, one, training=False)[0])).sum() == 1
    assert np.isnan(ops.to_numpy(ops.batch_norm_relu(bad, one, zero, zero, one, training=True)[0])).all()


def test_arrays_come_and_go(ops, cupy):
    assert ops.asarray([1.5, 2]).dtype == np.float32
    assert ops.asarray([1, 2]).dtype.kind == "i"
    assert ops.asarray([True]).dtype == bool
    assert ops.asarray(np.zeros(2)).dtype == np.float64
    assert ops.asarray([1, 2], np.float64).dtype == np.float64
    x = ops.asarray(normal(2, 3))
    assert isinstance(x, cupy.ndarray)
    assert isinstance(ops.to_numpy(x), np.ndarray)
    both = ops.to_numpy(ops.concatenate([x, x[:, :1]]))
    np.testing.assert_array_equal(both, np.concatenate([normal(2, 3), normal(2, 3)[:, :1]], axis=-1))
    assert ops.stack([x, x]).shape == (2, 2, 3)
    ops.synchronize()


@pytest.mark.parametrize(
    ("op", "inputs", "options", "message"),
    [
        ("linear", [np.zeros((2, 3)), np.zeros((4, 5))], {}, "wants \\(Ci=3, Co\\)"),
        ("linear", [np.zeros((2, 3)), np.zeros((3, 5), np.float32)], {}, "is float32, wants float64"),
        ("softmax", [np.zeros((2, 3), np.int32)], {}, "wants a floating dtype"),
        ("conv2d", [np.zeros((1, 2, 2, 1)), np.zeros((3, 3, 1, 1))], {}, "wants at least"),
        ("conv2d", [np.zeros((1, 4, 4, 1)), np.zeros((3, 3, 1, 1))], {"stride": 0}, "stride is 0"),
        ("max_pool2d", [np.zeros((1, 4, 4, 1))], {"window": 2, "stride": 1, "padding": 2}, "padding is 2"),
        ("max_pool2d", [np.zeros((1, 4, 4, 1))], {"window": 300, "stride": 1}, "at most 255"),
        ("batch_norm", [np.zeros((1, 2, 2, 1))] + 4 * [np.zeros(1)], {"training": True, "eps": 0.0}, "eps is 0"),
        ("channel_attention", [np.zeros((1, 2, 3))], {"form": "other"}, "form is 'other'"),
        ("dropout", [np.zeros((2, 3)), np.ones((3, 2), bool)], {"rate": 0.5}, "broadcasts"),
        ("dropout", [np.zeros((2, 3)), np.ones((2, 3), bool)], {"rate": 1.0}, "rate is 1.0"),
        ("resize_bilinear", [np.zeros((1, 2, 2, 1))], {"size": (0, 2)}, "height is 0"),
        ("scale_fusion", [np.zeros((33, 1, 1, 1, 2)), np.zeros((1, 1, 1, 33))], {}, "at most 32"),
        ("softmax_cross_entropy", [np.zeros((4, 3)), np.zeros(5, int)], {}, "labels have shape"),
        ("softmax_cross_entropy", [np.zeros((4, 3)), np.zeros(4)], {}, "want an integer dtype"),
        (
            "hard_pixels", [np.zeros((4, 3)), np.zeros(4, int)], {"threshold": 2.0, "least": 0.0},
            "wants a number from 0 to 1",
        ),
        (
            "hard_pixels", [np.zeros((4, 3)), np.zeros(4, np.int8)], {"threshold": 0.5, "least": 0.0},
            "which cannot be the ignored 255",
        ),
    ],
)
def test_says_what_does_not_fit(ops, op, inputs, options, message):
    with pytest.raises(OpError, match=f"{op}: .*{message}"):
        getattr(ops, op)(*map(ops.asarray, inputs), **options)


def test_numpy_arrays_are_not_taken(ops):
    with pytest.raises(OpError, match="relu: x is a numpy array, wants one on the device: asarray makes one"):
        ops.relu(np.zeros(3))
    y, cache = ops.relu(ops.asarray(np.zeros(3)))
    with pytest.raises(OpError, match="relu_backward: dy is a numpy array"):
        ops.relu_backward(np.zeros(3), cache)
    with pytest.raises(OpError, match="relu_backward: dy is float32 of shape"):
        ops.relu_backward(y.astype(np.float32), cache)
