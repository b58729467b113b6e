"""Class weights by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from segattn_cli.config import LossSection
from segattn_cli.data import Sample
from segattn_cli.errors import ConfigError
from segattn_cli.training.class_weights import class_weights


class Labels(SimpleNamespace):
    name, classes, ignore_label = "labels", ("a", "b", "c", "d"), 255

    def __len__(self):
        return len(self.labels)

    def load(self, index):
        return Sample(np.zeros(0, np.uint8), np.array(self.labels[index], np.uint8), str(index))


def test_median_frequency():
    dataset = Labels(labels=[[[0, 0, 0, 1]], [[0, 0, 255, 255]], [[2, 2, 1, 0]]])
    # a: 6 of 4+2+4 pixels, b: 2 of 8, c: 2 of 4; d never occurs. The median of 0.6, 0.25, 0.5 is 0.5.
    weights = class_weights(LossSection(class_weights="median-frequency"), dataset)
    assert weights == pytest.approx((0.5 / 0.6, 2.0, 1.0, 1.0))


def test_log():
    dataset = Labels(labels=[[[0, 0, 0, 1]], [[0, 0, 255, 255]], [[2, 2, 1, 0]]])
    # Of 10 labelled pixels, 6 are a, 2 are b, 2 are c; d never occurs.
    fractions = (0.6, 0.2, 0.2, 0.0)
    for offset in (1.02, 1.10):
        weights = class_weights(LossSection(class_weights="log", class_weight_offset=offset), dataset)
        assert weights == pytest.approx([1 / math.log(offset + p) for p in fractions])
    assert class_weights(LossSection(class_weights="log"), dataset)[0] == pytest.approx(1 / math.log(1.62))


def test_log_without_a_labelled_pixel():
    dataset = Labels(labels=[[[255, 255]]])
    assert class_weights(LossSection(class_weights="log"), dataset) == pytest.approx([1 / math.log(1.02)] * 4)


def test_none_and_a_list():
    dataset = Labels(labels=[])
    assert class_weights(LossSection(), dataset) is None
    assert class_weights(LossSection(class_weights=(1.0, 2.0, 0.0, 1.0)), dataset) == (1, 2, 0, 1)
    with pytest.raises(ConfigError, match=r"has 4 classes \(a, b, c, d\): set one for each, or \"log\"\.$"):
        class_weights(LossSection(class_weights=(1.0, 2.0)), dataset)
