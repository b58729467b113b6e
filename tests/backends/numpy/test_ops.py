"""Every override computes what the reference computes, whatever the shapes, the blocks and the layout in memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import reference.ops
from backends.tolerances import compare
from reference.ops import OpError

pytestmark = pytest.mark.usefixtures("blocks")
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def draw():
    return np.random.default_rng(0).standard_normal


@both_dtypes
@pytest.mark.parametrize(("stride", "padding", "dilation"), list(itertools.product([1, 2, 3], [0, 1, 2], [1, 2])))
@pytest.mark.parametrize("taps", [(1, 1), (3, 3), (2, 4)])
def test_conv2d(assert_agrees, draw, dtype, taps, stride, padding, dilation):
    assert_agrees(
        "conv2d", draw((2, 9, 11, 3)), draw((*taps, 3, 5)), draw(5), dtype=dtype, stride=stride, padding=padding,
        dilation=dilation,
    )


@both_dtypes
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("padding", "dilation"), [(0, 1), (1, 1), (2, 1), (2, 2), (1, 2), (4, 4), (5, 3)])
@pytest.mark.parametrize("size", [(8, 8), (13, 10)])
def test_conv2d_by_winograd(assert_agrees, draw, dtype, size, padding, dilation, bias):
    assert_agrees(
        "conv2d", draw((3, *size, 33)), draw((3, 3, 33, 40)), draw(40) if bias else None, dtype=dtype,
        padding=padding, dilation=dilation,
    )


def test_conv2d_takes_winograd_where_it_can():
    from backends.numpy.winograd import pays

    assert pays((2, 45, 60, 512), (3, 3, 512, 512), 1, 4, 4)
    assert not pays((2, 45, 60, 512), (3, 3, 512, 512), 2, 1, 1)
    assert not pays((2, 45, 60, 3), (3, 3, 3, 64), 1, 1, 1)
    assert not pays((2, 9, 9, 512), (3, 3, 512, 512), 1, 24, 24), "tiles of 48 pixels for an image of 9"
    assert not pays((2, 45, 60, 512), (5, 5, 512, 512), 1, 2, 1)


def test_winograd_can_be_switched_off(ops, assert_agrees, draw, monkeypatch):
    from backends.numpy.winograd import pays

    shapes = (2, 16, 16, 32), (3, 3, 32, 32)
    assert pays(*shapes, 1, 1, 1)
    filtered, _ = ops.conv2d(*(x := [draw(shape).astype(np.float32) for shape in shapes]), padding=1)
    monkeypatch.setenv("SEGATTN_WINOGRAD", "0")
    assert not pays(*shapes, 1, 1, 1)
    assert not np.array_equal(ops.conv2d(*x, padding=1)[0], filtered), "another way rounds otherwise"
    assert_agrees("conv2d", *x, padding=1)


@both_dtypes
@pytest.mark.parametrize("taps", [3, 1])
def test_conv2d_in_memory_of_any_kind(assert_agrees, draw, dtype, taps):
    x = draw((34, 2, 9, 20)).astype(dtype).transpose(1, 2, 3, 0)[:, :, ::2]
    weight = draw((34, 40, taps, taps)).astype(dtype).transpose(2, 3, 0, 1)
    weight.flags.writeable = x.flags.writeable = False
    assert_agrees("conv2d", x, weight, None, dtype=dtype, padding=taps // 2)


@both_dtypes
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 3, 3, 64), (3, 4, 5, 100), (1, 17, 1, 1)])
@pytest.mark.parametrize("op", ["batch_norm", "batch_norm_relu", "residual"])
def test_batch_norm(assert_agrees, draw, dtype, training, shape, op):
    channels = shape[-1]
    residual = (draw(shape),) if op == "residual" else ()
    assert_agrees(
        op.replace("residual", "batch_norm_relu"), 3 + draw(shape), draw(channels), draw(channels),
        draw(channels), draw(channels) ** 2 + 0.1, *residual, dtype=dtype, training=training, eps=1e-3,
    )


def test_batch_norm_of_a_large_mean(assert_agrees, draw):
    x = (1e4 + draw((2, 30, 40, 5))).astype(np.float32)
    assert_agrees("batch_norm", x, draw(5), draw(5), draw(5), draw(5), dtype="float64", training=True)


@both_dtypes
def test_batch_norm_in_memory_of_any_kind(assert_agrees, draw, dtype):
    x = draw((5, 2, 6, 14)).astype(dtype).transpose(1, 2, 3, 0)[:, :, ::2]
    residual = draw((2, 6, 7, 10)).astype(dtype)[..., ::2]
    x.flags.writeable = residual.flags.writeable = False
    assert_agrees("batch_norm_relu", x, draw(5), draw(5), draw(5), draw(5), residual, dtype=dtype, training=True)


@both_dtypes
@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3, 4, 5)])
def test_relu(assert_agrees, draw, dtype, shape):
    assert_agrees("relu", draw(shape), dtype=dtype)
    assert_agrees("relu", np.round(draw((2, 10, 6))).astype(dtype)[..., ::2], dtype=dtype)


@both_dtypes
@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 1), (1, 3, 0)])
def test_max_pool2d(assert_agrees, draw, dtype, window, stride, padding):
    options = {"dtype": dtype, "window": window, "stride": stride, "padding": padding}
    assert_agrees("max_pool2d", draw((2, 9, 10, 4)), **options)
    ties = np.random.default_rng(0).integers(0, 2, (2, 9, 10, 4)).astype(dtype)
    assert_agrees("max_pool2d", ties, **options)
    assert_agrees("max_pool2d", np.full((1, 5, 5, 1), -np.inf), **options)


@both_dtypes
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(19, 25), (3, 2), (1, 1), (7, 30), (20, 3), (7, 9)])
def test_resize_bilinear(assert_agrees, draw, dtype, size, align_corners):
    x = draw((2, 7, 9, 10)).astype(dtype)[..., ::2]
    assert_agrees("resize_bilinear", x, size=size, dtype=dtype, align_corners=align_corners)


@both_dtypes
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(19, 25), (3, 2), (1, 1), (7, 30), (20, 3), (7, 9)])
def test_rows_of_resize_bilinear(ops, draw, dtype, size, align_corners):
    x = draw((2, 7, 9, 10)).astype(dtype)[..., ::2]
    exact, _ = reference.ops.resize_bilinear(x.astype(np.float64), size, align_corners=align_corners)
    for rows in {(0, size[0]), (size[0] // 2, size[0] // 2 + 1), (0, (size[0] + 1) // 2), (size[0] // 3, size[0])}:
        part = ops.resize_bilinear_rows(x, size, rows, align_corners=align_corners)
        comparison = compare(exact[:, slice(*rows)], part, dtype)
        assert comparison.passed, comparison.reason


@both_dtypes
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_cross_entropy(assert_agrees, draw, dtype, weighted):
    labels = np.random.default_rng(0).integers(0, 6, (2, 7, 9)).astype(np.uint8)
    labels[0, :3] = 255
    weights = draw(6) ** 2 if weighted else None
    for logits in draw((2, 7, 9, 6)), 1000 * draw((2, 7, 9, 6)), np.full((2, 7, 9, 6), -1000.0):
        assert_agrees("softmax_cross_entropy", logits, labels, class_weights=weights, dtype=dtype)
    assert_agrees("softmax_cross_entropy", logits, np.full_like(labels, 3), ignore_label=3, dtype=dtype)


@both_dtypes
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_focal(assert_agrees, draw, dtype, weighted, gamma):
    labels = np.random.default_rng(0).integers(0, 6, (2, 7, 9)).astype(np.uint8)
    labels[0, :3] = 255
    options = {"class_weights": draw(6) ** 2 if weighted else None, "gamma": gamma, "dtype": dtype}
    for logits in draw((2, 7, 9, 6)), 1000 * draw((2, 7, 9, 6)), np.full((2, 7, 9, 6), -1000.0):
        assert_agrees("softmax_focal", logits, labels, **options)
    assert_agrees("softmax_focal", logits, np.full_like(labels, 3), ignore_label=3, dtype=dtype)


@both_dtypes
@pytest.mark.parametrize("op", ["softmax_dice", "lovasz_softmax"])
def test_losses_of_regions(assert_agrees, draw, dtype, op):
    labels = np.random.default_rng(0).integers(0, 6, (2, 7, 9)).astype(np.uint8)
    labels[0, :3] = 255
    for logits in draw((2, 7, 9, 6)), 30 * draw((2, 7, 9, 6)), np.full((2, 7, 9, 6), -1000.0):
        assert_agrees(op, logits, labels, dtype=dtype)
        assert_agrees(op, logits, np.where(labels < 2, 3, labels), dtype=dtype)
    assert_agrees(op, logits, np.full_like(labels, 3), ignore_label=3, dtype=dtype)


@both_dtypes
def test_lovasz_softmax_of_many_pixels(assert_agrees, draw, dtype):
    """More than a radix sort has buckets: errors that differ by more than rounding, and ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 6000)
    p = (rng.permutation(6000) + 0.3) / 6000
    logits = np.stack([np.log(p / (1 - p)), np.zeros(6000)], axis=-1)
    assert_agrees("lovasz_softmax", logits, labels, dtype=dtype)
    assert_agrees("lovasz_softmax", np.round(draw((6000, 1))) * [1.0, 0.0], np.zeros(6000, int), dtype=dtype)


