"""Confusion matrix, calibration and examples of one pass over a data set, against counting by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference.ops as ops
from reference.networks import build_network
from segattn_cli.data.dataset import Sample
from segattn_cli.data.formats.scenes import CLASSES, PALETTE, SceneOptions, Scenes
from segattn_cli.errors import CheckpointError, DataError, NonFiniteError
from segattn_cli.prediction.calibration import BINS, Calibration
from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult, evaluate, open_data_of
from segattn_cli.prediction.examples import LONGEST
from segattn_cli.prediction.metrics import ConfusionMatrix
from segattn_cli.prediction.predictor import Maps, Predictor
from segattn_cli.runs import Model

from ..runs.folders import config

SCENES = Scenes("val", SceneOptions(count=5, size=(24, 32)))


@pytest.fixture(scope="module")
def model() -> Model:
    """A network that has learnt nothing, and knows something of everything."""
    chosen = config()
    network = build_network(chosen.network_config(len(CLASSES)))
    rng = np.random.default_rng(1)
    params = {
        name: value + (0.1 * rng.standard_normal(value.shape).astype(np.float32) if value.ndim == 4 else 0)
        for name, value in network.initialise(seed=0).items()
    }
    return Model(network, params, chosen, CLASSES, PALETTE, {}, Path("best.safetensors"))


class Voided:
    """A data set whose first picture has no label at all, and whose others lack their upper half."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scenes, name)

    def __len__(self) -> int:
        return len(self.scenes)

    def load(self, index: int) -> Sample:
        sample = self.scenes.load(index)
        label = sample.label.copy()
        label[: 24 if index == 0 else 12] = 255
        return sample._replace(label=label)


def evaluated(*arguments: Any, **options: Any) -> EvaluationResult:
    *events, last = evaluate(*arguments, **options)
    assert isinstance(last, EvaluationResult)
    assert [event.done for event in events if isinstance(event, Evaluated)] == list(range(1, last.images + 1))
    return last


@pytest.mark.parametrize("how", [{}, {"flip": True, "scales": (1.0, 0.5)}, {"window": (16, 16)}])
def test_against_counting_pixel_by_pixel(model: Model, how: dict[str, Any]) -> None:
    predictor = Predictor(model.network, model.params, ops, **how)
    dataset = Voided(SCENES)
    seen = evaluated(predictor, dataset)
    matrix = ConfusionMatrix(len(CLASSES))
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for index in range(5):
        sample = dataset.load(index)
        scores = predictor.scores(sample.image).astype(np.float64)
        if not how:
            scores = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        matrix.update(sample.label, scores.argmax(-1))
        for truth, row in zip(sample.label.ravel(), scores.reshape(-1, len(CLASSES)), strict=True):
            if truth != 255:
                sure = float(row.max())
                bins[math.ceil(sure * BINS) - 1].append((sure, bool(row.argmax() == truth)))
    assert seen.confusion.tolist() == matrix.counts.tolist()
    assert (seen.miou, seen.pixel_accuracy) == (matrix.miou, matrix.pixel_accuracy)
    assert list(seen.per_class_iou.values()) == matrix.per_class_iou
    total = sum(map(len, bins))
    ece = sum(abs(sum(sure for sure, _ in each) - sum(right for _, right in each)) for each in bins) / total
    assert total == 4 * 12 * 32
    assert seen.calibration.counts.tolist() == [len(each) for each in bins]
    assert seen.calibration.ece == pytest.approx(ece, abs=1e-6)
    for b, each in enumerate(bins):
        if each:
            assert seen.calibration.accuracy[b] == pytest.approx(sum(right for _, right in each) / len(each))
            assert seen.calibration.confidence[b] == pytest.approx(sum(sure for sure, _ in each) / len(each), 1e-5)
        else:
            assert np.isnan(seen.calibration.accuracy[b])


