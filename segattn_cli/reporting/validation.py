"""One pass over the validation set: what is confused with what, how sure the network is, and where it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from backends.contract import Ops
from segattn_cli.data import Dataset
from segattn_cli.data.dataset import Sample
from segattn_cli.data.images import resize_image, resize_label
from segattn_cli.errors import DataError, NonFiniteError
from segattn_cli.prediction.metrics import ConfusionMatrix
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model

#: Bins of confidence, as in the figures of Guo et al.
BINS = 15
#: Pictures are kept with their longer side at most so many pixels.
LONGEST = 640


@dataclass(frozen=True)
class Looked:
    """One more picture has been looked at."""

    done: int
    total: int
    miou: float  # over the pictures so far


@dataclass(frozen=True)
class Example:
    """A picture with its truth and its prediction, at no more than :data:`LONGEST` pixels."""

    name: str
    image: np.ndarray = field(repr=False)  # (H, W, 3) uint8
    truth: np.ndarray = field(repr=False)  # (H, W) uint8, 255 = void
    prediction: np.ndarray = field(repr=False)  # (H, W) uint8
    miou: float  # of this picture by itself, at its own size
    accuracy: float


class Calibration:
    """Whether a network is right as often as it is sure (Guo et al., On Calibration of Modern Neural Networks,
    ICML 2017, equations 2 to 5), pixel by pixel.

    The confidence of a pixel is the greatest of its probabilities. Pixels are put into :data:`BINS` bins
    ``((b − 1)/BINS, b/BINS]`` of confidence, each with a number ``n_b``, a mean confidence ``conf_b`` and a share
    ``acc_b`` of pixels that are right::

        ECE = Σ_b n_b / n · |acc_b − conf_b|

    >>> calibration = Calibration()
    >>> calibration.update(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True]))
    >>> round(calibration.ece, 3)  # 3/4 · |2/3 − 0.9| + 1/4 · |1 − 0.5|
    0.3
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self._confidences = np.zeros(BINS)
        self._right = np.zeros(BINS)

    def update(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Count pixels: their confidence in (0, 1], and whether the prediction is the truth."""
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)
        self._confidences += np.bincount(bins, weights=confidence, minlength=BINS)
        self._right += np.bincount(bins, weights=right, minlength=BINS)

    @property
    def confidence(self) -> np.ndarray:
        """The mean confidence in each bin, NaN in one without pixels."""
        return _divided(self._confidences, self.counts)

    @property
    def accuracy(self) -> np.ndarray:
        """The share of pixels in each bin that are right, NaN in one without pixels."""
        return _divided(self._right, self.counts)

    @property
    def ece(self) -> float:
        """The expected calibration error, a fraction in [0, 1]."""
        return float(np.abs(self._right - self._confidences).sum() / self.counts.sum())


@dataclass(frozen=True)
class Validation:
    """What a network makes of its validation set; fractions in [0, 1], time in seconds."""

    data: str
    split: str
    images: int  # looked at
    available: int  # in the split
    miou: float
    pixel_accuracy: float
    per_class_iou: list[float | None]
    confusion: np.ndarray = field(repr=False)  # (K, K) int64: rows are the truth, columns the prediction
    calibration: Calibration = field(repr=False)
    worst: list[Example] = field(repr=False)  # by mIoU, the worst first
    best: list[Example] = field(repr=False)  # the best first; none is in both
    seconds: float


def predictor_of(model: Model, ops: Ops) -> Predictor:
    """What predicts as the run's own validation did."""
    own = model.config.evaluation
    return Predictor(
        model.network, model.params, ops, size=model.config.data.size, scales=own.scales, flip=own.flip,
        window=own.window, stride=own.stride,
    )


def look(
    predictor: Predictor, dataset: Dataset, *, limit: int | None = None, pictures: int = 4
) -> Iterator[Looked | Validation]:
    """Predict the pictures of ``dataset`` (the first ``limit``): an event for each, then what was found.

    No more than ``2 · pictures`` of them are held at any time. They are ranked by the mIoU of each by itself, over
    the classes in its truth or its prediction. Pixels of void are not counted anywhere.

    Raises :class:`DataError` where not one pixel is labelled, :class:`NonFiniteError` for scores that hold a NaN or
    an infinity, and whatever reading a sample raises.
    """
    start = time.perf_counter()
    whole = ConfusionMatrix(len(dataset.classes), ignore_label=dataset.ignore_label)
    calibration = Calibration()
    kept: list[Example] = []  # the worst first; the middle falls out
    total = len(dataset) if limit is None else min(limit, len(dataset))
    for index in range(total):
        sample = dataset.load(index)
        found = predictor.predict(sample.image)
        prediction = predictor.label_of(found)
        own = ConfusionMatrix(whole.classes, ignore_label=whole.ignore_label)
        own.update(sample.label, prediction)
        whole.counts += own.counts
        if own.pixels:
            counted = sample.label != dataset.ignore_label
            scores = predictor.ops.to_numpy(found.scores)[counted]  # (n, K)
            confidence = _confidence(scores, found.are_probabilities)
            if not np.isfinite(confidence).all():
                raise NonFiniteError(
                    f"{sample.name}: the network's scores hold a NaN or an infinity: take an earlier checkpoint."
                )
            calibration.update(confidence, (sample.label == prediction)[counted])
            kept.append(_example(sample, prediction, own))
            kept.sort(key=lambda example: example.miou)
            del kept[pictures : len(kept) - pictures]
        yield Looked(index + 1, total, whole.miou)
    if not whole.pixels:
        raise DataError(f"Nothing to report: no pixel of {dataset.name} ({dataset.split}) is labelled.")
    middle = len(kept) // 2
    yield Validation(
        data=dataset.name,
        split=dataset.split,
        images=total,
        available=len(dataset),
        miou=whole.miou,
        pixel_accuracy=whole.pixel_accuracy,
        per_class_iou=whole.per_class_iou,
        confusion=whole.counts,
        calibration=calibration,
        worst=kept[:middle],
        best=kept[middle:][::-1],
        seconds=time.perf_counter() - start,
    )


def _confidence(scores: np.ndarray, are_probabilities: bool) -> np.ndarray:
    """The greatest probability of each of n pixels, from their scores (n, K); NaN where these are not finite."""
    greatest = scores.max(-1)
    if are_probabilities:
        return greatest
    with np.errstate(invalid="ignore"):  # ∞ − ∞, which the caller sees
        return 1 / np.exp(scores - greatest[:, None]).sum(-1)  # exp(max) / Σ exp


def _example(sample: Sample, prediction: np.ndarray, own: ConfusionMatrix) -> Example:
    height, width = sample.label.shape
    factor = min(1.0, LONGEST / max(height, width))
    size = max(1, round(factor * height)), max(1, round(factor * width))
    return Example(
        sample.name,
        resize_image(sample.image, size),
        resize_label(sample.label, size),
        resize_label(prediction, size),
        own.miou,
        own.pixel_accuracy,
    )


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