@both_dtypes
@pytest.mark.parametrize("op", ["softmax_dice", "lovasz_softmax"])
def test_a_nan_makes_losses_of_regions_nan(ops, draw, dtype, op):
    logits = draw((40, 3)).astype(dtype)
    logits[7, 1] = np.nan
    loss, cache = getattr(ops, op)(logits, np.arange(40) % 3)
    assert np.isnan(loss)
    assert np.isnan(getattr(ops, f"{op}_backward")(1.0, cache)).any()


@both_dtypes
@pytest.mark.parametrize("least", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7, 1.0])
def test_hard_pixels(ops, draw, dtype, threshold, least):
    labels = np.random.default_rng(0).integers(0, 6, (2, 7, 9)).astype(np.uint8)
    labels[0, :3] = 255
    options = {"threshold": threshold, "least": least}
    for logits in draw((2, 7, 9, 6)).astype(dtype), np.zeros((2, 7, 9, 6), dtype):
        found = ops.hard_pixels(logits, labels, **options)
        assert found.dtype == labels.dtype
        np.testing.assert_array_equal(found, reference.ops.hard_pixels(logits, labels, **options))
    ignored = np.full_like(labels, 3)
    np.testing.assert_array_equal(ops.hard_pixels(logits, ignored, ignore_label=3, **options), ignored)


