"""Whether a network is right as often as it is confident."""

from __future__ import annotations

import numpy as np

#: Bins of confidence, as in the figures of Guo et al.
BINS = 15


class Calibration:
    """The calibration of a network, pixel by pixel.

    After Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equations 2 to 5. The confidence of a
    pixel is the largest of its class probabilities. Pixels are counted in :data:`BINS` bins
    ``((b − 1)/BINS, b/BINS]`` of confidence, each with a number ``n_b``, a mean confidence ``conf_b`` and a
    fraction ``acc_b`` of pixels that are right::

        ECE = Σ_b n_b / n · |acc_b − conf_b|

    Pixels whose confidence is not finite are counted in ``non_finite`` alone.

    >>> calibration = Calibration()
    >>> calibration.update(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True]))
    >>> round(calibration.ece, 3)  # 3/4 · |2/3 − 0.9| + 1/4 · |1 − 0.5|
    0.3
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.non_finite = 0
        self._confidences = np.zeros(BINS)
        self._right = np.zeros(BINS)

    def update(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Count pixels: their confidence in (0, 1], and whether the prediction is the truth."""
        finite = np.isfinite(confidence)
        self.non_finite += int(finite.size - finite.sum())
        confidence, right = confidence[finite], right[finite]
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)
        self._confidences += np.bincount(bins, weights=confidence, minlength=BINS)
        self._right += np.bincount(bins, weights=right, minlength=BINS)

    def add(self, other: Calibration) -> None:
        """Count the pixels of ``other``, too."""
        self.counts += other.counts
        self.non_finite += other.non_finite
        self._confidences += other._confidences
        self._right += other._right

    @property
    def confidence(self) -> np.ndarray:
        """The mean confidence in each bin, NaN in one without pixels."""
        return _mean(self._confidences, self.counts)

    @property
    def accuracy(self) -> np.ndarray:
        """The fraction of pixels in each bin that are right, NaN in one without pixels."""
        return _mean(self._right, self.counts)

    @property
    def ece(self) -> float:
        """The expected calibration error, a fraction in [0, 1]."""
        return float(np.abs(self._right - self._confidences).sum() / self.counts.sum())


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
