"""The optimiser against PyTorch's, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from backends import reference
from segattn_cli.config import OptimiserSection
from segattn_cli.costs.cost import OPTIMISER_ARRAYS
from segattn_cli.training.optimiser import optimiser_of

SHAPES = {
    "backbone.conv1.weight": (3, 3, 2, 4), "backbone.bn1.weight": (4,), "backbone.bn1.bias": (4,),
    "head.position.gate": (), "head.classifier.weight": (1, 1, 4, 3), "head.classifier.bias": (3,),
}  # fmt: skip


@pytest.fixture
def params(rng):
    return {name: np.array(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("decay_all", [True, False])
def test_ten_steps_are_those_of_torch(rng, params, decay_all, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    config = OptimiserSection(
        kind=kind, momentum=0.9, betas=(0.8, 0.95), epsilon=1e-6, weight_decay=0.01,
        decay_biases_and_norms=decay_all, head_multiplier=10.0, classifier_multiplier=3.0, bias_multiplier=2.0,
    )  # fmt: skip
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    multipliers = {
        "backbone.conv1.weight": 1, "backbone.bn1.weight": 1, "backbone.bn1.bias": 2, "head.position.gate": 10,
        "head.classifier.weight": 30, "head.classifier.bias": 60,
    }  # fmt: skip
    groups = [
        {"params": [tensor], "weight_decay": 0.01 if decay_all or tensor.ndim > 1 else 0.0, "name": name}
        for name, tensor in tensors.items()
    ]
    if kind == "sgd":
        oracle = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    else:
        oracle = torch.optim.AdamW(groups, lr=1.0, betas=(0.8, 0.95), eps=1e-6)
    optimiser = optimiser_of(config, params)
    state = optimiser.initial_state(params)
    for step in range(10):
        rate = 0.01 / (1 + step)
        gradients = {name: np.array(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}
        for group in oracle.param_groups:
            group["lr"] = rate * multipliers[group["name"]]
            group["params"][0].grad = torch.tensor(gradients[group["name"]])
        oracle.step()
        optimiser.step(reference, params, state, gradients, rate)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(params[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
        assert params[name].dtype == np.float32
        assert params[name].shape == SHAPES[name]
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", OPTIMISER_ARRAYS)
def test_a_parameter_without_gradient_stays(params, kind):
    optimiser = optimiser_of(OptimiserSection(kind=kind), params)
    state = optimiser.initial_state(params)
    before = {name: value.copy() for name, value in params.items()}
    gradient = np.ones((), np.float32)
    optimiser.step(reference, params, state, {"head.position.gate": gradient}, 0.1)
    changed = [name for name in params if not np.array_equal(params[name], before[name])]
    assert changed == ["head.position.gate"]
    assert gradient == 1
    assert {name.partition("head")[2] for name, value in state.items() if value.any()} <= {".position.gate", ""}


@pytest.mark.parametrize("kind", OPTIMISER_ARRAYS)
def test_the_state_has_the_arrays_that_the_cost_counts(params, kind):
    statistics = {"backbone.bn1.running_mean": np.zeros(4, np.float32)}
    state = optimiser_of(OptimiserSection(kind=kind), ()).initial_state(params | statistics)
    values = sum(array.size for name, array in state.items() if name != "adamw.steps")
    assert values == OPTIMISER_ARRAYS[kind] * sum(array.size for array in params.values())