@both_dtypes
def test_hard_pixels_of_nan(ops, draw, dtype):
    logits, labels = draw((2, 7, 9, 6)).astype(dtype), np.zeros((2, 7, 9), np.int32)
    logits[1, 3, 4, 2] = np.nan
    assert ops.hard_pixels(logits, labels, threshold=0.0, least=0.05)[1, 3, 4] == 0


@both_dtypes
@pytest.mark.parametrize("shape", [(2, 33, 4, 9), (1, 1, 3, 2), (3, 7, 1, 1), (1, 23, 8, 16)])
def test_position_attention(assert_agrees, draw, dtype, shape):
    batch, pixels, inner, channels = shape
    query, key = draw((batch, pixels, inner)), draw((2 * pixels, batch, inner)).astype(dtype).swapaxes(0, 1)[:, ::2]
    assert_agrees("position_attention", query, key, draw((batch, pixels, channels)), dtype=dtype)


@both_dtypes
def test_position_attention_of_steep_logits(assert_agrees, draw, dtype):
    """Logits reach beyond ±1000, exactly; a query has several best keys, so that its gradient does not vanish."""
    rng = np.random.default_rng(0)
    key = np.stack([rng.choice([-33, 33], 40), rng.integers(-9, 10, 40)], axis=1)[None].astype(dtype)
    query = np.stack([rng.integers(20, 33, 40), np.zeros(40)], axis=1)[None].astype(dtype)
    assert np.abs(query @ key.mT).max() > 1000
    assert_agrees("position_attention", query, key, draw((1, 40, 5)), dtype=dtype)


