"""A network's predictions counted against the labels of a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segattn_cli.data import Dataset, Sample, SceneOptions, open_dataset
from segattn_cli.errors import CheckpointError, DataError
from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE, ConfusionMatrix
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model


@dataclass(frozen=True)
class Evaluated:
    """One more picture has been counted."""

    done: int
    total: int
    sample: Sample
    prediction: np.ndarray = field(repr=False)  # (H, W) uint8, at the size of the sample's label
    miou: float  # over the pictures so far


@dataclass(frozen=True)
class Evaluation:
    """The figures of a whole data set; fractions in [0, 1], time in seconds."""

    classes: tuple[str, ...]
    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    per_class_iou: dict[str, float | None]
    per_class_accuracy: dict[str, float | None]
    confusion: np.ndarray = field(repr=False)  # (K, K) int64: rows are the truth, columns the prediction
    scale_weights: tuple[float, ...] | None  # the mean weight of each of the network's scales
    images: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "per_class_iou": self.per_class_iou,
            "per_class_accuracy": self.per_class_accuracy,
            "absent_classes": ABSENT_CLASS_RULE,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "scale_weights": self.scale_weights and list(self.scale_weights),
            "images": self.images,
            "seconds": self.seconds,
        }


def open_data_of(
    model: Model, data: str | None = None, format: str | None = None, split: str | None = None
) -> Dataset:
    """A split of the data of ``model``, its validation split by default, at its full size; from ``data`` if given.

    Raises :class:`DataError` where it cannot be opened, :class:`CheckpointError` where it has other classes.
    """
    own = model.config.data
    split = split or own.val_split
    count = own.scenes.train if split == own.train_split else own.scenes.val
    dataset = open_dataset(
        data or own.source, format=format or ("auto" if data else own.format), split=split,
        scenes=SceneOptions(count, own.scenes.size),
    )
    if dataset.classes != model.classes:
        raise CheckpointError(
            f"{model.path} was trained on other classes ({', '.join(model.classes)}) than {dataset.name} has "
            f"({', '.join(dataset.classes)}): give data with its classes by --data, or another checkpoint."
        )
    return dataset


def evaluate(
    predictor: Predictor, dataset: Dataset, *, limit: int | None = None
) -> Iterator[Evaluated | Evaluation]:
    """Predict the pictures of ``dataset`` (the first ``limit``) and count: an event for each, then the result.

    Labels are taken as they are: open the data set at its full size and give the predictor a ``size`` when the
    network wants smaller pictures. Predictions are then resized up to the labels, never labels to predictions.

    Raises :class:`DataError` where not one pixel is labelled, and whatever reading a sample raises.
    """
    start = time.perf_counter()
    matrix = ConfusionMatrix(len(dataset.classes), ignore_label=dataset.ignore_label)
    weights: list[np.ndarray] = []
    total = len(dataset) if limit is None else min(limit, len(dataset))
    for index in range(total):
        sample = dataset.load(index)
        found = predictor.predict(sample.image)
        prediction = predictor.label_of(found)
        matrix.update(sample.label, prediction)
        if found.scale_weights is not None:
            weights.append(found.scale_weights)
        yield Evaluated(index + 1, total, sample, prediction, matrix.miou)
    if not matrix.pixels:
        raise DataError(f"Nothing to evaluate: no pixel of {dataset.name} ({dataset.split}) is labelled.")
    yield Evaluation(
        classes=dataset.classes,
        miou=matrix.miou,
        pixel_accuracy=matrix.pixel_accuracy,
        mean_accuracy=matrix.mean_accuracy,
        per_class_iou=dict(zip(dataset.classes, matrix.per_class_iou, strict=True)),
        per_class_accuracy=dict(zip(dataset.classes, matrix.per_class_accuracy, strict=True)),
        confusion=matrix.counts,
        scale_weights=tuple(np.mean(weights, axis=0).tolist()) if weights else None,
        images=total,
        seconds=time.perf_counter() - start,
    )
