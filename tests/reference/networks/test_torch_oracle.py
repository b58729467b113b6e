"""Whole networks against an independent writing in PyTorch: channels first, autograd, float64."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


class TorchDANet:
    """DANet on a ResNet-18, at one scale or several, from a flat dict of our parameters."""

    def __init__(self, params, config):
        self.config = config
        self.p = {name: torch.tensor(value, requires_grad="running" not in name) for name, value in params.items()}

    def conv(self, x, name, stride=1, dilation=1):
        weight = self.p[f"{name}.weight"].permute(3, 2, 0, 1)
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.p.get(f"{name}.bias"), stride, padding, dilation)

    def norm(self, x, name):
        return F.batch_norm(x, None, None, self.p[f"{name}.weight"], self.p[f"{name}.bias"], training=True)

    def linear(self, x, name):  # a 1×1 convolution of (B, C, H, W)
        return F.conv2d(x, self.p[f"{name}.weight"].T[:, :, None, None], self.p[f"{name}.bias"])

    def resize(self, x, size):
        return F.interpolate(x, size, mode="bilinear", align_corners=self.config.align_corners)

    def block(self, x, name, stride, d1, d2):
        y = torch.relu(self.norm(self.conv(x, f"{name}.conv1", stride, d1), f"{name}.bn1"))
        y = self.norm(self.conv(y, f"{name}.conv2", 1, d2), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in self.p:
            x = self.norm(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        return torch.relu(y + x)

    def backbone(self, x):
        if self.config.deep_stem:
            for i, (conv, norm) in enumerate([("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1")]):
                x = self.conv(x, f"backbone.{conv}", 1 if i else 2)
                x = torch.relu(self.norm(x, f"backbone.{norm}"))
        else:
            x = torch.relu(self.norm(self.conv(x, "backbone.conv1", 2), "backbone.bn1"))
        x = F.max_pool2d(x, 3, 2, 1)
        layer1 = middle = None
        plan = [(1, 0, 1, 1, 1), (1, 1, 1, 1, 1), (2, 0, 2, 1, 1), (2, 1, 1, 1, 1),
                (3, 0, 1, 1, 2), (3, 1, 1, 2, 2), (4, 0, 1, 2, 4), (4, 1, 1, 4, 4)]  # fmt: skip
        for stage, index, stride, d1, d2 in plan:
            x = self.block(x, f"backbone.layer{stage}.{index}", stride, d1, d2)
            layer1 = x if stage == 1 else layer1  # after the last block of layer1
            middle = x if stage == 3 else middle  # after the last block of layer3
        return x, layer1, middle

    def auxiliary(self, x):
        x = self.norm(self.conv(x, "auxiliary_head.reduce.conv"), "auxiliary_head.reduce.norm")
        return self.linear(torch.relu(x), "auxiliary_head.classifier")

    def decoder(self, features, layer1):
        lateral = self.norm(self.conv(layer1, "decoder.lateral.conv"), "decoder.lateral.norm")
        x = torch.relu(lateral + self.resize(features, layer1.shape[2:]))
        return torch.relu(self.norm(self.conv(x, "decoder.smooth.conv"), "decoder.smooth.norm"))

    def branch(self, x, name):
        x = torch.relu(self.norm(self.conv(x, f"head.{name}.reduce.conv"), f"head.{name}.reduce.norm"))
        b, c, h, w = x.shape
        if name == "position":
            q, k, v = (self.linear(x, f"head.position.{part}").flatten(2) for part in ("query", "key", "value"))
            attention = torch.softmax(q.transpose(1, 2) @ k, dim=-1)  # rows are queries
            y = v @ attention.transpose(1, 2)
        else:
            flat = x.flatten(2)
            energy = flat @ flat.transpose(1, 2)
            if self.config.channel_form == "released":
                energy = energy.max(-1, keepdim=True)[0] - energy
            y = torch.softmax(energy, dim=-1) @ flat
        x = self.p[f"head.{name}.gate"] * y.view(b, c, h, w) + x
        return torch.relu(self.norm(self.conv(x, f"head.{name}.refine.conv"), f"head.{name}.refine.norm"))

    def at_scale(self, x):
        x, layer1, middle = self.backbone(x)
        position, channel = self.branch(x, "position"), self.branch(x, "channel")
        total = position + channel
        weighted = [
            (1.0, self.linear(position, "head.position.classifier")),
            (1.0, self.linear(channel, "head.channel.classifier")),
        ]
        if self.config.auxiliary_head:
            weighted.append((0.4, self.auxiliary(middle)))
        scores = self.linear(total, "head.classifier")
        if self.config.decoder:
            weighted.append((0.4, scores))
            total = self.decoder(total, layer1)
            scores = self.linear(total, "decoder.classifier")
        return total, scores, weighted

    def loss(self, images, labels):
        images = torch.tensor(images).permute(0, 3, 1, 2)
        labels = torch.tensor(labels)
        class_weights = torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=torch.float64)

        def cross_entropy(scores):
            logits = self.resize(scores, labels.shape[1:])
            return F.cross_entropy(logits, labels, class_weights, ignore_index=255)

        height, width = images.shape[2:]
        sizes = [(round(height * s), round(width * s)) for s in self.config.scales]
        runs = [self.at_scale(self.resize(images, size)) for size in sizes]
        if len(runs) == 1:
            _, scores, branches = runs[0]
            return cross_entropy(scores) + sum(weight * cross_entropy(branch) for weight, branch in branches)
        grid = runs[self.config.scales.index(1.0)][0].shape[2:]
        features = torch.cat([self.resize(f, grid) for f, _, _ in runs], dim=1)
        hidden = torch.relu(self.conv(features, "scale_attention.conv1"))
        weights = torch.softmax(self.linear(hidden, "scale_attention.conv2"), dim=1)
        maps = [self.resize(scores, grid) for _, scores, _ in runs]
        fused = sum(weights[:, s : s + 1] * scores for s, scores in enumerate(maps))
        total = cross_entropy(fused) + sum(map(cross_entropy, maps))
        for branches in (branches for _, _, branches in runs):
            total = total + sum(w * cross_entropy(self.resize(b, grid)) for w, b in branches) / len(runs)
        pooled = torch.stack([m.mean((2, 3)) for m in [fused, *(scores for _, scores, _ in runs)]])  # native sizes
        logits = pooled @ self.p["scale_classifier.weight"] + self.p["scale_classifier.bias"]
        which = torch.arange(len(pooled))[:, None].expand(-1, pooled.shape[1]).flatten()
        return total + 0.1 * F.cross_entropy(logits.flatten(0, 1), which)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("channel_form", ["released", "paper"])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.75, 0.5)])
def test_danet_resnet18(make_problem, scales, channel_form, align_corners):
    compare(make_problem, scales=scales, channel_form=channel_form, align_corners=align_corners)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_auxiliary_head_and_narrow_deep_stem(make_problem, scales):
    compare(make_problem, scales=scales, deep_stem=True, stem_channels=32, auxiliary_head=True)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_decoder(make_problem, scales, align_corners):
    compare(make_problem, scales=scales, decoder=True, align_corners=align_corners)


def compare(make_problem, *, scales, **config):
    """Loss and every gradient, ours and PyTorch's."""
    scale_classifier = "none" if len(scales) == 1 else "attached"
    problem = make_problem(
        backbone="resnet18", head="dual", scales=scales, scale_classifier=scale_classifier, size=(41, 48),
        dropout=False, **config,
    )
    oracle = TorchDANet(problem.params, problem.network.config)
    wanted = oracle.loss(problem.images, problem.labels)
    wanted.backward()
    assert float(problem.loss().total) == pytest.approx(wanted.item(), rel=1e-10)
    for name, gradient in problem.gradients().items():
        expected = oracle.p[name].grad.numpy()
        scale = max(np.abs(expected).max(), 1e-6)
        np.testing.assert_allclose(gradient, expected, atol=1e-7 * scale, rtol=0, err_msg=name)