@both_dtypes
@pytest.mark.parametrize("form", ["released", "paper"])
def test_channel_attention(assert_agrees, draw, dtype, form):
    x = (0.3 * draw((2, 35, 12))).astype(dtype)[..., ::2]
    assert_agrees("channel_attention", x, dtype=dtype, form=form)


@both_dtypes
@pytest.mark.parametrize("shape", [(3,), (9, 3), (2, 4, 5, 3)])
def test_linear(assert_agrees, draw, dtype, shape):
    assert_agrees("linear", draw(shape), draw((7, 3)).T, draw(7), dtype=dtype)
    strided = draw((*shape[:-1], 6)).astype(dtype)[..., ::2]
    assert_agrees("linear", strided, draw((3, 1)), None, dtype=dtype)


@pytest.mark.parametrize(
    ("op", "inputs", "options"),
    [
        ("conv2d", [(1, 4, 4, 3), (3, 3, 2, 5)], {}),
        ("conv2d", [(1, 2, 2, 3), (3, 3, 3, 5)], {}),
        ("conv2d", [(1, 4, 4, 3), (3, 3, 3, 5)], {"stride": 0}),
        ("batch_norm", [(1, 4, 4, 3), (3,), (3,), (3,), (2,)], {"training": False}),
        ("batch_norm_relu", [(1, 4, 4, 3), (3,), (3,), (3,), (3,), (1, 4, 4, 1)], {"training": True}),
        ("max_pool2d", [(1, 4, 4, 3)], {"window": 2, "stride": 1, "padding": 2}),
        ("resize_bilinear", [(1, 4, 4, 3)], {"size": 2}),
        ("position_attention", [(1, 4, 3), (1, 4, 2), (1, 4, 5)], {}),
        ("channel_attention", [(1, 4, 3)], {"form": "papers"}),
        ("linear", [(4, 3), (2, 5)], {}),
    ],
)
def test_what_does_not_fit_is_refused_in_the_words_of_the_reference(ops, op, inputs, options):
    import reference.ops

    arrays = [np.ones(shape, np.float32) for shape in inputs]
    with pytest.raises(OpError) as expected:
        getattr(reference.ops, op)(*arrays, **options)
    with pytest.raises(OpError) as raised:
        getattr(ops, op)(*arrays, **options)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("shape", [(1, 131, 61, 16), (3, 91, 121, 3)])
def test_batch_norm_measures_odd_maps_as_exactly_as_even_ones(assert_agrees, draw, shape):
    """With a mean of 30 deviations, sums of tens of thousands of rows in float32 would be too coarse."""
    one = np.ones(shape[-1])
    assert_agrees("batch_norm", draw(shape) + 30, one, 0 * one, one, one, training=True)


def test_batch_norm_measures_a_mean_of_many_deviations_to_the_last_place(ops, draw):
    """Sums of 512 rows in float32 lose more than one digit of it."""
    x = (draw((1, 131, 61, 16)) + 300).astype(np.float32)
    one = np.ones(16, np.float32)
    _, cache = ops.batch_norm(x, one, one, one, one, training=True)
    np.testing.assert_allclose(cache.mean, x.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1.2e-7)


def test_the_gradient_of_a_bias_keeps_what_large_sums_leave(ops, draw):
    """Values that cancel each other, as in the gradient of a key's bias, which is 0 but for rounding."""
    dy = draw((1, 30, 40, 3)).astype(np.float32)
    dy[:, 15:] = -dy[:, :15]
    dy[0, 0, 0] += np.float32(1e-6)
    _, cache = ops.linear(np.ones((1, 30, 40, 2), np.float32), np.ones((2, 3), np.float32), np.ones(3, np.float32))
    dbias = ops.linear_backward(dy, cache)[2]
    np.testing.assert_allclose(dbias, dy.sum(axis=(0, 1, 2), dtype=np.float64), rtol=1e-6)
