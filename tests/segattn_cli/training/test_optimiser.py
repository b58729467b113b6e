"""The optimiser against PyTorch's, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from backends import reference
from segattn_cli.config import OptimiserSection
from segattn_cli.training.optimiser import rate_multiplier, sgd_step

SHAPES = {
    "backbone.conv.weight": (3, 3, 2, 4), "backbone.bn.weight": (4,), "backbone.bn.bias": (4,),
    "head.position.gate": (), "head.classifier.weight": (1, 1, 4, 3), "head.classifier.bias": (3,),
}  # fmt: skip


@pytest.fixture
def params(rng):
    return {name: np.array(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}


@pytest.mark.torch
@pytest.mark.parametrize("decay_all", [True, False])
def test_ten_steps_are_those_of_torch(rng, params, decay_all):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    config = OptimiserSection(
        momentum=0.9, weight_decay=0.01, decay_biases_and_norms=decay_all, head_multiplier=10.0,
        classifier_multiplier=3.0, bias_multiplier=2.0,
    )  # fmt: skip
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    multipliers = {
        "backbone.conv.weight": 1, "backbone.bn.weight": 1, "backbone.bn.bias": 2, "head.position.gate": 10,
        "head.classifier.weight": 30, "head.classifier.bias": 60,
    }  # fmt: skip
    groups = [
        {"params": [tensor], "weight_decay": 0.01 if decay_all or tensor.ndim > 1 else 0.0, "name": name}
        for name, tensor in tensors.items()
    ]
    oracle = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    momentum = {name: np.zeros_like(value) for name, value in params.items()}
    for step in range(10):
        rate = 0.01 / (1 + step)
        gradients = {name: np.array(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}
        for group in oracle.param_groups:
            group["lr"] = rate * multipliers[group["name"]]
            group["params"][0].grad = torch.tensor(gradients[group["name"]])
        oracle.step()
        sgd_step(reference, params, momentum, gradients, rate, config)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(params[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
        assert params[name].dtype == momentum[name].dtype == np.float32
        assert params[name].shape == SHAPES[name]


def test_a_parameter_without_gradient_stays(params):
    momentum = {name: np.ones_like(value) for name, value in params.items()}
    before = {name: value.copy() for name, value in params.items()}
    gradient = np.ones((), np.float32)
    sgd_step(reference, params, momentum, {"head.position.gate": gradient}, 0.1, OptimiserSection())
    changed = [name for name in params if not np.array_equal(params[name], before[name])]
    assert changed == ["head.position.gate"]
    assert gradient == 1


def test_multipliers():
    config = OptimiserSection(head_multiplier=10.0, classifier_multiplier=3.0)
    names = ("backbone.layer1.0.conv1.weight", "scale_attention.conv1.weight", "scale_classifier.weight",
             "head.position.classifier.weight", "head.fc7.weight", "head.fc8.weight",
             "auxiliary_head.reduce.conv.weight", "auxiliary_head.classifier.weight")  # fmt: skip
    assert [rate_multiplier(name, config) for name in names] == [1, 10, 10, 30, 10, 30, 10, 30]
