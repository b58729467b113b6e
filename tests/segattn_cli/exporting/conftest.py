"""Models whose every parameter matters, and two ways to run what was exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference.networks import build_network
from segattn_cli.config import load_config
from segattn_cli.data.scenes import CLASSES, PALETTE
from segattn_cli.runs import Model

Run = Callable[[Any, dict[str, np.ndarray]], dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def model_of() -> Callable[..., Model]:
    """``model_of(head="dual", …)``: a model with these parts of a network, and random parameters throughout."""

    def make(*, classes: int = 5, **parts: Any) -> Model:
        small = {"head_channels": 8, "scale_attention_channels": 8, "scales": [1.0], "scale_classifier": "none"}
        parts = small | parts
        settings = [f"network.{key}={json.dumps(value)}" for key, value in parts.items()]
        config = load_config("tiny-scenes", settings)
        network = build_network(config.network_config(classes))
        rng = np.random.default_rng(7)
        params = {name: _moved(name, value, rng) for name, value in network.initialise(seed=1).items()}
        return Model(network, params, config, CLASSES[:classes], PALETTE[:classes], {}, Path("model.safetensors"))

    return make


def _moved(name: str, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Away from where training starts: no gate at 0, no norm that does nothing, no equal weights of the scales."""
    if name.endswith(".gate"):
        return np.float32(0.8) + np.zeros_like(value)
    if name.endswith(".running_var"):
        return rng.uniform(0.5, 2, value.shape).astype(np.float32)
    if np.ptp(value) == 0:
        return (value + rng.normal(0, 0.3, value.shape)).astype(np.float32)
    return value


def run_with_onnxruntime(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip((each.name for each in session.get_outputs()), session.run(None, inputs), strict=True))


def run_with_onnx(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(model)
    return dict(zip(evaluator.output_names, evaluator.run(None, inputs), strict=True))


@pytest.fixture(params=[run_with_onnxruntime, run_with_onnx], ids=["onnxruntime", "onnx"])
def run(request: pytest.FixtureRequest) -> Run:
    """``run(model, inputs)``: the outputs by name."""
    return request.param


@pytest.fixture(scope="session")
def onnxruntime() -> Run:
    return run_with_onnxruntime
