"""Two ways to run what was exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Run = Callable[[Any, dict[str, np.ndarray]], dict[str, np.ndarray]]


def run_with_onnxruntime(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX is not installed: pip install '.[onnx]'")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip((each.name for each in session.get_outputs()), session.run(None, inputs), strict=True))


def run_with_onnx(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnx_reference = pytest.importorskip("onnx.reference", reason="ONNX is not installed: pip install '.[onnx]'")
    evaluator = onnx_reference.ReferenceEvaluator(model)
    return dict(zip(evaluator.output_names, evaluator.run(None, inputs), strict=True))


@pytest.fixture(params=[run_with_onnxruntime, run_with_onnx], ids=["onnxruntime", "onnx"])
def run(request: pytest.FixtureRequest) -> Run:
    """``run(model, inputs)``: the outputs by name."""
    return request.param


@pytest.fixture(scope="session")
def onnxruntime() -> Run:
    return run_with_onnxruntime
