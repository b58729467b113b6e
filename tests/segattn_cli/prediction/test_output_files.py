"""Probabilities, confidence and entropy are what SciPy says, and survive their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from segattn_cli.prediction import output_files
from segattn_cli.prediction.output_files import Segmentation

CLASSES = ("sky", "road / track", "road – track", "<b>", "é")


@pytest.fixture
def found(rng: np.random.Generator) -> Segmentation:
    scores = (8 * rng.standard_normal((6, 9, 5))).astype(np.float32)
    image = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
    palette = rng.integers(0, 256, (5, 3)).astype(np.uint8)
    return Segmentation("street", image, scores.argmax(-1).astype(np.uint8), scores, False, CLASSES, palette)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "I;16"
        return np.asarray(picture) / 65535


def test_probabilities(found: Segmentation) -> None:
    np.testing.assert_allclose(found.probabilities, softmax(found.scores.astype(np.float64), -1), atol=1e-6)
    assert found.probabilities.dtype == np.float32
    sure = replace(found, scores=found.probabilities, are_probabilities=True)
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
    extreme = replace(found, scores=np.full((1, 1, 3), scores, np.float32))
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
