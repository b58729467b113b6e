"""From an image to scores and labels: scales, mirroring, windows; one image in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Array, Ops
from backends.precision import array_dtype, cast_weights
from reference.layers.context import Context
from reference.networks import LARGEST_SCALE
from segattn_cli.data.images import resize_image
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import NonFiniteError, UsageError
from segattn_cli.runs import Model

Size = tuple[int, int]

#: One pass over the image as it is: the settings under which a :class:`Predictor` gives the network's own scores.
SINGLE_PASS: dict[str, Any] = {
    "size": None, "scales": (1.0,), "flip": False, "window": None, "stride": None, "precision": "float32",
}


#: Scores of a band of rows, about, that are in memory at a time.
_BAND_VALUES = 1 << 22


class Prediction(NamedTuple):
    """The result of a :class:`Predictor` for one image."""

    scores: Array  # (H, W, K) of the backend: probabilities, or raw scores after a single pass
    scale_weights: np.ndarray | None  # (S,) the mean weight of each of the network's scales, where it has them
    are_probabilities: bool = False  # whether the scores are probabilities


class Maps(NamedTuple):
    """What can be said of each pixel of an image without the scores of all its pixels at once."""

    label: np.ndarray  # (H, W) uint8: the class with the highest score
    confidence: np.ndarray | None  # (H, W) float32: see `Predictor.confidence_of`
    entropy: np.ndarray | None  # (H, W) float32: see `entropy_of`
    scale_weights: np.ndarray | None  # as of a Prediction


class Predictor:
    """Applies a network to single images of any size.

    ================  =============================================================================================
    a single pass     the network's scores, resized to the image's size; their argmax is the label
    scales, flip      softmax over the classes at the image's size in each pass, then the mean over the passes
    windows           softmax in each window, the mean where windows overlap, then resized to the image's size
    ================  =============================================================================================

    The image itself is resized as in training: by Pillow, bilinear, anti-aliased. Scores are resized by
    ``ops.resize_bilinear`` with the network's ``align_corners``. Batch norms are folded into the convolutions.

    Args:
        network: a network from :func:`reference.networks.build_network`.
        params: its parameters by name, arrays of NumPy or of the backend.
        ops: the backend.
        size: (H, W) to which every image is resized first, as a network that was trained at half resolution
            expects; ``None`` for the image's own size. The result has the image's own size in any case.
        scales: factors of that size, one pass for each.
        flip: whether each scale has a second, mirrored pass.
        window: (H, W) of sliding windows, in pixels of the resized image: no pass sees more. A smaller image is
            padded with the mean colour; the last windows are shifted so that they end at the image's edge.
        stride: (H, W) from one window to the next; two thirds of the window by default.
        precision: one of :data:`backends.registry.PRECISIONS`, the same as that of ``ops``; weights and maps have
            it, scores and probabilities are always float32.

    Raises:
        UsageError: for a scale, window or stride that is not positive, and for a stride that leaves gaps.
        NonFiniteError: by every prediction, where the network's scores are not finite.
    """

    def __init__(
        self,
        network: Any,
        params: Mapping[str, Array],
        ops: Ops,
        *,
        size: Size | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: Size | None = None,
        stride: Size | None = None,
        precision: str = "float32",
    ) -> None:
        _check(scales, window, stride)
        self.network = network
        self.precision = precision
        self.dtype = array_dtype(precision)
        with np.errstate(all="ignore"):  # what is not finite is reported by its scores
            folded = {name: ops.asarray(value) for name, value in network.fold(params).items()}
        self.params = ops.constants(cast_weights(folded, self.dtype))
        self.ops = ops
        self.size = size
        self.scales = tuple(scales)
        self.flip = flip
        self.window = window
        self.stride = stride or (window and (-(-2 * window[0] // 3), -(-2 * window[1] // 3)))

    @classmethod
    def of(cls, model: Model, ops: Ops, **changes: Any) -> Predictor:
        """The predictor of ``model`` with the settings of its run's validation, but for ``changes``.

        Everything that predicts with a trained network is built here. A changed window has its own default stride.
        """
        evaluation = model.config.evaluation
        settings = {
            "size": model.config.prediction_size,
            "scales": evaluation.scales,
            "flip": evaluation.flip,
            "window": evaluation.window,
            "stride": None if "window" in changes else evaluation.stride,
            "precision": model.config.training.precision,
        }
        return cls(model.network, model.params, ops, **settings | changes)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the network and the backend on which the predictions depend, in types of JSON."""
        return {
            "size": self.size and list(self.size),
            "scales": list(self.scales),
            "flip": self.flip,
            "window": self.window and list(self.window),
            "stride": self.stride and list(self.stride),
            "precision": self.precision,
        }

    def label(self, image: np.ndarray) -> np.ndarray:
        """The class with the highest score at each pixel of ``image`` (H, W, 3) uint8: (H, W) uint8."""
        return self.maps(image).label

    def label_of(self, prediction: Prediction) -> np.ndarray:
        """The class with the highest score at each pixel: (H, W) uint8. Only this map leaves the device."""
        return self.ops.to_numpy(self.ops.label_map(prediction.scores))

    @property
    def has_bands(self) -> bool:
        """Whether rows of the result can be had one after the other: not of windows on an image of another size."""
        return self.window is None or (self.scales == (1.0,) and self.size is None)

    def maps(self, image: np.ndarray, *, confidence: bool = False, entropy: bool = False) -> Maps:
        """The labels of ``image`` (H, W, 3) uint8, and other maps that are asked for.

        If the predictor :attr:`has_bands`, the scores of some rows are in memory, and not those of the image: an
        image of 400 million pixels and 20 classes would need 32 GB.
        """
        size = image.shape[:2]
        label = np.empty(size, np.uint8)
        confidences = np.empty(size, np.float32) if confidence else None
        entropies = np.empty(size, np.float32) if entropy else None
        weights = None
        for rows, prediction in self._bands(image):
            label[rows] = self.label_of(prediction)
            if confidences is not None:
                confidences[rows] = self.confidence_of(prediction)
            if entropies is not None:
                entropies[rows] = entropy_of(self.ops.to_numpy(self.probabilities_of(prediction)))
            weights = prediction.scale_weights
        return Maps(label, confidences, entropies, weights)

    def _bands(self, image: np.ndarray) -> Iterator[tuple[slice, Prediction]]:
        """Rows of ``image`` from above to below and their prediction; the last one has the scale weights of all."""
        if not self.has_bands:
            yield slice(None), self.predict(image)
            return
        passes = _Passes(self.network, self.params, self.ops, self.dtype)
        bands = self._bands_of_passes if self.window is None else self._bands_of_windows
        for rows, scores in bands(passes, image):
            are_probabilities = self.window is not None or not self._is_single_pass
            yield rows, Prediction(scores, passes.mean_scale_weights(), are_probabilities)

    def _bands_of_passes(self, passes: _Passes, image: np.ndarray) -> Iterator[tuple[slice, Array]]:
        """Rows of ``image`` and their scores; each pass leaves its scores in the network's own resolution."""
        own = image.shape[0], image.shape[1]
        height, width = self.size or own
        maps = []  # each (1, h, w, K), and whether it is mirrored
        for scale in self.scales:
            size = max(1, round(scale * height)), max(1, round(scale * width))
            resized = normalise(resize_image(image, size))
            maps.append((passes.maps(resized), False))
            if self.flip:
                maps.append((passes.maps(resized[:, ::-1]), True))
        band = max(1, _BAND_VALUES // (own[1] * self.network.config.classes))
        for first in range(0, own[0], band):
            rows = first, min(first + band, own[0])
            if self._is_single_pass:
                yield slice(*rows), passes.rows_of(maps[0][0], own, rows)
                continue
            total: Array = 0
            for scores, mirrored in maps:
                probabilities, _ = self.ops.softmax(passes.rows_of(scores, own, rows))
                total = total + (probabilities[:, ::-1] if mirrored else probabilities)
            yield slice(*rows), total / len(maps)

    @property
    def _is_single_pass(self) -> bool:
        return self.scales == (1.0,) and not self.flip and self.window is None

    def _bands_of_windows(self, passes: _Passes, image: np.ndarray) -> Iterator[tuple[slice, Array]]:
        """Rows of ``image`` from above to below, each once no later window covers them, and their probabilities."""
        assert self.window is not None
        assert self.stride is not None
        height, width = image.shape[:2]
        rows, columns = self.window
        padded = max(height, rows), max(width, columns)
        versions = [image, image[:, ::-1]] if self.flip else [image]
        band = (rows, padded[1], self.network.config.classes)
        totals = [self.ops.asarray(np.zeros(band, np.float32)) for _ in versions]
        cover = np.zeros((*band[:2], 1), np.float32)
        tops, lefts = (window_starts(*each) for each in zip(padded, self.window, self.stride, strict=True))
        for top, following in zip(tops, [*tops[1:], padded[0]], strict=True):
            for left in lefts:
                cover[:, left : left + columns] += 1
                for version, total in zip(versions, totals, strict=True):
                    content = normalise(version[top : top + rows, left : left + columns])
                    missing = [(0, rows - content.shape[0]), (0, columns - content.shape[1]), (0, 0)]
                    window = np.pad(content, missing)  # normalised, 0 is the mean
                    total[:, left : left + columns] += passes.probabilities(window, self.window)
            done = min(following, height) - top
            finished = [(total[:done] / self.ops.asarray(cover[:done]))[:, :width] for total in totals]
            mean = (finished[0] + finished[1][:, ::-1]) / 2 if self.flip else finished[0]
            yield slice(top, top + done), mean
            for each in (*totals, cover):
                each[: rows - done] = each[done:].copy()
                each[rows - done :] = 0

    def scores(self, image: np.ndarray) -> np.ndarray:
        """The score of every class at each pixel of ``image`` (H, W, 3) uint8: (H, W, K) float32.

        Probabilities, which sum to 1 over the classes, or the network's raw scores after a single pass.
        """
        return self.ops.to_numpy(self.predict(image).scores)

    def probabilities_of(self, prediction: Prediction) -> Array:
        """The probability of every class at each pixel, an array of the backend: (H, W, K) float32."""
        if prediction.are_probabilities:
            return prediction.scores
        probabilities, _ = self.ops.softmax(prediction.scores)
        return probabilities

    def confidence_of(self, prediction: Prediction) -> np.ndarray:
        """The largest probability at each pixel: (H, W) float32, from 1/K to 1. Only this map leaves the device."""
        return self.ops.to_numpy(self.probabilities_of(prediction).max(-1))

    def predict(self, image: np.ndarray) -> Prediction:
        """The scores at the size of ``image`` (H, W, 3) uint8, and the scale weights."""
        own = image.shape[0], image.shape[1]
        height, width = self.size or own
        passes = _Passes(self.network, self.params, self.ops, self.dtype)
        if self._is_single_pass:
            resized = normalise(resize_image(image, (height, width)))  # (h, w, 3)
            return Prediction(passes.scores(resized, own), passes.mean_scale_weights())

        total: Array = 0
        for scale in self.scales:
            size = max(1, round(scale * height)), max(1, round(scale * width))
            resized = normalise(resize_image(image, size))
            total = total + self._probabilities(passes, resized, own)
            if self.flip:
                total = total + self._probabilities(passes, resized[:, ::-1], own)[:, ::-1]
        passed = len(self.scales) * (2 if self.flip else 1)
        return Prediction(total / passed, passes.mean_scale_weights(), are_probabilities=True)

    def _probabilities(self, passes: _Passes, image: np.ndarray, size: Size) -> Array:
        """The probabilities (H, W, K) at ``size`` from one pass over the normalised ``image`` (h, w, 3)."""
        if self.window is None or self.stride is None:
            return passes.probabilities(image, size)
        height, width = image.shape[:2]
        rows, columns = self.window
        missing = max(0, rows - height), max(0, columns - width)
        padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)))  # normalised, 0 is the mean
        total = self.ops.asarray(np.zeros((*padded.shape[:2], self.network.config.classes), np.float32))
        cover = np.zeros((*padded.shape[:2], 1), np.float32)
        for top in window_starts(padded.shape[0], rows, self.stride[0]):
            for left in window_starts(padded.shape[1], columns, self.stride[1]):
                here = np.s_[top : top + rows, left : left + columns]
                total[here] += passes.probabilities(padded[here], self.window)
                cover[here] += 1
        total /= self.ops.asarray(cover)
        return passes.resized(total[None, :height, :width], size)[0]


