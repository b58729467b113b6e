"""Probabilities, confidence and entropy are what SciPy says, and survive their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

import backends.numpy as ops
from segattn_cli.prediction import output_files
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.jobs import Job
from segattn_cli.prediction.output_files import Output, Segmentation
from segattn_cli.prediction.predictor import Prediction, Predictor
from segattn_cli.prediction.segment import ImageDone, segment
from segattn_cli.runs import Model

CLASSES = ("sky", "road / track", "road – track", "<b>", "é")


@pytest.fixture(scope="module")
def predictor(model_of: Callable[..., Model]) -> Predictor:
    return Predictor.of(model_of(head="fcn"), ops)


@pytest.fixture
def found(rng: np.random.Generator, predictor: Predictor) -> Segmentation:
    scores = (8 * rng.standard_normal((6, 9, 5))).astype(np.float32)
    image = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
    palette = rng.integers(0, 256, (5, 3)).astype(np.uint8)
    label = scores.argmax(-1).astype(np.uint8)
    return Segmentation("street", image, label, predictor, Prediction(scores, None), CLASSES, palette)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "I;16"
        return np.asarray(picture) / 65535


def test_probabilities(found: Segmentation) -> None:
    np.testing.assert_allclose(found.probabilities, softmax(found.scores.astype(np.float64), -1), atol=1e-6)
    assert found.probabilities.dtype == np.float32
    sure = replace(found, prediction=Prediction(found.probabilities, None, are_probabilities=True))
    assert sure.probabilities is sure.scores


def test_confidence_and_entropy(found: Segmentation) -> None:
    p = softmax(found.scores.astype(np.float64), -1)
    np.testing.assert_allclose(found.confidence, p.max(-1), atol=1e-6)
    np.testing.assert_allclose(found.entropy, scipy_entropy(p, axis=-1, base=5), atol=1e-5)
    for k, name in enumerate(CLASSES):
        where = found.label == k
        if where.any():
            assert found.confidence_by_class()[name] == pytest.approx(p.max(-1)[where].mean(), abs=1e-6)
        else:
            assert name not in found.confidence_by_class()


@pytest.mark.parametrize(("scores", "confidence", "entropy"), [([1000, -1000, 0], 1, 0), ([7, 7, 7], 1 / 3, 1)])
def test_extremes(found: Segmentation, scores: list[float], confidence: float, entropy: float) -> None:
    extreme = replace(found, prediction=Prediction(np.full((1, 1, 3), scores, np.float32), None))
    assert extreme.confidence.item() == pytest.approx(confidence)
    assert extreme.entropy.item() == pytest.approx(entropy)


def test_sixteen_bits(found: Segmentation, tmp_path: Path) -> None:
    for name, output, values in (
        ("confidence", output_files.confidence(), found.confidence),
        ("entropy", output_files.entropy(), found.entropy),
    ):
        path = tmp_path / output.naming.file_name("street", "street.jpg")
        assert path.name == f"street.{name}.png"
        output.write(path, found)
        np.testing.assert_allclose(read(path), values, atol=0.5001 / 65535)
        with Image.open(path) as picture:
            assert picture.info["Description"].endswith("; value / 65535")


def test_a_picture_for_each_class(found: Segmentation, tmp_path: Path) -> None:
    output = output_files.probabilities("png")
    folder = tmp_path / output.naming.file_name("street", "street.jpg")
    output.write(folder, found)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["000-sky.png", "001-road-track.png", "002-road-track.png", "003-b.png", "004-é.png"]
    for k, name in enumerate(names):
        np.testing.assert_allclose(read(folder / name), found.probabilities[..., k], atol=0.5001 / 65535)


def test_one_array(found: Segmentation, tmp_path: Path) -> None:
    path = tmp_path / output_files.probabilities("npy").naming.file_name("street", "street.jpg")
    output_files.probabilities("npy").write(path, found)
    array = np.load(path)
    assert (path.name, array.dtype, array.shape) == ("street.probabilities.npy", np.float16, (6, 9, 5))
    np.testing.assert_allclose(array, found.probabilities, atol=5e-4)


@pytest.mark.parametrize("settings", [{}, {"flip": True}])
@pytest.mark.parametrize(
    ("output", "confidence", "copied"),
    [
        (output_files.label_map(), False, []),
        (output_files.overlay(0.5), True, []),
        (output_files.confidence(), False, []),
        (output_files.scores(), False, [(20, 30, 5)]),
        (output_files.entropy(), True, [(20, 30, 5)]),
        (output_files.probabilities("npy"), True, [(20, 30, 5)]),
    ],
)
def test_scores_leave_the_device_only_for_outputs_that_hold_them(
    model_of: Callable[..., Model], tmp_path: Path, rng: np.random.Generator, settings: dict[str, Any],
    output: Output, confidence: bool, copied: list[tuple[int, ...]],
) -> None:
    model = model_of(head="dual", scales=[1.0, 0.5])
    shapes: list[tuple[int, ...]] = []

    def to_numpy(array: Any) -> np.ndarray:
        shapes.append(array.shape)
        return ops.to_numpy(array)

    predictor = Predictor.of(model, SimpleNamespace(**vars(ops) | {"to_numpy": to_numpy}), **settings)
    path = tmp_path / "street.png"
    Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(path)
    written = tmp_path / "out" / output.naming.file_name("street", "street.png")
    job = Job(InputFile(str(path)), "street", {"asked": written}, done=False)
    (event,) = segment(predictor, [job], {"asked": output}, model, confidence=confidence)
    assert isinstance(event, ImageDone)
    assert written.exists()
    assert (event.confidence is not None) == confidence
    assert [shape for shape in shapes if shape[-1] == len(model.classes)] == copied
