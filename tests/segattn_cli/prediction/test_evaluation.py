from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import reference.ops as ops
from reference.networks import NetworkConfig, build_network
from segattn_cli.data.dataset import Sample
from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.data.palettes import default_palette
from segattn_cli.errors import DataError
from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult, evaluate
from segattn_cli.prediction.predictor import Maps, Predictor


class Guess:
    """Predicts the class that the first channel of the picture says."""

    batch = images_at_once = 1
    is_on_cpu = True

    def run(self, images: list[np.ndarray]) -> list[None]:
        return [None] * len(images)

    def maps(self, image: np.ndarray, output: None, *, confidence: bool) -> Maps:
        brightness = float(image.mean())
        certain = np.ones(image.shape[:2], np.float32)
        return Maps(image[..., 0], certain, None, np.array([brightness, 1 - brightness]))


class Few:
    """A data set of the label maps given, predicted as ``guesses``."""

    name, format, split, ignore_label = "few", "folder", "val", 255
    classes = ("sky", "road", "tree")
    palette = default_palette(3)

    def __init__(self, labels: list[Any], guesses: list[Any]) -> None:
        self.labels, self.guesses = labels, guesses

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int) -> Sample:
        guess = np.array(self.guesses[index], np.uint8)
        return Sample(np.stack([guess] * 3, -1), np.array(self.labels[index], np.uint8), f"picture {index}")


def run(predictor: Any, dataset: Any, **options: Any) -> tuple[list[Evaluated], EvaluationResult]:
    *steps, result = evaluate(predictor, dataset, **options)
    assert isinstance(result, EvaluationResult)
    return [step for step in steps if isinstance(step, Evaluated)], result


def test_the_result_counts_all_pictures_together() -> None:
    dataset = Few([[[0, 0, 1]], [[1, 1], [255, 0]]], [[[0, 1, 1]], [[1, 0], [1, 0]]])
    steps, result = run(Guess(), dataset)
    assert result.confusion.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert result.per_class_iou == {"sky": 0.5, "road": 0.5, "tree": None}
    assert result.miou == 0.5
    assert result.pixel_accuracy == pytest.approx(4 / 6)
    assert result.images == 2
    assert [(step.done, step.total, step.sample.name) for step in steps] == [
        (1, 2, "picture 0"),
        (2, 2, "picture 1"),
    ]
    assert steps[0].miou == pytest.approx(0.5)
    assert steps[-1].miou == result.miou
    assert steps[1].prediction.tolist() == [[1, 0], [1, 0]]


def test_scale_weights_are_averaged_over_the_pictures() -> None:
    _, result = run(Guess(), Few([[[0]], [[0]]], [[[0]], [[1]]]))  # brightness 0 and 1
    assert result.scale_weights == (0.5, 0.5)


def test_a_limit_takes_the_first_pictures() -> None:
    dataset = Few([[[0]], [[1]], [[1]]], [[[0]], [[0]], [[0]]])
    steps, result = run(Guess(), dataset, limit=2)
    assert (len(steps), result.images, result.pixel_accuracy) == (2, 2, 0.5)
    assert run(Guess(), dataset, limit=9)[1].images == 3


def test_without_a_single_label_there_is_nothing_to_evaluate() -> None:
    with pytest.raises(DataError, match=r"Nothing to evaluate: no pixel of few \(val\) is labelled"):
        run(Guess(), Few([[[255, 255]]], [[[0, 1]]]))


def test_figures_as_json_hold_nothing_but_json() -> None:
    import json

    _, result = run(Guess(), Few([[[0, 1]]], [[[0, 0]]]))
    read = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert read["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert read["per_class_iou"] == {"sky": 0.5, "road": 0.0, "tree": None}
    assert "left out of the means" in read["absent_classes"]


def test_predictions_at_a_reduced_size_are_compared_at_the_labels_own() -> None:
    scenes = Scenes("val", SceneOptions(count=2, size=(48, 64)))
    network = build_network(NetworkConfig(classes=len(scenes.classes), backbone="tiny", head="fcn"))
    params = network.initialise(seed=0)
    seen: list[tuple[int, ...]] = []
    watched = SimpleNamespace(**vars(network), fold=network.fold)
    watched.predict_with_weights = lambda images, ctx: (
        seen.append(images.shape),
        network.predict_with_weights(images, ctx),
    )[1]
    steps, result = run(Predictor(watched, params, ops, size=(24, 32)), scenes)
    assert seen == [(1, 24, 32, 3)] * 2
    assert all(step.prediction.shape == (48, 64) for step in steps)
    assert result.confusion.sum() == 2 * 48 * 64
