"""The cases on which the properties that all ops share are tested, and how to run one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import reference.ops


@dataclass
class Case:
    """A call of an op: float inputs by shape, in the order of the gradients, and arguments without gradient."""

    op: str
    shapes: dict[str, tuple[int, ...]]
    fixed: dict[str, Any] = field(default_factory=dict)

    def inputs(self, seed=0):
        rng = np.random.default_rng(seed)
        return {name: rng.normal(size=shape) for name, shape in self.shapes.items()}

    def forward(self, inputs):
        dtype = getattr(next(iter(inputs.values())), "dtype", np.float64)
        return getattr(reference.ops, self.op)(**inputs, **{k: _cast(v, dtype) for k, v in self.fixed.items()})

    def backward(self, dy, cache):
        """The gradients by the name of their input."""
        gradients = getattr(reference.ops, f"{self.op}_backward")(dy, cache)
        gradients = gradients if type(gradients) is tuple else (gradients,)
        for absent in gradients[len(self.shapes) :]:
            assert absent is None, "the gradient of an input that was not given"
        return dict(zip(self.shapes, gradients, strict=False))


def _cast(value, dtype):
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _table():
    rng = np.random.default_rng(7)
    channel = {"scale": (3,), "shift": (3,)}
    running = {"mean": rng.normal(size=3), "variance": rng.uniform(0.5, 2, size=3)}
    labels = rng.integers(0, 5, (2, 4, 3))
    labels[0, 1] = 255
    tokens = {"query": (2, 7, 3), "key": (2, 7, 3), "value": (2, 7, 5)}
    image = (2, 6, 5, 3)
    return {
        "conv2d": Case("conv2d", {"x": image, "weight": (3, 3, 3, 4), "bias": (4,)}, {"padding": 1}),
        "conv2d without bias": Case("conv2d", {"x": image, "weight": (2, 3, 3, 1)}),
        "conv2d strided": Case("conv2d", {"x": image, "weight": (3, 2, 3, 4)}, {"stride": 2, "padding": 1}),
        "conv2d dilated": Case("conv2d", {"x": image, "weight": (3, 3, 3, 2)}, {"dilation": 2, "padding": 3}),
        "conv2d 1×1": Case("conv2d", {"x": image, "weight": (1, 1, 3, 4), "bias": (4,)}),
        "conv2d_relu": Case("conv2d_relu", {"x": image, "weight": (3, 3, 3, 4), "bias": (4,)}, {"padding": 1}),
        "conv2d_relu residual": Case(
            "conv2d_relu", {"x": image, "weight": (3, 3, 3, 4), "bias": (4,), "residual": (2, 3, 3, 4)},
            {"stride": 2, "padding": 1},
        ),
        "batch_norm training": Case("batch_norm", {"x": image, **channel}, {**running, "training": True}),
        "batch_norm running": Case("batch_norm", {"x": image, **channel}, {**running, "training": False}),
        "batch_norm_relu training": Case("batch_norm_relu", {"x": image, **channel}, {**running, "training": True}),
        "batch_norm_relu running": Case("batch_norm_relu", {"x": image, **channel}, {**running, "training": False}),
        "batch_norm_relu residual": Case(
            "batch_norm_relu", {"x": image, **channel, "residual": image}, {**running, "training": True}
        ),
        "relu": Case("relu", {"x": image}),
        "max_pool2d": Case("max_pool2d", {"x": image}, {"window": 2, "stride": 2}),
        "max_pool2d overlapping": Case("max_pool2d", {"x": image}, {"window": 3, "stride": 2, "padding": 1}),
        "max_pool2d dense": Case("max_pool2d", {"x": image}, {"window": 3, "stride": 1, "padding": 1}),
        "global_mean_pool": Case("global_mean_pool", {"x": image}),
        "linear": Case("linear", {"x": (2, 7, 3), "weight": (3, 4), "bias": (4,)}),
        "linear without bias": Case("linear", {"x": (5, 3), "weight": (3, 1)}),
        "linear of one row": Case("linear", {"x": (3,), "weight": (3, 2), "bias": (2,)}),
        "dropout": Case("dropout", {"x": image}, {"mask": rng.random(image) < 0.5, "rate": 0.5}),
        "dropout of channels": Case("dropout", {"x": image}, {"mask": rng.random((2, 1, 1, 3)) < 0.9, "rate": 0.1}),
        "resize_bilinear up": Case("resize_bilinear", {"x": image}, {"size": (11, 13)}),
        "resize_bilinear down": Case("resize_bilinear", {"x": image}, {"size": (4, 2)}),
        "resize_bilinear corners": Case("resize_bilinear", {"x": image}, {"size": (11, 9), "align_corners": True}),
        "resize_bilinear to a row": Case("resize_bilinear", {"x": image}, {"size": (1, 3), "align_corners": True}),
        "softmax": Case("softmax", {"x": (2, 3, 5)}),
        "softmax_cross_entropy": Case("softmax_cross_entropy", {"logits": (2, 4, 3, 5)}, {"labels": labels}),
        "softmax_cross_entropy weighted": Case(
            "softmax_cross_entropy",
            {"logits": (2, 4, 3, 5)},
            {"labels": labels, "class_weights": rng.uniform(0.1, 3, size=5)},
        ),
        "softmax_focal": Case("softmax_focal", {"logits": (2, 4, 3, 5)}, {"labels": labels}),
        "softmax_focal weighted": Case(
            "softmax_focal",
            {"logits": (2, 4, 3, 5)},
            {"labels": labels, "class_weights": rng.uniform(0.1, 3, size=5), "gamma": 0.5},
        ),
        "softmax_dice": Case("softmax_dice", {"logits": (2, 4, 3, 5)}, {"labels": labels}),
        "softmax_dice without class 2": Case(
            "softmax_dice", {"logits": (2, 4, 3, 5)}, {"labels": np.where(labels == 2, 3, labels)}
        ),
        "lovasz_softmax": Case("lovasz_softmax", {"logits": (2, 4, 3, 5)}, {"labels": labels}),
        "lovasz_softmax without class 2": Case(
            "lovasz_softmax", {"logits": (2, 4, 3, 5)}, {"labels": np.where(labels == 2, 3, labels)}
        ),
        "position_attention": Case("position_attention", tokens),
        "channel_attention released": Case("channel_attention", {"x": (2, 7, 4)}),
        "channel_attention paper": Case("channel_attention", {"x": (2, 7, 4)}, {"form": "paper"}),
        "gated_residual": Case("gated_residual", {"x": image, "update": image, "gate": ()}),
        "scale_fusion": Case("scale_fusion", {"scores": (3, 2, 4, 3, 5), "scale_logits": (2, 4, 3, 3)}),
        "scale_max": Case("scale_max", {"scores": (3, 2, 4, 3, 5)}),
        "scale_mean": Case("scale_mean", {"scores": (3, 2, 4, 3, 5)}),
    }


CASES = _table()


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="session")
def all_cases():
    return CASES
