"""How well predictions agree with the truth: a confusion matrix and the metrics that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from segattn_cli.errors import DataError

#: The rule for classes that cannot be judged; ``segattn eval`` prints it.
ABSENT_CLASS_RULE = (
    "A class that occurs neither in the truth nor in the predictions has no IoU and is left out of the means."
)


class ConfusionMatrix:
    """Pixels counted by true and predicted class, over any number of label maps.

    With ``n[t, p]`` the pixels of class ``t`` that were predicted as ``p``::

        IoU of c         n[c, c] / (Σ_p n[c, p] + Σ_t n[t, c] − n[c, c])
        Dice, or F1      2·n[c, c] / (Σ_p n[c, p] + Σ_t n[t, c]) = 2·IoU / (1 + IoU)
        precision of c   n[c, c] / Σ_t n[t, c]
        recall of c      n[c, c] / Σ_p n[c, p], which segmentation calls the accuracy of a class
        pixel accuracy   Σ_c n[c, c] / Σ n

    Pixels whose truth is ``ignore_label`` are not counted. A class that occurs neither in the truth nor in
    the predictions has no IoU (``None``) and is left out of the mean; one that is only predicted, or only
    missed, has IoU 0 and counts. The same holds for Dice. A class that is never predicted has no precision; one
    that is not in the truth has no recall. The mean accuracy is the mean recall. Every metric is a fraction in
    [0, 1]; means are ``nan`` while nothing has been counted.

    >>> matrix = ConfusionMatrix(3)
    >>> matrix.update(np.array([[0, 0], [1, 255]]), np.array([[0, 1], [1, 0]]))
    >>> matrix.counts.tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    >>> matrix.per_class_iou
    [0.5, 0.5, None]
    >>> matrix.per_class_precision, matrix.per_class_accuracy
    ([1.0, 0.5, None], [0.5, 1.0, None])
    >>> matrix.miou, round(matrix.pixel_accuracy, 3), matrix.mean_accuracy
    (0.5, 0.667, 0.75)
    """

    def __init__(self, classes: int, *, ignore_label: int = 255) -> None:
        self.classes = classes
        self.ignore_label = ignore_label
        self.counts = np.zeros((classes, classes), np.int64)  # rows: truth, columns: prediction

    def update(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Count the pixels of ``label`` against ``prediction``: integer arrays of one shape.

        Raises :class:`DataError` where they differ in shape or hold a value that is no class.
        """
        if label.shape != prediction.shape:
            raise DataError(f"The label is {_size(label)} pixels, its prediction {_size(prediction)}.")
        labelled = label != self.ignore_label
        truth = label[labelled].astype(np.int64)
        predicted = prediction[labelled].astype(np.int64)
        for values, what in ((truth, "label"), (predicted, "prediction")):
            if values.size and not (values.min() >= 0 and values.max() < self.classes):
                wrong = values[(values < 0) | (values >= self.classes)][0]
                raise DataError(
                    f"The {what} holds the value {wrong}, but there are {self.classes} classes: "
                    f"0 to {self.classes - 1}, and {self.ignore_label} for ignored pixels."
                )
        pairs = np.bincount(truth * self.classes + predicted, minlength=self.classes**2)
        self.counts += pairs.reshape(self.classes, self.classes)

    @property
    def pixels(self) -> int:
        """The number of labelled pixels."""
        return int(self.counts.sum())

    @property
    def per_class_iou(self) -> list[float | None]:
        """The intersection over union of each class, ``None`` where the class never occurs."""
        union = self.counts.sum(1) + self.counts.sum(0) - self.counts.diagonal()
        return _fractions(self.counts.diagonal(), union)

    @property
    def per_class_dice(self) -> list[float | None]:
        """Dice, which is F1, of each class, ``None`` where the class never occurs."""
        return _fractions(2 * self.counts.diagonal(), self.counts.sum(1) + self.counts.sum(0))

    @property
    def per_class_precision(self) -> list[float | None]:
        """The fraction of the pixels of each predicted class that are right, ``None`` where it is not predicted."""
        return _fractions(self.counts.diagonal(), self.counts.sum(0))

    @property
    def per_class_accuracy(self) -> list[float | None]:
        """The recall: the fraction of each true class that is predicted right, ``None`` where it has no pixel."""
        return _fractions(self.counts.diagonal(), self.counts.sum(1))

    @property
    def miou(self) -> float:
        """The mean IoU over the classes that have one."""
        return mean_of(self.per_class_iou)

    @property
    def mean_dice(self) -> float:
        """The mean Dice over the classes that have one."""
        return mean_of(self.per_class_dice)

    @property
    def mean_accuracy(self) -> float:
        """The mean accuracy over the classes of the truth."""
        return mean_of(self.per_class_accuracy)

    @property
    def pixel_accuracy(self) -> float:
        """The fraction of all labelled pixels that are predicted right."""
        return int(self.counts.trace()) / self.pixels if self.pixels else math.nan


def _fractions(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [int(p) / int(w) if w else None for p, w in zip(part, whole, strict=True)]


def mean_of(fractions: Iterable[float | None]) -> float:
    """The mean of the fractions that are there, ``nan`` where none is.

    >>> mean_of([0.5, None, 1.0])
    0.75
    """
    known = [fraction for fraction in fractions if fraction is not None]
    return math.fsum(known) / len(known) if known else math.nan


def _size(array: np.ndarray) -> str:
    return "×".join(str(side) for side in array.shape)
