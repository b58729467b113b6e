"""The pass over a data set that compares a network's predictions with the labels."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from segattn_cli.data import Dataset, Sample, SceneOptions, open_dataset
from segattn_cli.data.ahead import ahead
from segattn_cli.data.folds import has_own_val, open_folds
from segattn_cli.data.images import Intensity
from segattn_cli.errors import CheckpointError, DataError
from segattn_cli.prediction.batches import READ_EARLY, batches_of, threads_beside
from segattn_cli.prediction.boundary import BoundaryIoU
from segattn_cli.prediction.calibration import Calibration
from segattn_cli.prediction.examples import Example, Examples
from segattn_cli.prediction.image_matrices import (
    CONFIDENCE,
    RESAMPLES,
    Cells,
    ImageMatrices,
    Interval,
    interval,
    nonzero_cells,
)
from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE, ConfusionMatrix
from segattn_cli.prediction.passes import NetworkOutput, Size
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.shards import WHOLE, Shard
from segattn_cli.ranks.communicator import ALONE, Communicator, in_turns, together
from segattn_cli.runs import Model


@dataclass(frozen=True)
class Evaluated:
    """One more image has been predicted and counted."""

    done: int
    total: int
    miou: float  # over the images so far
    sample: Sample | None = field(repr=False)  # None where another rank has it
    prediction: np.ndarray | None = field(repr=False)  # (H, W) uint8, at the size of the sample's label


@dataclass(frozen=True)
class EvaluationResult:
    """The metrics of a network on a data set; fractions in [0, 1], time in seconds."""

    data: str  # the name of the data set
    split: str
    classes: tuple[str, ...]
    palette: np.ndarray = field(repr=False)  # (K, 3) uint8
    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    mean_dice: float
    per_class_iou: dict[str, float | None]
    per_class_dice: dict[str, float | None]
    per_class_precision: dict[str, float | None]
    per_class_accuracy: dict[str, float | None]  # the recall
    boundary: BoundaryIoU | None = field(repr=False)
    confusion: np.ndarray = field(repr=False)  # (K, K) int64: rows are the truth, columns the prediction
    image_matrices: ImageMatrices = field(repr=False)
    calibration: Calibration = field(repr=False)
    worst: list[Example] = field(repr=False)  # by the mIoU of each image alone, the worst first
    best: list[Example] = field(repr=False)  # the best first; no image is in both
    scale_weights: tuple[float, ...] | None  # the mean weight of each of the network's scales
    images: int  # evaluated
    available: int  # in the split
    seconds: float

    @cached_property
    def miou_interval(self) -> Interval | None:
        """The bootstrap interval of the mIoU over images; None for a single image, and without labels."""
        return interval(self.image_matrices.resampled.miou) if self.images > 1 and self.is_labelled else None

    @property
    def is_labelled(self) -> bool:
        """Whether a pixel is labelled. In a shard, there may be none: then no metric is a number."""
        return bool(self.confusion.any())

    def as_dict(self) -> dict[str, Any]:
        """The metrics in types of JSON, as ``segattn eval --json`` writes them."""
        drawn = self.miou_interval
        return {
            "miou": self.miou,
            "miou_interval": drawn and {
                "low": drawn.low, "high": drawn.high, "confidence": CONFIDENCE, "over": "images",
                "resamples": RESAMPLES,
            },
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "mean_dice": self.mean_dice,
            "per_class_iou": self.per_class_iou,
            "per_class_dice": self.per_class_dice,
            "per_class_precision": self.per_class_precision,
            "per_class_recall": self.per_class_accuracy,
            "per_class_accuracy": self.per_class_accuracy,
            "boundary_iou": self.boundary and self.boundary.as_dict(self.classes),
            "absent_classes": ABSENT_CLASS_RULE,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "scale_weights": self.scale_weights and list(self.scale_weights),
            "images": self.images,
            "seconds": self.seconds,
        }


def open_data_of(
    model: Model, data: str | None = None, format: str | None = None, split: str | None = None,
    intensity: Intensity | None = None,
) -> Dataset:
    """A split of the data of ``model``, its validation split by default, at its full size; from ``data`` if given.

    A model of ``data.folds`` is validated on its fold, also of ``data`` that has no split ``val`` of its own: the
    folds of a copy are the same.

    Raises :class:`DataError` where it cannot be opened, :class:`CheckpointError` where it has other classes.
    """
    if data == "":
        raise DataError("The data set has an empty name: give a folder, or leave out --data.")
    config = model.config.data
    split = split or config.val_split
    count = config.scenes.train if split == config.train_split else config.scenes.val
    source, layout = data or config.source, format or ("auto" if data else config.format)
    intensity = intensity or config.intensity
    dataset: Dataset
    divided = (config.train_split, config.val_split)
    if config.folds is not None and split in divided and not (data and has_own_val(data, layout)):
        training, validation = open_folds(
            source, folds=config.folds, fold=config.fold, split=config.train_split, format=layout,
            intensity=intensity,
        )
        dataset = validation if split == config.val_split else training
    else:
        dataset = open_dataset(
            source, format=layout, split=split, scenes=SceneOptions(count, config.scenes.size),
            val_fraction=None if data else config.val_fraction, intensity=intensity,
        )
    if dataset.classes != model.classes:
        raise CheckpointError(
            f"{model.path} was trained on other classes ({', '.join(model.classes)}) than {dataset.name} has "
            f"({', '.join(dataset.classes)}): give data with its classes by --data, or another checkpoint."
        )
    return dataset


class _Counted(NamedTuple):
    """What the prediction of one image adds to the result."""

    name: str
    cells: Cells
    boundary: BoundaryIoU | None
    calibration: Calibration
    scale_weights: np.ndarray | None  # (S,)


def evaluate(
    predictor: Predictor, dataset: Dataset, *, limit: int | None = None, examples: int = 0,
    boundary_width: float | None = None, shard: Shard = WHOLE, comm: Communicator = ALONE,
) -> Iterator[Evaluated | EvaluationResult]:
    """Predict the images of ``dataset`` (the first ``limit``, or a ``shard``): an event for each, then the result.

    The result has the ``examples`` worst and the ``examples`` best images. Labels are never resized: open the data
    set at its full size, and give the predictor a ``size`` where the network expects smaller images. With a
    ``boundary_width``, the result has the boundary IoU for that fraction of the diagonal.

    Images of one size that follow each other are predicted together, as many as the predictor takes at once, while
    threads load the next ones. The ranks of ``comm`` predict in turns, and all get the events and the result, which
    is that of a single rank.

    Raises :class:`DataError` where not one pixel of the whole is labelled, :class:`NonFiniteError` where scores are
    not finite, and whatever reading a sample raises.
    """
    start = time.perf_counter()
    indices = list(shard.of(range(len(dataset) if limit is None else min(limit, len(dataset)))))
    total = len(indices)
    matrix = ConfusionMatrix(len(dataset.classes), ignore_label=dataset.ignore_label)

    def new_boundary() -> BoundaryIoU | None:
        if boundary_width is None:
            return None
        return BoundaryIoU(matrix.classes, width=boundary_width, ignore_label=matrix.ignore_label)

    boundary, calibration, ranking = new_boundary(), Calibration(), Examples(examples)
    own: dict[int, tuple[Sample, np.ndarray]] = {}  # images of this rank, and their predictions, until their events

    def count(number: int, sample: Sample, output: NetworkOutput | None) -> _Counted:
        with np.errstate(invalid="ignore"):  # scores that are not finite, which the calibration counts
            label, confidence, _, weights = predictor.maps(sample.image, output, confidence=True)
        own[number] = sample, label
        of_image = ConfusionMatrix(matrix.classes, ignore_label=matrix.ignore_label)
        of_image.update(sample.label, label)
        ranking.update(indices[number], sample, label, of_image)
        counted = _Counted(sample.name, nonzero_cells(of_image.counts), new_boundary(), Calibration(), weights)
        if counted.boundary is not None:
            counted.boundary.update(sample.label, label)
        labelled = sample.label != dataset.ignore_label
        assert confidence is not None
        counted.calibration.update(confidence[labelled], (label == sample.label)[labelled])
        return counted

    def load(number: int) -> tuple[int, Sample]:
        return number, dataset.load(indices[number])

    def count_own() -> Generator[_Counted, None, None]:
        """Predict and count the images of this rank; threads load the next ones, unless the first is large."""
        numbers, threads = iter(range(comm.rank, total, comm.size)), threads_beside(predictor)
        first = [load(number) for number in islice(numbers, 1)]
        coming = (load(number) for number in numbers)
        if first and first[0][1].label.size <= READ_EARLY:
            coming = ahead(load, numbers, workers=threads, most=predictor.images_at_once + threads)
        with closing(coming):
            for batch in batches_of(chain(first, coming), _size_of, lambda: predictor.images_at_once):
                outputs = predictor.run([sample.image for _, sample in batch])
                for (number, sample), output in zip(batch, outputs, strict=True):
                    yield count(number, sample, output)

    names: list[str] = []
    cells: list[Cells] = []
    scale_weights: list[np.ndarray] = []
    with closing(count_own()) as counting:
        turns = in_turns(comm, total, lambda numbers: list(islice(counting, len(numbers))), each=predictor.batch)
        for index, counted in enumerate(turns):
            names.append(counted.name)
            cells.append(counted.cells)
            if counted.scale_weights is not None:
                scale_weights.append(counted.scale_weights)
            matrix.counts.reshape(-1)[counted.cells.cell] += counted.cells.pixels
            calibration.add(counted.calibration)
            if boundary is not None and counted.boundary is not None:
                boundary.add(counted.boundary)
            sample, label = own.pop(index, (None, None))
            yield Evaluated(index + 1, total, matrix.miou, sample, label)
    with together(comm):
        if shard == WHOLE:
            require_labels(matrix, dataset.name, dataset.split)
    for rank, other in enumerate(comm.gather(ranking)):
        if rank != comm.rank:
            ranking.add(other)
    yield EvaluationResult(
        data=dataset.name,
        split=dataset.split,
        classes=dataset.classes,
        palette=dataset.palette,
        **metrics_of(matrix, dataset.classes),
        boundary=boundary,
        image_matrices=ImageMatrices.of(matrix.classes, names, cells),
        calibration=calibration,
        worst=ranking.worst,
        best=ranking.best,
        scale_weights=tuple(np.mean(scale_weights, axis=0).tolist()) if scale_weights else None,
        images=total,
        available=len(dataset),
        seconds=time.perf_counter() - start,
    )


def _size_of(numbered: tuple[int, Sample]) -> Size:
    height, width, _ = numbered[1].image.shape
    return height, width


def require_labels(matrix: ConfusionMatrix, data: str, split: str) -> None:
    """Raise :class:`DataError` where not one pixel has been counted."""
    if not matrix.pixels:
        raise DataError(f"Nothing to evaluate: no pixel of {data} ({split}) is labelled.")


def metrics_of(matrix: ConfusionMatrix, classes: Sequence[str]) -> dict[str, Any]:
    """The fields of :class:`EvaluationResult` that the confusion matrix determines."""

    def by_class(values: Sequence[float | None]) -> dict[str, float | None]:
        return dict(zip(classes, values, strict=True))

    return {
        "miou": matrix.miou,
        "pixel_accuracy": matrix.pixel_accuracy,
        "mean_accuracy": matrix.mean_accuracy,
        "mean_dice": matrix.mean_dice,
        "per_class_iou": by_class(matrix.per_class_iou),
        "per_class_dice": by_class(matrix.per_class_dice),
        "per_class_precision": by_class(matrix.per_class_precision),
        "per_class_accuracy": by_class(matrix.per_class_accuracy),
        "confusion": matrix.counts,
    }