class _Passes:
    """Single passes over whole images, which collect the scale weights."""

    def __init__(self, network: Any, params: Mapping[str, Array], ops: Ops, dtype: np.dtype) -> None:
        self.network = network
        self.params = params
        self.ops = ops
        self.dtype = dtype
        self.scale_weights: list[np.ndarray] = []

    def scores(self, image: np.ndarray, size: Size) -> Array:
        """The network's scores (H, W, K) for the normalised ``image`` (h, w, 3), at ``size``."""
        return self.resized(self.maps(image), size)[0]

    def maps(self, image: np.ndarray) -> Array:
        """The network's scores (1, h', w', K) for the normalised ``image`` (h, w, 3), in its own resolution."""
        images = self.ops.asarray(np.ascontiguousarray(image[None]))  # (1, h, w, 3)
        images = images.astype(self.dtype, copy=False)
        ctx = Context(self.ops, self.params, overwrite=True)
        with np.errstate(all="ignore"):
            scores, weights = self.network.predict_with_weights(images, ctx)
            largest = float(abs(scores).max())
        if not math.isfinite(largest):
            raise NonFiniteError(
                "The network's scores hold a NaN or an infinity, so they predict nothing: take an earlier "
                "checkpoint."
            )
        if weights is not None:  # (1, h', w', S)
            weights = weights.astype(np.float32, copy=False)
            self.scale_weights.append(self.ops.to_numpy(weights).mean((0, 1, 2)))
        return scores.astype(np.float32, copy=False)

    def probabilities(self, image: np.ndarray, size: Size) -> Array:
        """The softmax of the scores over the classes: (H, W, K)."""
        probabilities, _ = self.ops.softmax(self.scores(image, size))
        return probabilities

    def resized(self, maps: Array, size: Size) -> Array:
        """``maps`` (1, h, w, K) at ``size``."""
        if maps.shape[1:3] == size:
            return maps
        resized, _ = self.ops.resize_bilinear(maps, size, align_corners=self.network.config.align_corners)
        return resized

    def rows_of(self, maps: Array, size: Size, rows: tuple[int, int]) -> Array:
        """Some rows of what ``maps`` (1, h, w, K) are at ``size``: (rows, W, K)."""
        align_corners = self.network.config.align_corners
        return self.ops.resize_bilinear_rows(maps, size, rows, align_corners=align_corners)[0]

    def mean_scale_weights(self) -> np.ndarray | None:
        """The mean over all passes so far: (S,)."""
        return np.mean(self.scale_weights, axis=0) if self.scale_weights else None


