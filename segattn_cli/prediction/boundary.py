"""How well the outlines of predicted classes agree with those of the truth: boundary IoU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from segattn_cli.errors import UsageError
from segattn_cli.prediction.metrics import mean_of

#: The width of the boundary as a fraction of the image's diagonal, as in the paper for images of COCO's size.
WIDTH = 0.02


class BoundaryIoU:
    """IoU of the pixels of each class that are near its outline, over any number of label maps.

    After Cheng, Girshick, Dollár, Berg and Kirillov, Boundary IoU: Improving Object-Centric Image Segmentation
    Evaluation, CVPR 2021, equation 2. With ``G`` the true and ``P`` the predicted pixels of a class, and ``G_d``
    and ``P_d`` the pixels that are within ``d`` of their outlines::

        boundary IoU = |(G_d ∩ G) ∩ (P_d ∩ P)| / |(G_d ∩ G) ∪ (P_d ∩ P)|

    A pixel is within ``d`` of the outline of its class where the square of ``2d + 1`` pixels around it holds
    another class or reaches over the edge of the image, as in the authors' code, which erodes each mask ``d`` times
    by 3×3 pixels and takes what is lost. ``d`` is ``width`` times the diagonal, rounded, and at least one pixel.

    Ignored pixels are not counted. They belong to no class, so that an edge between a class and ignored pixels is
    no outline, and the prediction is taken to be ignored where the truth is.

    Intersections and unions are summed over all images, as those of the IoU are. A class without a pixel near an
    outline in truth and prediction has no boundary IoU (``None``) and is left out of the mean.

    >>> truth = np.zeros((9, 9), np.uint8)
    >>> truth[:, 5:] = 1
    >>> prediction = truth.copy()
    >>> prediction[:, 5] = 0
    >>> boundary = BoundaryIoU(2, width=0.1)  # d = 1
    >>> boundary.update(truth, prediction)
    >>> boundary.per_class == [17 / 33, 13 / 29]
    True

    Raises:
        UsageError: for a width that is no fraction in (0, 1].
    """

    def __init__(self, classes: int, *, width: float = WIDTH, ignore_label: int = 255) -> None:
        if not 0 < width <= 1:
            raise UsageError(f"The boundary's width must be a fraction of the diagonal in (0, 1], got {width}.")
        self.classes = classes
        self.width = width
        self.ignore_label = ignore_label
        self.intersection = np.zeros(classes, np.int64)
        self.union = np.zeros(classes, np.int64)

    def update(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Count the pixels of ``label`` against ``prediction``: (H, W) each, of values that are classes."""
        labelled = label != self.ignore_label  # (H, W)
        distance = max(1, round(self.width * math.hypot(*label.shape)))
        true = labelled & near_outline(label, labelled, distance)  # G_d ∩ G of all classes
        predicted = labelled & near_outline(prediction, labelled, distance)  # P_d ∩ P of all classes
        both = true & predicted & (label == prediction)
        intersection = np.bincount(label[both], minlength=self.classes)
        self.intersection += intersection
        self.union += np.bincount(label[true], minlength=self.classes) - intersection
        self.union += np.bincount(prediction[predicted], minlength=self.classes)

    def add(self, other: BoundaryIoU) -> None:
        """Count the pixels of ``other``, too."""
        self.intersection += other.intersection
        self.union += other.union

    @property
    def per_class(self) -> list[float | None]:
        """The boundary IoU of each class, ``None`` where the class has none."""
        return [
            int(part) / int(whole) if whole else None
            for part, whole in zip(self.intersection, self.union, strict=True)
        ]

    @property
    def mean(self) -> float:
        """The mean over the classes that have one."""
        return mean_of(self.per_class)

    def as_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The metrics in types of JSON."""
        return {
            "width": self.width,
            "mean": self.mean,
            "per_class": dict(zip(names, self.per_class, strict=True)),
        }


def near_outline(label: np.ndarray, labelled: np.ndarray, distance: int) -> np.ndarray:
    """Whether the square of ``2·distance + 1`` pixels around a pixel holds two classes or an edge of the image.

    Of the pixels of ``label`` (H, W), those that are not ``labelled`` belong to no class.

    >>> label = np.array([[0, 0, 0, 0, 1, 1, 1, 1]] * 5)
    >>> near_outline(label, label < 9, 1)[2].astype(int).tolist()
    [1, 0, 0, 1, 1, 0, 0, 1]
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    outside = 256  # a class that no pixel has: beyond the edge of the image, all is of another class
    side = 2 * distance + 1
    known = label.astype(np.int16)
    highest = maximum_filter(np.where(labelled, known, -1), side, mode="constant", cval=outside)
    lowest = minimum_filter(np.where(labelled, known, outside + 1), side, mode="constant", cval=outside)
    return highest > lowest
