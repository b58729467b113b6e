"""How much each class counts in the loss."""

from __future__ import annotations

import numpy as np

from segattn_cli.config import Loss
from segattn_cli.data import Dataset
from segattn_cli.errors import ConfigError


def class_weights(config: Loss, dataset: Dataset) -> tuple[float, ...] | None:
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
    """Median frequency balancing (Eigen and Fergus, ICCV 2015, section 6.3.2)::

        weight_c = median(frequency) / frequency_c

    ``frequency_c`` is the share of c among the labelled pixels of those images in which c occurs. A class that
    never occurs weighs 1, which no pixel will notice. Reads every label once.
    """
    classes = len(dataset.classes)
    pixels, present_in = np.zeros(classes), np.zeros(classes)
    for index in range(len(dataset)):
        label = dataset.load(index).label
        counts = np.bincount(label[label != dataset.ignore_label], minlength=classes)
        pixels += counts
        present_in += (counts > 0) * counts.sum()
    occurs = pixels > 0
    frequency = pixels[occurs] / present_in[occurs]
    weights = np.ones(classes)
    weights[occurs] = np.median(frequency) / frequency
    return tuple(weights.tolist())
