from __future__ import annotations

import numpy as np
import pytest

from reference.ops import OpError, label_map


def test_against_loops(rng):
    scores = rng.normal(size=(2, 5, 7))
    labels = label_map(scores)
    assert labels.dtype == np.uint8
    for place in np.ndindex(2, 5):
        row = list(scores[place])
        assert labels[place] == row.index(max(row))


def test_the_first_of_equals_and_nan_win():
    scores = np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 2.0], [1.0, np.nan, 5.0], [-np.inf, -np.inf, 0.0]])
    assert label_map(scores).tolist() == [0, 1, 1, 2]


def test_labels_are_bytes():
    scores = np.zeros((1, 256))
    scores[0, 255] = 1
    assert label_map(scores).tolist() == [255]
    with pytest.raises(OpError, match=r"^label_map: scores have 257 classes, want at most 256\.$"):
        label_map(np.zeros((1, 257)))
