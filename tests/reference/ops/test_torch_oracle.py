"""A second oracle: each op, forward and backward, against PyTorch's own or against autograd of its formula."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


def nchw(x):
    return x.movedim(-1, 1)


def nhwc(x):
    return x.movedim(1, -1)


def conv2d(x, weight, bias=None, **options):
    return nhwc(F.conv2d(nchw(x), weight.permute(3, 2, 0, 1).contiguous(), bias, **options))


def conv2d_relu(x, weight, bias, residual=0, **options):
    return torch.relu(conv2d(x, weight, bias, **options) + residual)


def batch_norm(x, scale, shift, mean, variance, *, training):
    return nhwc(F.batch_norm(nchw(x), mean.clone(), variance.clone(), scale, shift, training=training))


def batch_norm_relu(x, scale, shift, mean, variance, residual=0, *, training):
    return torch.relu(batch_norm(x, scale, shift, mean, variance, training=training) + residual)


def max_pool2d(x, *, window, stride, padding=0):
    return nhwc(F.max_pool2d(nchw(x), window, stride, padding))


def linear(x, weight, bias=None):
    return F.linear(x, weight.T, bias)


def dropout(x, mask, *, rate):
    return x * mask / (1 - rate)


def resize_bilinear(x, size, *, align_corners=False):
    return nhwc(F.interpolate(nchw(x), size, mode="bilinear", align_corners=align_corners))


def softmax_cross_entropy(logits, labels, class_weights=None):
    return F.cross_entropy(nchw(logits), labels, class_weights, ignore_index=255)


def softmax_focal(logits, labels, class_weights=None, gamma=2.0):
    """As torchvision's sigmoid_focal_loss, from the cross-entropy of each pixel."""
    loss = F.cross_entropy(nchw(logits), labels, ignore_index=255, reduction="none")
    weight = (labels != 255).to(loss)
    if class_weights is not None:
        weight = weight * class_weights[labels.where(labels != 255, 0)]
    return (weight * (1 - torch.exp(-loss)) ** gamma * loss).sum() / weight.sum()


def softmax_dice(logits, labels):
    probability, labels = logits.softmax(-1)[labels != 255], labels[labels != 255]
    truth = F.one_hot(labels, logits.shape[-1]).to(logits)
    dice = 2 * (probability * truth).sum(0) / (probability**2 + truth**2).sum(0)
    return 1 - dice[truth.sum(0) > 0].mean()


def lovasz_softmax(logits, labels):
    """As in the authors' code, with differences of the Jaccard loss."""
    probability, labels = logits.softmax(-1)[labels != 255], labels[labels != 255]
    losses = []
    for c in labels.unique():
        foreground = (labels == c).to(logits)
        errors, order = (foreground - probability[:, c]).abs().sort(descending=True, stable=True)
        truth = foreground[order]
        intersection = truth.sum() - truth.cumsum(0)
        jaccard = 1 - intersection / (truth.sum() + (1 - truth).cumsum(0))
        jaccard[1:] = jaccard[1:] - jaccard[:-1].clone()
        losses.append(errors @ jaccard)
    return sum(losses) / len(losses)


def position_attention(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


def channel_attention(x, form="released"):
    """As in the authors' code, with a row maximum that autograd differentiates too."""
    channels = x.mT
    energy = channels @ channels.mT
    if form == "released":
        energy = energy.max(dim=-1, keepdim=True).values.expand_as(energy) - energy
    return (energy.softmax(-1) @ channels).mT


def scale_fusion(scores, scale_logits):
    return torch.einsum("bhws,sbhwk->bhwk", scale_logits.softmax(-1), scores)


ORACLES = {
    "conv2d": conv2d,
    "conv2d_relu": conv2d_relu,
    "batch_norm": batch_norm,
    "batch_norm_relu": batch_norm_relu,
    "relu": torch.relu,
    "max_pool2d": max_pool2d,
    "global_mean_pool": lambda x: x.mean((1, 2)),
    "linear": linear,
    "dropout": dropout,
    "resize_bilinear": resize_bilinear,
    "softmax": lambda x: x.softmax(-1),
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_focal": softmax_focal,
    "softmax_dice": softmax_dice,
    "lovasz_softmax": lovasz_softmax,
    "position_attention": position_attention,
    "channel_attention": channel_attention,
    "gated_residual": lambda x, update, gate: x + gate * update,
    "scale_fusion": scale_fusion,
    "scale_max": lambda scores: scores.amax(0),
    "scale_mean": lambda scores: scores.mean(0),
}


def test_forward_and_backward_agree(case, rng):
    inputs = case.inputs()
    y, cache = case.forward(inputs)
    dy = np.asarray(rng.normal(size=y.shape))
    gradients = case.backward(dy, cache)

    tensors = [torch.tensor(x, requires_grad=True) for x in inputs.values()]
    fixed = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in case.fixed.items()}
    oracle = ORACLES[case.op](**dict(zip(inputs, tensors, strict=True)), **fixed)
    np.testing.assert_allclose(y, oracle.detach(), rtol=1e-9, atol=1e-10)
    for name, wanted in zip(inputs, torch.autograd.grad(oracle, tensors, torch.from_numpy(dy)), strict=True):
        np.testing.assert_allclose(gradients[name], wanted, rtol=1e-9, atol=1e-10, err_msg=name)