def entropy_of(probabilities: np.ndarray) -> np.ndarray:
    """``−Σ_c p_c ln p_c / ln K`` of each pixel, ``(…, K)`` → ``(…,)``.

    It is 0 where one class is certain, and 1 where all are equally probable.

    >>> entropy_of(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    p = probabilities
    entropy = (p * -np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(-1) / math.log(p.shape[-1])
    return np.clip(entropy, 0, 1)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows start along an axis that is at least as long as one: the last one ends where the axis ends.

    >>> window_starts(10, 4, 3), window_starts(11, 4, 3), window_starts(4, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    last = length - window
    return [*range(0, last, stride), last]


def _check(scales: Sequence[float], window: Size | None, stride: Size | None) -> None:
    if not scales or not all(0 < scale <= LARGEST_SCALE for scale in scales):
        raise UsageError(
            f"Scales must be positive factors of at most {LARGEST_SCALE:g}, such as 0.75,1,1.25; got {scales}."
        )
    if window is not None and min(window) < 1:
        raise UsageError(f"A window must have at least one pixel, got {window[0]},{window[1]}.")
    if stride is None:
        return
    if window is None:
        raise UsageError("A stride is the step between windows: give the size of a window, too.")
    if min(stride) < 1 or stride[0] > window[0] or stride[1] > window[1]:
        raise UsageError(
            f"A stride of {stride[0]},{stride[1]} leaves gaps between windows of {window[0]},{window[1]}: "
            "take at least 1 and at most the window."
        )
