"""Running statistics against PyTorch's batch norm, and the average of the weights by hand."""

from __future__ import annotations

import numpy as np
import pytest

from backends import reference
from reference.layers.context import BatchStatistics
from segattn_cli.training.averages import update_average, update_running_statistics


@pytest.mark.torch
def test_running_statistics_are_those_of_torch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    norm = torch.nn.BatchNorm2d(3, momentum=0.2)
    params = {"bn.running_mean": np.zeros(3, np.float32), "bn.running_var": np.ones(3, np.float32)}
    for _ in range(3):
        x = rng.normal(2.0, 3.0, (2, 4, 5, 3)).astype(np.float32)
        norm(torch.tensor(x).permute(0, 3, 1, 2))
        batch = BatchStatistics(x.mean((0, 1, 2)), x.var((0, 1, 2)), x.size // 3)
        update_running_statistics(reference, params, {"bn": batch}, 0.2)
    np.testing.assert_allclose(params["bn.running_mean"], norm.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(params["bn.running_var"], norm.running_var.numpy(), rtol=1e-5)
    assert params["bn.running_var"].dtype == np.float32


def test_one_value_a_channel_has_no_unbiased_variance():
    params = {"bn.running_mean": np.zeros(1), "bn.running_var": np.ones(1)}
    update_running_statistics(reference, params, {"bn": BatchStatistics(np.ones(1), np.zeros(1), 1)}, 0.1)
    np.testing.assert_allclose(params["bn.running_var"], 0.9)


def test_the_average_warms_up_and_then_decays():
    average, params = {"w": np.array([0.0])}, {"w": np.array([1.0])}
    update_average(reference, average, params, 0.5, step=1)  # d = min(0.5, 2/11)
    np.testing.assert_allclose(average["w"], 9 / 11)
    update_average(reference, average, params, 0.5, step=100)
    np.testing.assert_allclose(average["w"], 0.5 * 9 / 11 + 0.5)
    assert params["w"] == 1
