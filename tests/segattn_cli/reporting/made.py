"""Reports of runs and networks that never were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.data.palettes import default_palette
from segattn_cli.prediction.calibration import Calibration
from segattn_cli.prediction.evaluation import EvaluationResult
from segattn_cli.prediction.examples import Example
from segattn_cli.prediction.image_matrices import ImageMatrices, nonzero_cells
from segattn_cli.prediction.metrics import ConfusionMatrix
from segattn_cli.reporting import RunReport, read_history

from ..runs.folders import run_folder, started, step, validated


def evaluation(
    classes: int = len(CLASSES), pictures: int = 2, size: tuple[int, int] = (24, 32)
) -> EvaluationResult:
    """The last class is never there and never predicted, the last but one is always missed."""
    rng = np.random.default_rng(5)
    matrix = ConfusionMatrix(classes)
    truth = rng.integers(0, classes - 1, (60, 80))
    prediction = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, classes - 2, truth.shape))
    prediction[prediction == classes - 2] = 0
    matrix.update(truth, prediction)
    calibration = Calibration()
    calibration.update(rng.uniform(0.3, 1, truth.size), (truth == prediction).ravel())
    halves = []
    for rows in (slice(0, 30), slice(30, 60)):
        half = ConfusionMatrix(classes)
        half.update(truth[rows], prediction[rows])
        halves.append(nonzero_cells(half.counts))
    names = tuple(f"class {number}" for number in range(classes))
    return EvaluationResult(
        data="scenes", split="val", classes=names, palette=default_palette(classes), images=50, available=60,
        miou=matrix.miou, pixel_accuracy=matrix.pixel_accuracy, mean_accuracy=matrix.mean_accuracy,
        mean_dice=matrix.mean_dice,
        per_class_iou=dict(zip(names, matrix.per_class_iou, strict=True)),
        per_class_dice=dict(zip(names, matrix.per_class_dice, strict=True)),
        per_class_precision=dict(zip(names, matrix.per_class_precision, strict=True)),
        per_class_accuracy=dict(zip(names, matrix.per_class_accuracy, strict=True)), scale_weights=None,
        confusion=matrix.counts, calibration=calibration, boundary=None,
        image_matrices=ImageMatrices.of(classes, ["upper", "lower"], halves),
        worst=[example(f"worst {n}", classes, size) for n in range(pictures)],
        best=[example(f"best {n}", classes, size) for n in range(pictures)], seconds=1.0,
    )


def example(name: str, classes: int, size: tuple[int, int]) -> Example:
    """The left half is right, the right half is not, the uppermost row is void."""
    image = np.random.default_rng(6).integers(0, 256, (*size, 3)).astype(np.uint8)
    truth = np.zeros(size, np.uint8)
    prediction = truth.copy()
    prediction[:, size[1] // 2 :] = classes - 1
    truth[0] = 255
    return Example(name, image, truth, prediction, miou=0.25, accuracy=0.5)


def report(
    path: Path, *overrides: str, classes: Sequence[str] = CLASSES, best: float = 0.5, looked: bool = True,
    **options: Any,
) -> RunReport:
    """A whole run with these classes, and what was made of its validation set."""
    events = [
        started(classes=list(classes)), step(1), step(2), validated(2, 0.25, classes), step(3), step(4),
        validated(4, best, classes),
    ]
    folder = run_folder(path, options.pop("events", events), *overrides, result={"steps": 4, "seconds": 3725.0})
    found = evaluation(len(classes)) if looked else None
    return RunReport(read_history(folder), found, palette=default_palette(len(classes)), **options)
