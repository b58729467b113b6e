"""The tool trains on the backend: a small network that has everything takes the reference's steps."""

from __future__ import annotations

import numpy as np
import pytest

from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training import StepDone, train
from segattn_cli.training.loss_scale import LossScale

from ...segattn_cli.training.conftest import tiny  # noqa: F401, a fixture

#: precision → how far the losses may be off, and the second step of the weights, both relative. Batches are so
#: small that norms make much of little: in bfloat16 the losses say more.
TOLERANCES = {"float32": (1e-5, 1e-3), "tf32": (1e-2, 0.3), "float16": (1e-2, 0.3), "bfloat16": (5e-2, 1.0)}


def steps(config, out):
    """The losses of two steps, and the weights after them, one after the other."""
    losses = [event.loss for event in train(config, out) if isinstance(event, StepDone)]
    arrays = sorted(load_checkpoint(out / "last.safetensors").arrays.items())
    return losses, np.concatenate([array.ravel() for _, array in arrays if array.dtype == np.float32])


@pytest.fixture(scope="module")
def exact(tiny, tmp_path_factory):  # noqa: F811
    """Of the reference: losses, weights after the first step, and after the last."""
    folder = tmp_path_factory.mktemp("runs")
    _, first = steps(tiny("training.max_steps=1"), folder / "one")
    return *steps(tiny("training.max_steps=2"), folder / "two"), first


@pytest.mark.parametrize("precision", TOLERANCES)
def test_trains(tiny, exact, tmp_path, monkeypatch, precision):  # noqa: F811
    monkeypatch.setattr(LossScale.__init__, "__defaults__", (2.0**8, 0, 0))  # from where nothing overflows
    config = tiny("training.max_steps=2", "training.backend=cupy", f"training.precision={precision}")
    losses, weights = steps(config, tmp_path / "run")
    wanted_losses, wanted, first = exact
    of_losses, of_weights = TOLERANCES[precision]
    np.testing.assert_allclose(losses, wanted_losses, rtol=of_losses)
    assert np.linalg.norm(weights - wanted) <= of_weights * np.linalg.norm(wanted - first)