def test_the_worst_and_the_best(model: Model) -> None:
    predictor = Predictor.of(model, ops)
    mious = {}
    for index in range(5):
        sample = SCENES.load(index)
        matrix = ConfusionMatrix(len(CLASSES))
        matrix.update(sample.label, predictor.label(sample.image))
        mious[sample.name] = matrix.miou
    ranked = sorted(mious, key=lambda name: mious[name])
    for pictures, worst, best in ((2, 2, 2), (1, 1, 1), (0, 0, 0), (3, 2, 3), (9, 2, 3)):
        seen = evaluated(predictor, SCENES, examples=pictures)
        assert [each.name for each in seen.worst] == ranked[:worst]
        assert [each.name for each in seen.best] == ranked[::-1][:best]
    example = seen.worst[0]
    index = [SCENES.name_of(n) for n in range(5)].index(example.name)
    np.testing.assert_array_equal(example.truth, SCENES.load(index).label)
    np.testing.assert_array_equal(example.image, SCENES.load(index).image)
    np.testing.assert_array_equal(example.prediction, predictor.label(SCENES.load(index).image))
    assert example.miou == mious[example.name]


def test_pictures_without_a_label_are_not_ranked_and_a_limit_is_one(model: Model) -> None:
    seen = evaluated(Predictor.of(model, ops), Voided(SCENES), limit=3, examples=4)
    assert (seen.images, seen.available) == (3, 5)
    assert len(seen.worst) + len(seen.best) == 2
    assert SCENES.name_of(0) not in {each.name for each in (*seen.worst, *seen.best)}
    with pytest.raises(DataError, match="no pixel of scenes"):
        list(evaluate(Predictor.of(model, ops), Voided(SCENES), limit=1))


@pytest.mark.parametrize("how", [{}, {"flip": True}])
def test_scores_that_are_not_finite(model: Model, how: dict[str, Any]) -> None:
    params = {**model.params, "head.classifier.bias": model.params["head.classifier.bias"] + np.float32(np.inf)}
    with pytest.raises(NonFiniteError, match="scores hold a NaN or an infinity, so they predict nothing"):
        evaluated(Predictor(model.network, params, ops, **how), SCENES)


def test_large_pictures_are_kept_smaller(model: Model) -> None:
    class Large(Voided):
        def load(self, index: int) -> Sample:
            return Sample(np.zeros((50, 2 * LONGEST, 3), np.uint8), np.zeros((50, 2 * LONGEST), np.uint8), "large")

    class Quick(Predictor):
        def maps(
            self, image: np.ndarray, output: Any = None, *, confidence: bool = False, entropy: bool = False
        ) -> Maps:
            return Maps(np.zeros(image.shape[:2], np.uint8), np.ones(image.shape[:2], np.float32), None, None)

    (example,) = evaluated(Quick.of(model, ops), Large(SCENES), limit=1, examples=4).best
    assert example.image.shape == (25, LONGEST, 3)
    assert example.truth.shape == example.prediction.shape == (25, LONGEST)
    assert example.accuracy == 1


def test_calibration_of_a_calibrated_network_and_its_edges() -> None:
    calibration = Calibration()
    confidence = np.repeat([0.25, 0.5, 1.0], 4)
    calibration.update(confidence.astype(np.float32), np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1], bool))
    assert calibration.ece == 0
    assert calibration.counts.nonzero()[0].tolist() == [3, 7, 14]
    edges = Calibration()
    edges.update(np.array([1 / BINS, 1 / BINS + 1e-9, 1.0 + 1e-7]), np.ones(3, bool))  # 1 and a rounding error
    assert edges.counts.nonzero()[0].tolist() == [0, 1, BINS - 1]


def test_the_data_are_the_run_s_own_at_full_size(model: Model, tmp_path: Path) -> None:
    dataset = open_data_of(model)
    assert (dataset.name, dataset.split, len(dataset)) == ("scenes", "val", 3)
    with pytest.raises(DataError, match="does not exist"):
        open_data_of(model, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has an empty name"):
        open_data_of(model, "")
    other = Model(model.network, model.params, model.config, ("a",), PALETTE[:1], {}, model.path)
    with pytest.raises(CheckpointError, match=r"other classes \(a\) than scenes has"):
        open_data_of(other)
