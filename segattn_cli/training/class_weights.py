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
    if config.class_weights == "log":
        return log_frequency(dataset, config.class_weight_offset)
    if config.class_weights is not None and len(config.class_weights) != len(dataset.classes):
        raise ConfigError(
            f"loss.class_weights has {len(config.class_weights)} numbers, but {dataset.name} has "
            f"{len(dataset.classes)} classes ({', '.join(dataset.classes)}): set one for each, or \"log\"."
        )
    return config.class_weights


def median_frequency(dataset: Dataset) -> tuple[float, ...]:
    """:func:`balance` for the pixels of ``dataset``. Reads every label once."""
    return balance(_pixels(dataset))


def log_frequency(dataset: Dataset, offset: float) -> tuple[float, ...]:
    """:func:`damp` for the pixels of ``dataset``. Reads every label once."""
    return damp(_pixels(dataset), offset)


def _pixels(dataset: Dataset) -> list[np.ndarray]:
    """For each image, how many pixels each class has, ``(K,)``."""
    classes = len(dataset.classes)
    labels = (dataset.load(index).label for index in range(len(dataset)))
    return [np.bincount(label[label != dataset.ignore_label], minlength=classes) for label in labels]


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


def damp(pixels: Sequence[np.ndarray], offset: float) -> tuple[float, ...]:
    """The class weights of ENet (Paszke et al., 2016, section 5.2)::

        weight_c = 1 / ln(offset + p_c)

    ``p_c`` is the fraction of class c among all labelled pixels. The weights lie between 1/ln(offset + 1) and
    1/ln(offset), which is also the weight of a class that never occurs: an offset of 1.02 weighs the rarest class
    up to 36 times as much as one that covers everything, 1.10 up to 8 times.

    Args:
        pixels: for each image, how many pixels each class has, ``(K,)``.
        offset: greater than 1.

    >>> [round(weight, 2) for weight in damp([np.array([80, 16, 0]), np.array([0, 4, 0])], 1.02)]
    [1.67, 5.03, 50.5]
    """
    counts = np.sum(pixels, axis=0)  # (K,)
    weights = 1 / np.log(offset + counts / max(1, counts.sum()))
    return tuple(weights.tolist())
