"""The weight of each class in the loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segattn_cli.config import LossSection
from segattn_cli.data import Dataset
from segattn_cli.errors import ConfigError


def class_weights(config: LossSection, dataset: Dataset) -> tuple[float, ...] | None:
    """The weights that ``loss.class_weights`` asks for, one for each class of ``dataset``; None for none.

    Raises :class:`ConfigError` for a list of another length than the classes.
    """
    if config.class_weights == "median-frequency":
        return median_frequency(dataset)
    if config.class_weights is not None and len(config.class_weights) != len(dataset.classes):
        raise ConfigError(
            f"loss.class_weights has {len(config.class_weights)} numbers, but {dataset.name} has "
            f"{len(dataset.classes)} classes: {', '.join(dataset.classes)}."
        )
    return config.class_weights


def median_frequency(dataset: Dataset) -> tuple[float, ...]:
    """:func:`balance` for the pixels of ``dataset``. Reads every label once."""
    classes = len(dataset.classes)
    labels = (dataset.load(index).label for index in range(len(dataset)))
    return balance([np.bincount(label[label != dataset.ignore_label], minlength=classes) for label in labels])


def balance(pixels: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Median frequency balancing (Eigen and Fergus, ICCV 2015, section 6.3.2)::

        weight_c = median(frequency) / frequency_c

    ``frequency_c`` is the fraction of c among the labelled pixels of those images in which c occurs. A class that
    never occurs has the weight 1.

    Args:
        pixels: for each image, how many pixels each class has, ``(K,)``.

    >>> balance([np.array([1, 1, 0]), np.array([1, 1, 0]), np.array([0, 4, 0])])  # fractions of 2/4, 6/8 and none
    (1.25, 0.8333333333333334, 1.0)
    >>> balance([np.array([0, 0])])  # all ignored
    (1.0, 1.0)
    """
    counts = np.asarray(pixels)  # (images, K)
    present_in = ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)
    occurs = present_in > 0
    frequency = counts.sum(0)[occurs] / present_in[occurs]
    weights = np.ones(counts.shape[1])
    if occurs.any():
        weights[occurs] = np.median(frequency) / frequency
    return tuple(weights.tolist())
