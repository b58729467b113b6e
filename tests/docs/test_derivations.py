"""Each step of the derivations in docs/understand/ops, in float64, against central differences.

A step is an equation between quantities on the way. It is computed here as the page states it, without the backward
functions, and compared with the slope of the loss by that quantity, which is varied by itself.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from reference.ops import batch_norm_relu, conv2d_relu, dropout, max_pool2d, max_pool2d_backward
from reference.ops.lovasz_softmax import jaccard_slopes
from reference.ops.resize_bilinear import interpolation_matrix
from reference.ops.windows import crop, output_size, pad, under_tap

H = 1e-5


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def slope(f, x):
    """The derivative of the scalar ``f(x)`` by each value of ``x``."""
    x = np.asarray(x, np.float64)
    result = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = H
        result[index] = (f(x + step) - f(x - step)) / (2 * H)
    return result


def same(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-8)


def inner(a, b):
    return (a * b).sum()


def softmax(x):
    exponential = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def through_softmax(p, dp):
    return p * (dp - (p * dp).sum(axis=-1, keepdims=True))


def test_every_step_of_a_page_has_a_test_and_every_test_a_step(repository):
    steps = {
        f"test_{page.stem}_step_{number}"
        for page in (repository / "docs" / "understand" / "ops").glob("*.md")
        for number in re.findall(r"^\*\*Step (\d+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    tests = {name for name in globals() if "_step_" in name and name.startswith("test_") and name[-1].isdigit()}
    assert steps == tests


# Position attention


@pytest.fixture
def attention(rng):
    """query, key, value and dy of one image."""
    return rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(5, 4)), rng.normal(size=(5, 4))


def test_position_attention_step_1(attention):
    q, k, v, dy = attention
    s = softmax(q @ k.T)
    same(dy @ v.T, slope(lambda s: inner(dy, s @ v), s))
    same(s.T @ dy, slope(lambda v: inner(dy, s @ v), v))


def test_position_attention_step_2(attention):
    q, k, v, dy = attention
    e = q @ k.T
    same(through_softmax(softmax(e), dy @ v.T), slope(lambda e: inner(dy, softmax(e) @ v), e))


def test_position_attention_step_3(attention):
    q, k, _, _ = attention
    de = np.random.default_rng(1).normal(size=(5, 5))
    same(de @ k, slope(lambda q: inner(de, q @ k.T), q))
    same(de.T @ q, slope(lambda k: inner(de, q @ k.T), k))


def test_position_attention_step_4(attention):
    q, k, _, _ = attention
    e = 5 * q @ k.T
    maximum, total = np.full(5, -np.inf), np.zeros(5)
    for block in (e[:, :2], e[:, 2:4], e[:, 4:]):
        larger = np.maximum(maximum, block.max(axis=1))
        total = total * np.exp(maximum - larger) + np.exp(block - larger[:, None]).sum(axis=1)
        maximum = larger
    log_sum_exp = maximum + np.log(total)
    same(log_sum_exp, np.log(np.exp(e).sum(axis=1)))
    same(np.exp(e - log_sum_exp[:, None]), softmax(e))


def test_position_attention_step_5(attention):
    q, k, v, dy = attention
    s = softmax(q @ k.T)
    same((s * (dy @ v.T)).sum(axis=1), (dy * (s @ v)).sum(axis=1))


# Channel attention


@pytest.fixture
def channels(rng):
    return rng.normal(size=(5, 3)), rng.normal(size=(5, 3))


@pytest.mark.parametrize("sign", [1, -1])
def test_channel_attention_step_1(channels, sign):
    x, dy = channels
    s = softmax(sign * x.T @ x)
    same(dy @ s, slope(lambda x: inner(dy, x @ s.T), x))
    same(dy.T @ x, slope(lambda s: inner(dy, x @ s.T), s))


@pytest.mark.parametrize("sign", [1, -1])
def test_channel_attention_step_2(channels, sign):
    x, dy = channels
    e = x.T @ x
    f = through_softmax(softmax(sign * e), dy.T @ x)
    same(sign * f, slope(lambda e: inner(dy, x @ softmax(sign * e).T), e))


def test_channel_attention_step_3(channels):
    x, dy = channels
    e = x.T @ x
    by_maximum = slope(lambda m: inner(dy, x @ softmax(m[:, None] - e).T), e.max(axis=1))
    same(by_maximum, 0)
    with_it = slope(lambda e: inner(dy, x @ softmax(e.max(axis=1, keepdims=True) - e).T), e)
    same(with_it, slope(lambda e: inner(dy, x @ softmax(-e).T), e))


def test_channel_attention_step_4(channels, rng):
    x, _ = channels
    de = rng.normal(size=(3, 3))  # not symmetric
    same(x @ de.T, slope(lambda first: inner(de, first.T @ x), x))
    same(x @ de, slope(lambda second: inner(de, x.T @ second), x))
    same(x @ de.T + x @ de, slope(lambda x: inner(de, x.T @ x), x))


# Softmax


def test_softmax_step_1(rng):
    x = rng.normal(size=4)
    y = softmax(x)
    jacobian = y[:, None] * (np.eye(4) - y[None, :])
    for i in range(4):
        same(jacobian[i], slope(lambda x, i=i: softmax(x)[i], x))


def test_softmax_step_2(rng):
    x, dy = rng.normal(size=(2, 3, 4))
    same(through_softmax(softmax(x), dy), slope(lambda x: inner(dy, softmax(x)), x))


def test_softmax_step_3(rng):
    x, dy = rng.normal(size=(2, 3, 4))
    same(through_softmax(softmax(x), dy).sum(axis=1), 0)

    def with_maximum(m):
        exponential = np.exp(x - m[:, None])
        return inner(dy, exponential / exponential.sum(axis=1, keepdims=True))

    same(slope(with_maximum, x.max(axis=1)), 0)


# Attention to scale


@pytest.fixture
def pixel(rng):
    """Scores (S, K), logits of the scales (S,) and dy (K,) of one pixel."""
    return rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=4)


def test_scale_fusion_step_1(pixel):
    f, h, dg = pixel
    w = softmax(h)
    same(w[:, None] * dg, slope(lambda f: inner(dg, w @ f), f))


def test_scale_fusion_step_2(pixel):
    f, h, dg = pixel
    same(f @ dg, slope(lambda w: inner(dg, w @ f), softmax(h)))


def test_scale_fusion_step_3(pixel):
    f, h, dg = pixel
    w = softmax(h)
    same(w * ((f - w @ f) @ dg), slope(lambda h: inner(dg, softmax(h) @ f), h))
    same(slope(lambda h: inner(dg, softmax(h) @ f[:1]), h[:1]), 0)


def test_scale_fusion_step_4(pixel):
    f, h, dg = pixel
    same(slope(lambda h: inner(dg, softmax(h) @ f), h).sum(), 0)


def test_scale_max_step_1(rng):
    f, dg = rng.normal(size=(3, 6)), rng.normal(size=6)
    wins = f == f.max(axis=0)
    same(np.where(wins, dg, 0), slope(lambda f: inner(dg, f.max(axis=0)), f))


def test_scale_mean_step_1(pixel):
    f, _, dg = pixel
    expected = slope(lambda f: inner(dg, f.mean(axis=0)), f)
    same(np.broadcast_to(dg / 3, f.shape), expected)
    same(softmax(np.zeros(3))[:, None] * dg, expected)


# Batch normalisation: one channel of M pixels


class Norm:
    eps = 0.3

    def __init__(self, rng):
        self.x, self.dy = rng.normal(1.0, 2.0, size=(2, 7))
        self.scale, self.shift = 1.7, 0.4
        self.mean, self.variance = self.x.mean(), self.x.var()
        self.rstd = (self.variance + self.eps) ** -0.5
        self.x_hat = (self.x - self.mean) * self.rstd
        self.dshift, self.dscale = self.dy.sum(), (self.dy * self.x_hat).sum()

    def loss(self, x=None, mean=None, variance=None, scale=None, shift=None):
        """Of x and of statistics that are given, whether or not they are those of x."""
        x = self.x if x is None else x
        mean = self.mean if mean is None else mean
        variance = self.variance if variance is None else variance
        scale = self.scale if scale is None else scale
        shift = self.shift if shift is None else shift
        return inner(self.dy, scale * (x - mean) * (variance + self.eps) ** -0.5 + shift)


@pytest.fixture
def norm(rng):
    return Norm(rng)


def test_batch_norm_step_1(norm):
    same(norm.dshift, slope(lambda shift: norm.loss(shift=shift), norm.shift))
    same(norm.dscale, slope(lambda scale: norm.loss(scale=scale), norm.scale))
    same(norm.scale * norm.dy, slope(lambda x_hat: inner(norm.dy, norm.scale * x_hat + norm.shift), norm.x_hat))


def test_batch_norm_step_2(norm):
    same(norm.scale * norm.rstd * norm.dy, slope(lambda x: norm.loss(x), norm.x))


def test_batch_norm_step_3(norm):
    same(-norm.scale * norm.rstd * norm.dshift, slope(lambda mean: norm.loss(mean=mean), norm.mean))
    same(np.full(7, 1 / 7), slope(np.mean, norm.x))
    path = slope(lambda x: norm.loss(mean=x.mean()), norm.x)
    same(-norm.scale * norm.rstd * norm.dshift / 7, path)


def test_batch_norm_step_4(norm):
    by_variance = slope(lambda variance: norm.loss(variance=variance), norm.variance)
    same(-0.5 * norm.scale * norm.rstd**2 * norm.dscale, by_variance)
    same(slope(lambda mean: ((norm.x - mean) ** 2).mean(), norm.mean), 0)
    same(2 * norm.x_hat / (7 * norm.rstd), slope(np.var, norm.x))
    path = slope(lambda x: norm.loss(variance=x.var()), norm.x)
    same(-norm.scale * norm.rstd * norm.x_hat * norm.dscale / 7, path)


def three_paths(norm):
    return norm.scale * norm.rstd * (norm.dy - (norm.dshift + norm.x_hat * norm.dscale) / 7)


def test_batch_norm_step_5(norm):
    same(three_paths(norm), slope(lambda x: norm.loss(x, x.mean(), x.var()), norm.x))


def test_batch_norm_step_6(norm):
    dx = three_paths(norm)
    same(dx.sum(), 0)
    squares = (norm.x_hat**2).mean()
    same(squares, norm.variance / (norm.variance + norm.eps))
    same(inner(dx, norm.x_hat), norm.scale * norm.rstd * norm.dscale * (1 - squares))


# Linear maps and convolutions


@pytest.fixture
def rows(rng):
    return rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(5, 4))


def test_linear_step_1(rows):
    x, w, b, dy = rows
    same(dy @ w.T, slope(lambda x: inner(dy, x @ w + b), x))


def test_linear_step_2(rows):
    x, w, b, dy = rows
    same(x.T @ dy, slope(lambda w: inner(dy, x @ w + b), w))


def test_linear_step_3(rows):
    x, w, b, dy = rows
    same(dy.T @ np.ones(5), slope(lambda b: inner(dy, x @ w + b), b))


class Convolution:
    """A strided, dilated and padded convolution of one image as a sum over taps: selections T and weights W."""

    padding, stride, dilation = 1, 2, 2

    def __init__(self, rng):
        self.x, self.w, self.b = rng.normal(size=(1, 6, 5, 2)), rng.normal(size=(2, 2, 2, 3)), rng.normal(size=3)
        self.size = output_size("conv2d", (6, 5), (2, 2), stride=2, padding=1, dilation=2)
        self.padded = pad(self.x, self.padding)
        pixels = np.arange(self.padded[..., 0].size).reshape(self.padded.shape[:3])
        self.taps = {
            tap: np.eye(pixels.size)[pixels[under_tap(*tap, self.size, stride=2, dilation=2)].ravel()]
            for tap in np.ndindex(2, 2)
        }
        self.image = self.padded.reshape(-1, 2)
        self.dy = rng.normal(size=(np.prod(self.size), 3))

    def loss(self, image=None, w=None, b=None):
        image = self.image if image is None else image
        w, b = self.w if w is None else w, self.b if b is None else b
        return inner(self.dy, sum(t @ image @ w[tap] for tap, t in self.taps.items()) + b)


@pytest.fixture
def convolution(rng):
    return Convolution(rng)


def test_conv2d_step_1(convolution):
    c = convolution
    gradient = np.empty(c.w.shape)
    for tap, t in c.taps.items():
        gradient[tap] = (t @ c.image).T @ c.dy
    same(gradient, slope(lambda w: c.loss(w=w), c.w))


def test_conv2d_step_2(convolution):
    c = convolution
    for tap, t in c.taps.items():
        same(c.dy @ c.w[tap].T, slope(lambda seen, tap=tap: inner(c.dy, seen @ c.w[tap]), t @ c.image))


def test_conv2d_step_3(convolution):
    c = convolution
    gradient = sum(t.T @ c.dy @ c.w[tap].T for tap, t in c.taps.items())
    same(gradient, slope(lambda image: c.loss(image), c.image))
    for t in c.taps.values():
        assert t.sum(axis=0).max() == 1, "no pixel is selected twice under one tap"


def test_conv2d_step_4(convolution, rng):
    c = convolution
    dpadded = rng.normal(size=c.padded.shape)
    same(crop(dpadded, 1), slope(lambda x: inner(dpadded, pad(x, 1)), c.x))


def test_conv2d_step_5(convolution):
    c = convolution
    same(c.dy.T @ np.ones(len(c.dy)), slope(lambda b: c.loss(b=b), c.b))


# Pooling, resizing, dropout, residuals


def test_max_pool2d_step_1(rng):
    x = rng.normal(size=(1, 5, 5, 1))
    y, _ = max_pool2d(x, window=3, stride=1)
    dy = rng.normal(size=y.shape)
    gradient = np.zeros(x.shape)
    for i, j in np.ndindex(3, 3):  # each output is a copy of the pixel that has its value
        gradient[np.nonzero(x == y[:, i : i + 1, j : j + 1])] += dy[0, i, j, 0]
    same(gradient, slope(lambda x: inner(dy, max_pool2d(x, window=3, stride=1)[0]), x))


def test_max_pool2d_step_2(rng):
    x = rng.normal(size=(1, 5, 5, 1))
    y, cache = max_pool2d(x, window=3, stride=1)
    for tap, (i, j) in enumerate(np.ndindex(3, 3)):
        seen = x[under_tap(i, j, (3, 3), stride=1)]
        assert len(np.unique(seen)) == seen.size
        same(seen[cache.winner == tap], y[cache.winner == tap])


def test_max_pool2d_step_3(rng):
    x = -5 - rng.random(size=(1, 3, 3, 1))  # zeros would win
    y, cache = max_pool2d(x, window=3, stride=2, padding=1)
    same(y.max(), x.max())
    same(max_pool2d_backward(np.ones_like(y), cache).sum(), y.size)


def test_global_mean_pool_step_1(rng):
    x, dy = rng.normal(size=(3, 4, 2)), rng.normal(size=2)
    same(np.broadcast_to(dy / 12, x.shape), slope(lambda x: inner(dy, x.mean(axis=(0, 1))), x))


@pytest.mark.parametrize("corners", [False, True])
def test_resize_bilinear_step_1(corners):
    matrix = interpolation_matrix(4, 7, corners)
    same(matrix.sum(axis=1), 1)
    for row, o in zip(matrix, range(7), strict=True):
        position = o * 3 / 6 if corners else min(max((o + 0.5) * 4 / 7 - 0.5, 0), 3)
        before = int(position)
        expected = np.zeros(5)
        expected[before] += 1 - (position - before)
        expected[before + 1] += position - before
        same(row, expected[:4])


def test_resize_bilinear_step_2(rng):
    vertical, horizontal = interpolation_matrix(3, 5, False), interpolation_matrix(4, 2, False)
    x, dy = rng.normal(size=(3, 4)), rng.normal(size=(5, 2))
    gradient = vertical.T @ dy @ horizontal
    same(gradient, slope(lambda x: inner(dy, vertical @ x @ horizontal.T), x))
    back = interpolation_matrix(5, 3, False) @ dy @ interpolation_matrix(2, 4, False).T
    assert np.abs(back - gradient).max() > 0.1, "it is not a resizing"


def test_resize_bilinear_step_3(rng):
    vertical, horizontal = interpolation_matrix(3, 7, False), interpolation_matrix(4, 9, True)
    dy = rng.normal(size=(7, 9))
    same((vertical.T @ dy @ horizontal).sum(), dy.sum())


def test_dropout_step_1(rng):
    x, dy = rng.normal(size=(2, 6))
    d = np.where(rng.random(6) < 0.6, 1 / 0.6, 0)
    same(d * dy, slope(lambda x: inner(dy, d * x), x))


def test_dropout_step_2(rng):
    x, rate, expectation = rng.normal(size=3), 0.4, np.zeros(3)
    for mask in map(np.array, itertools.product([False, True], repeat=3)):
        probability = np.where(mask, 1 - rate, rate).prod()
        expectation += probability * dropout(x, mask, rate=rate)[0]
    same(expectation, x)


def test_relu_step_1(rng):
    x, dy = rng.normal(size=(2, 20))
    same(np.where(x > 0, dy, 0), slope(lambda x: inner(dy, np.maximum(x, 0)), x))


def test_relu_step_2(rng):
    x = np.append(rng.normal(size=20), 0)
    assert ((np.maximum(x, 0) > 0) == (x > 0)).all()


def test_gated_residual_step_1(rng):
    x, update, dy = rng.normal(size=(3, 2, 5))
    gate = 0.7
    same(dy, slope(lambda x: inner(dy, x + gate * update), x))
    same(gate * dy, slope(lambda update: inner(dy, x + gate * update), update))
    same(inner(dy, update), slope(lambda gate: inner(dy, x + gate * update), gate))


def test_gated_residual_step_2(rng):
    x, update, dy = rng.normal(size=(3, 2, 5))
    same(slope(lambda update: inner(dy, x + 0.0 * update), update), 0)
    assert abs(slope(lambda gate: inner(dy, x + gate * update), 0.0)) > 0.1


class Fused:
    """A fused op as a function of its vector (the shift or the bias) and of its residual."""

    def __init__(self, rng, op):
        self.x, self.residual, self.dy = rng.normal(size=(3, 1, 3, 4, 2))
        self.vector, self.weight, self.op = rng.normal(size=2), rng.normal(size=(1, 1, 2, 2)), op

    def y(self, vector, residual):
        if self.op is conv2d_relu:
            return conv2d_relu(self.x, self.weight, vector, residual)[0]
        one = np.ones(2)
        return batch_norm_relu(self.x, one, vector, one, one, residual, training=True)[0]

    def step_1(self):
        dtotal = np.where(self.y(self.vector, self.residual) > 0, self.dy, 0)
        same(dtotal, slope(lambda residual: inner(self.dy, self.y(self.vector, residual)), self.residual))

    def step_2(self):
        """What is added to the other term at all pixels gets the sum of what the residual gets."""
        dresidual = slope(lambda residual: inner(self.dy, self.y(self.vector, residual)), self.residual)
        dvector = slope(lambda vector: inner(self.dy, self.y(vector, self.residual)), self.vector)
        same(dresidual.sum(axis=(0, 1, 2)), dvector)


def test_batch_norm_relu_step_1(rng):
    Fused(rng, batch_norm_relu).step_1()


def test_batch_norm_relu_step_2(rng):
    Fused(rng, batch_norm_relu).step_2()


def test_conv2d_relu_step_1(rng):
    Fused(rng, conv2d_relu).step_1()


def test_conv2d_relu_step_2(rng):
    Fused(rng, conv2d_relu).step_2()


# Losses: one pixel with logits z and the label 2, or one class of many pixels


@pytest.fixture
def z(rng):
    return rng.normal(size=5)


def test_softmax_cross_entropy_step_1(z):
    same(softmax(z), slope(lambda z: np.log(np.exp(z).sum()), z))


def test_softmax_cross_entropy_step_2(z):
    gradient = softmax(z) - (np.arange(5) == 2)
    same(gradient, slope(lambda z: np.log(np.exp(z).sum()) - z[2], z))
    same(gradient.sum(), 0)


def test_softmax_cross_entropy_step_3(z):
    def loss(m):
        return np.log(np.exp(z - m).sum()) - (z[2] - m)

    same(slope(loss, z.max()), 0)


def test_softmax_cross_entropy_step_4(rng):
    logits, labels, w = rng.normal(size=(3, 5)), np.array([2, 0, 4]), np.array([0.5, 0.0, 2.0])  # 0: ignored

    def loss(logits):
        cross_entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3), labels]
        return 1.3 * (w * cross_entropy).sum() / w.sum()

    truth = labels[:, None] == np.arange(5)
    same(1.3 * (w / w.sum())[:, None] * (softmax(logits) - truth), slope(loss, logits))


def focal(cross_entropy, gamma):
    return (1 - np.exp(-cross_entropy)) ** gamma * cross_entropy


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_softmax_focal_step_1(gamma):
    cross_entropy = np.array([0.1, 0.7, 3.0])
    p = np.exp(-cross_entropy)
    by_it = np.array([slope(lambda each: focal(each, gamma), each) for each in cross_entropy])
    same((1 - p) ** gamma + gamma * (1 - p) ** (gamma - 1) * p * cross_entropy, by_it)
    same((1 - p) ** gamma * (1 + gamma * p * cross_entropy / (1 - p)), by_it)


def test_softmax_focal_step_2():
    cross_entropy = 10.0 ** -np.arange(2, 13)
    ratio = cross_entropy / -np.expm1(-cross_entropy)
    assert (np.abs(ratio - 1) <= cross_entropy).all()


def test_softmax_focal_step_3(z):
    cross_entropy = np.log(np.exp(z).sum()) - z[2]
    p = np.exp(-cross_entropy)
    by_it = (1 - p) ** 2 * (1 + 2 * p * cross_entropy / (1 - p))
    gradient = 0.6 * by_it * (softmax(z) - (np.arange(5) == 2))
    same(gradient, slope(lambda z: 0.6 * focal(np.log(np.exp(z).sum()) - z[2], 2.0), z))


def dice(p, g):
    return 2 * (p * g).sum(axis=0) / ((p**2).sum(axis=0) + (g**2).sum(axis=0))


@pytest.fixture
def regions(rng):
    """Probabilities and one-hot truth, (n, K)."""
    return softmax(rng.normal(size=(6, 3))), np.eye(3)[[0, 1, 2, 2, 1, 0]]


def test_softmax_dice_step_1(regions):
    p, g = regions
    p, g = p[:, 0], g[:, 0]
    same(2 / ((p**2).sum() + (g**2).sum()) * (g - dice(p, g) * p), slope(lambda p: dice(p, g), p))


def test_softmax_dice_step_2(regions):
    p, g = regions
    denominator = (p**2).sum(axis=0) + (g**2).sum(axis=0)
    dloss = 0.7
    by_page = dloss * 2 / (3 * denominator) * (dice(p, g) * p - g)
    same(by_page, slope(lambda p: dloss * (1 - dice(p, g).mean()), p))


def test_softmax_dice_step_3(rng, regions):
    _, g = regions
    logits = rng.normal(size=(6, 3))
    dp = slope(lambda p: 1 - dice(p, g).mean(), softmax(logits))
    same(through_softmax(softmax(logits), dp), slope(lambda logits: 1 - dice(softmax(logits), g).mean(), logits))


@pytest.fixture
def errors(rng):
    """Which of eight pixels have the class, and the probabilities of the class."""
    return rng.random(8) < 0.5, rng.random(8)


def lovasz(foreground, error):
    order = np.argsort(-error)
    return jaccard_slopes(foreground[order]) @ error[order]


def test_lovasz_softmax_step_1(errors):
    foreground, _ = errors
    wrong = np.tri(9, 8, -1, dtype=bool)  # row i: the first i pixels are wrong
    intersection = (foreground & ~wrong).sum(axis=1)
    union = (foreground | wrong).sum(axis=1)
    jaccard = 1 - intersection / union
    same(jaccard[0], 0)
    f = np.cumsum(foreground)
    large = foreground.sum() + np.arange(1, 9) - f
    same(jaccard[1:], 1 - (foreground.sum() - f) / large)
    by_page = np.where(foreground, 1 / large, (foreground.sum() - f) / (large * np.maximum(large - 1, 1)))
    same(by_page, np.diff(jaccard))
    same(by_page, jaccard_slopes(foreground))


def test_lovasz_softmax_step_2(errors):
    foreground, error = errors
    order = np.argsort(-error)
    slopes = np.empty(8)
    slopes[order] = jaccard_slopes(foreground[order])
    same(slopes, slope(lambda error: lovasz(foreground, error), error))


def test_lovasz_softmax_step_3(errors):
    foreground, p = errors

    def error(p):
        return np.where(foreground, 1 - p, p)

    by_error = slope(lambda m: lovasz(foreground, m), error(p))
    same(np.where(foreground, -by_error, by_error), slope(lambda p: lovasz(foreground, error(p)), p))
