"""Whatever predicts with a trained network has the settings of its run: none of them is dropped anywhere."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import backends.reference
from backends import get_backend
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.errors import ExitCode
from segattn_cli.exporting.verify import SIZES, verify
from segattn_cli.prediction.predictor import SINGLE_PASS, Maps, Prediction, Predictor
from segattn_cli.runs import open_model

from ..runs.folders import TINY, WHOLE, config, run_folder

#: Values that are no defaults, by key of the configuration. (In tf32 the reference computes as in float32.)
UNUSUAL: dict[str, Any] = {
    "data.size": (20, 28), "evaluation.scales": (1.0, 0.5), "evaluation.flip": True,
    "evaluation.window": (16, 16), "evaluation.stride": (10, 12), "training.precision": "tf32",
}
OVERRIDES = tuple(f"{key}={json.dumps(value)}" for key, value in UNUSUAL.items())
SETTINGS = {key.partition(".")[2]: value for key, value in UNUSUAL.items()}
#: Keys of [evaluation] that say what is predicted and when, not how.
NOT_OF_A_PREDICTOR = {"every", "preview_after", "limit"}


def test_every_setting_of_the_configuration_is_one_of_a_predictor() -> None:
    evaluation = {field.name for field in fields(config().evaluation)}
    assert evaluation - NOT_OF_A_PREDICTOR | {"size", "precision"} == set(SETTINGS)
    parameters = inspect.signature(Predictor.__init__).parameters.values()
    asked = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert asked - {"batch"} == set(SETTINGS) == set(SINGLE_PASS)  # no prediction depends on the batch


class Recorded(list[dict[str, Any]]):
    """The settings of the predictor of every image that is predicted."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        init = Predictor.__init__
        settings: dict[int, dict[str, Any]] = {}

        def remember(predictor: Predictor, *arguments: Any, **given: Any) -> None:
            init(predictor, *arguments, **given)
            settings[id(predictor)] = SINGLE_PASS | {key: value for key, value in given.items() if key != "batch"}

        def maps(predictor: Predictor, image: np.ndarray, output: Any = None, **asked: bool) -> Maps:
            self.append(settings[id(predictor)])
            return Maps(np.zeros(image.shape[:2], np.uint8), np.ones(image.shape[:2], np.float32), None, None)

        def predict(predictor: Predictor, image: np.ndarray, output: Any = None) -> Prediction:
            self.append(settings[id(predictor)])
            return Prediction(np.full((*image.shape[:2], len(CLASSES)), 1 / len(CLASSES), np.float32), None, True)

        patch.setattr(Predictor, "__init__", remember)
        patch.setattr(Predictor, "predict", predict)
        patch.setattr(Predictor, "maps", maps)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Images are not really predicted; the backend has every precision."""
    for module in ("backends", "segattn_cli.training.setup"):
        monkeypatch.setattr(f"{module}.get_backend", lambda *_: backends.reference)
    return Recorded(monkeypatch)


@pytest.fixture
def unusual_run(tmp_path: Path, model_of: Callable[..., Path]) -> Path:
    folder = run_folder(tmp_path / "run", WHOLE, *OVERRIDES, result={"steps": 4, "seconds": 1.0})
    model_of(folder / "best.safetensors", *TINY, *OVERRIDES)
    return folder


def test_training_validates_once_and_reports_that(cli: Any, tmp_path: Path, recorded: Recorded) -> None:
    settings = [f"--set={each}" for each in (*TINY, *OVERRIDES, "augmentation.crop=[16, 16]", "data.workers=1")]
    run = tmp_path / "trained"
    arguments = ("train", *settings, "--set=training.batch_size=2", "--max-steps", 1, "--out", run)
    assert cli(*arguments).code == ExitCode.OK
    assert recorded == [SETTINGS] * 3  # of three validation images, for metrics, predictions.png and report.html
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert cli(*arguments, "--resume").code == ExitCode.OK
    assert recorded == [SETTINGS] * 6  # once more, for the report that is missing
    assert len((run / "report.html").read_bytes()) == pytest.approx(len(before), rel=0.01)


def test_a_report_has_the_precision_of_the_run_where_the_backend_has_it(
    cli: Any, unusual_run: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("report", unusual_run).code == ExitCode.OK
    assert recorded == [SETTINGS] * 3
    monkeypatch.setattr("backends.get_backend", get_backend)
    recorded.clear()
    assert cli("report", unusual_run, "--backend", "numpy").code == ExitCode.OK
    assert recorded == [SETTINGS | {"precision": "float32"}] * 3


@pytest.mark.parametrize("command", ["eval", "infer", "infer --video"])
def test_eval_and_infer_have_the_settings_of_the_run_but_for_options(
    cli: Any, tmp_path: Path, photos: Path, unusual_run: Path, recorded: Recorded, command: str
) -> None:
    arguments: list[Any] = ["eval", unusual_run]
    if command != "eval":
        arguments = ["infer", unusual_run, photos / "a.jpg", "--force", "--out", tmp_path / "out"]
    if command == "infer --video":
        pytest.importorskip("av", reason="PyAV is not installed")
        arguments += ["--video", "drive.mp4"]
    assert cli(*arguments).code == ExitCode.OK
    assert recorded
    assert all(each == SETTINGS | {"precision": "float32"} for each in recorded)  # whose option has a default
    for option, value in (
        (["--size", "18,18"], {"size": (18, 18)}), (["--size", "none"], {"size": None}),
        (["--scales", "1"], {"scales": (1.0,)}), (["--no-flip"], {"flip": False}),
        (["--window", "none"], {"window": None, "stride": None}), (["--stride", "9,9"], {"stride": (9, 9)}),
        (["--precision", "bfloat16"], {"precision": "bfloat16"}),
    ):
        recorded.clear()
        assert cli(*arguments, *option).code == ExitCode.OK
        assert recorded
        assert all(each == SETTINGS | {"precision": "float32"} | value for each in recorded)


def test_an_exported_model_is_compared_with_a_single_pass(unusual_run: Path, recorded: Recorded) -> None:
    session = SimpleNamespace(
        get_inputs=lambda: [SimpleNamespace(type="tensor(float)")],
        run=lambda names, inputs: [np.zeros((len(inputs["image"]), 8, *inputs["image"].shape[2:]), np.float32)],
    )
    list(verify(session, open_model(unusual_run), backends.reference))
    assert recorded == [SINGLE_PASS] * sum(size[0] for size in SIZES)
