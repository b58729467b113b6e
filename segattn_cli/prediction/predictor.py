"""From images to scores and labels: batches, scales, mirroring, windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Array, Ops
from backends.precision import array_dtype, cast_weights
from reference.networks import LARGEST_SCALE
from segattn_cli.data.images import resize_image
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import UsageError
from segattn_cli.prediction.passes import NetworkOutput, Passes, Size, joined
from segattn_cli.runs import Model

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
    """Applies a network to images of any size.

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
        batch: how many images of one size, or windows of an image, the network gets at once, at most. Results do
            not depend on it: with the backend ``numba`` they are equal to the bit, with the others up to rounding.

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
        batch: int = 1,
    ) -> None:
        _check(scales, window, stride)
        self.network = network
        self.precision = precision
        self.dtype = array_dtype(precision)
        with np.errstate(all="ignore"):  # what is not finite is reported by its scores
            folded = {name: ops.asarray(value) for name, value in network.fold(params).items()}
        self.params = ops.constants(cast_weights(folded, self.dtype))
        self.ops = ops
        self.is_on_cpu = isinstance(ops.asarray(np.zeros(1, np.float32)), np.ndarray)
        self.size = size
        self.scales = tuple(scales)
        self.flip = flip
        self.window = window
        self.stride = stride or (window and (-(-2 * window[0] // 3), -(-2 * window[1] // 3)))
        self.batch = batch
        self._images_at_once = batch if window is None else 1  # fewer, once more did not fit into memory
        self._passes = Passes(network, self.params, ops, self.dtype)
        self._estimates: dict[tuple[int, Size], int] = {}

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

    def run(self, images: Sequence[np.ndarray]) -> list[NetworkOutput | None]:
        """What the network gives for ``images`` (H, W, 3) uint8 of one size, :attr:`images_at_once` in a pass.

        :meth:`maps` and :meth:`predict` go on from there. Where these have to pass an image through the network
        themselves, it has None: a single one, one that windows move over, and those that do not fit into memory
        together. After that, half as many are taken at once.
        """
        if len(images) == 1 or self.images_at_once == 1:
            return [None] * len(images)
        outputs: list[NetworkOutput | None] = []
        while len(outputs) < len(images):
            part = images[len(outputs) : len(outputs) + self.images_at_once]
            try:
                self._require_memory(len(part), (part[0].shape[0], part[0].shape[1]))
                outputs += self._run(part)
            except MemoryError:
                outputs += [None] * len(part)
                self._images_at_once = max(1, self._images_at_once // 2)
        return outputs

    @property
    def images_at_once(self) -> int:
        """How many images of one size are passed through the network together, at most."""
        return self._images_at_once

    @property
    def is_short_of_memory(self) -> bool:
        """Whether images are predicted in smaller batches than :attr:`batch`, which did not fit into memory."""
        return self.window is None and self.images_at_once < self.batch

    def _run(self, images: Sequence[np.ndarray]) -> list[NetworkOutput]:
        outputs = []  # of each pass those of all images
        for size in self._sizes((images[0].shape[0], images[0].shape[1])):
            resized = _stacked([resize_image(image, size) for image in images])  # (B, h, w, 3)
            outputs.append(self._passes.outputs(resized))
            if self.flip:
                outputs.append(self._passes.outputs(resized[:, :, ::-1]))
        return [joined(of_image) for of_image in zip(*outputs, strict=True)]

    def _sizes(self, own: Size) -> list[Size]:
        """The sizes to which an image of its ``own`` size is resized, one for each scale."""
        height, width = self.size or own
        return [(max(1, round(scale * height)), max(1, round(scale * width))) for scale in self.scales]

    def _require_memory(self, images: int, own: Size) -> None:
        """Raise MemoryError where the machine has too little for so many at once. A GPU reports this itself."""
        from segattn_cli.costs.cost import inference
        from segattn_cli.machine.facts import available_bytes

        free = available_bytes() if self.is_on_cpu else None
        if free is None:
            return
        if (images, own) not in self._estimates:
            height, width = max(self._sizes(own))
            self._estimates[images, own] = inference(self.network, images, height, width).pass_bytes
        if self._estimates[images, own] > free:
            raise MemoryError

    def maps(
        self, image: np.ndarray, output: NetworkOutput | None = None, *, confidence: bool = False,
        entropy: bool = False,
    ) -> Maps:
        """The labels of ``image`` (H, W, 3) uint8, and other maps that are asked for.

        If the predictor :attr:`has_bands`, the scores of some rows are in memory, and not those of the image: an
        image of 400 million pixels and 20 classes would need 32 GB.

        Args:
            output: what :meth:`run` gave for the image.
        """
        size = image.shape[:2]
        label = np.empty(size, np.uint8)
        confidences = np.empty(size, np.float32) if confidence else None
        entropies = np.empty(size, np.float32) if entropy else None
        weights = None
        for rows, prediction in self._bands(image, output):
            label[rows] = self.label_of(prediction)
            if confidences is not None:
                confidences[rows] = self.confidence_of(prediction)
            if entropies is not None:
                entropies[rows] = entropy_of(self.ops.to_numpy(self.probabilities_of(prediction)))
            weights = prediction.scale_weights
        return Maps(label, confidences, entropies, weights)

    def _bands(self, image: np.ndarray, output: NetworkOutput | None) -> Iterator[tuple[slice, Prediction]]:
        """Rows of ``image`` from above to below and their prediction; the last one has the scale weights of all."""
        if not self.has_bands:
            yield slice(None), self.predict(image, output)
        elif self.window is None:
            yield from self._bands_of_passes(image, output or self._run([image])[0])
        else:
            yield from self._bands_of_windows(image, self.window)

    def _bands_of_passes(self, image: np.ndarray, output: NetworkOutput) -> Iterator[tuple[slice, Prediction]]:
        """Rows of ``image`` and their prediction, from scores in the network's own resolution."""
        output.require_finite()
        own = image.shape[0], image.shape[1]
        band = max(1, _BAND_VALUES // (own[1] * self.network.config.classes))
        for first in range(0, own[0], band):
            rows = first, min(first + band, own[0])
            maps = (self._passes.rows_of(each, own, rows) for each in output.maps)
            yield slice(*rows), self._averaged(maps, output)

    def _averaged(self, maps: Iterator[Array], output: NetworkOutput) -> Prediction:
        """The prediction from the scores (H, W, K) of all passes, each of which is dropped before the next one."""
        if self._is_single_pass:
            return Prediction(next(maps), output.scale_weights)
        total: Array = 0
        for number, scores in enumerate(maps):
            probabilities, _ = self.ops.softmax(scores)
            is_mirrored = self.flip and number % 2 == 1
            total = total + (probabilities[:, ::-1] if is_mirrored else probabilities)
        return Prediction(total / len(output.maps), output.scale_weights, are_probabilities=True)

    @property
    def _is_single_pass(self) -> bool:
        return self.scales == (1.0,) and not self.flip and self.window is None

    def _bands_of_windows(self, image: np.ndarray, window: Size) -> Iterator[tuple[slice, Prediction]]:
        """Rows of ``image`` from above to below, each once no later window covers them, and their prediction."""
        assert self.stride is not None
        height, width = image.shape[:2]
        rows, columns = window
        padded = max(height, rows), max(width, columns)
        versions = [image, image[:, ::-1]] if self.flip else [image]
        band = (rows, padded[1], self.network.config.classes)
        totals = [self.ops.asarray(np.zeros(band, np.float32)) for _ in versions]
        cover = np.zeros((*band[:2], 1), np.float32)
        weights: list[np.ndarray] = []
        tops, lefts = (window_starts(*each) for each in zip(padded, window, self.stride, strict=True))
        places = list(product(lefts, range(len(versions))))
        for top, following in zip(tops, [*tops[1:], padded[0]], strict=True):
            parts = (versions[version][top : top + rows, left : left + columns] for left, version in places)
            windows = (_padded(normalise(part), window) for part in parts)
            for (left, version), found in zip(places, self._of_windows(windows, window, weights), strict=True):
                totals[version][:, left : left + columns] += found
                if version == 0:
                    cover[:, left : left + columns] += 1
            done = min(following, height) - top
            finished = [(total[:done] / self.ops.asarray(cover[:done]))[:, :width] for total in totals]
            mean = (finished[0] + finished[1][:, ::-1]) / 2 if self.flip else finished[0]
            yield slice(top, top + done), Prediction(mean, _mean(weights), are_probabilities=True)
            for each in (*totals, cover):
                each[: rows - done] = each[done:].copy()
                each[rows - done :] = 0

    def _of_windows(
        self, windows: Iterable[np.ndarray], window: Size, weights: list[np.ndarray]
    ) -> Iterator[Array]:
        """The probabilities (H, W, K) of each of the normalised ``windows`` (H, W, 3).

        :attr:`batch` of them are in one pass. The mean scale weights of each are appended to ``weights``.
        """
        coming = iter(windows)
        while group := list(islice(coming, self.batch)):
            for output in self._passes.outputs(_stacked(group)):
                output.require_finite()
                if output.scale_weights is not None:
                    weights.append(output.scale_weights)
                probabilities, _ = self.ops.softmax(self._passes.resized(output.maps[0], window)[0])
                yield probabilities

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

    def predict(self, image: np.ndarray, output: NetworkOutput | None = None) -> Prediction:
        """The scores at the size of ``image`` (H, W, 3) uint8, and the scale weights.

        Args:
            output: what :meth:`run` gave for the image.
        """
        own = image.shape[0], image.shape[1]
        if self.window is None:
            output = output or self._run([image])[0]
            output.require_finite()
            return self._averaged((self._passes.resized(each, own)[0] for each in output.maps), output)
        total: Array = 0
        weights: list[np.ndarray] = []
        for size in self._sizes(own):
            resized = normalise(resize_image(image, size))
            total = total + self._probabilities(resized, own, self.window, weights)
            if self.flip:
                total = total + self._probabilities(resized[:, ::-1], own, self.window, weights)[:, ::-1]
        passed = len(self.scales) * (2 if self.flip else 1)
        return Prediction(total / passed, _mean(weights), are_probabilities=True)

    def _probabilities(self, image: np.ndarray, size: Size, window: Size, weights: list[np.ndarray]) -> Array:
        """The probabilities (H, W, K) at ``size`` from windows over the normalised ``image`` (h, w, 3)."""
        assert self.stride is not None
        height, width = image.shape[:2]
        padded = _padded(image, (max(height, window[0]), max(width, window[1])))
        total = self.ops.asarray(np.zeros((*padded.shape[:2], self.network.config.classes), np.float32))
        cover = np.zeros((*padded.shape[:2], 1), np.float32)
        starts = (window_starts(*each) for each in zip(padded.shape[:2], window, self.stride, strict=True))
        places = [np.s_[y : y + window[0], x : x + window[1]] for y, x in product(*starts)]
        windows = (padded[here] for here in places)
        for here, found in zip(places, self._of_windows(windows, window, weights), strict=True):
            total[here] += found
            cover[here] += 1
        total /= self.ops.asarray(cover)
        return self._passes.resized(total[None, :height, :width], size)[0]


def _stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    """``images`` (h, w, 3) as one array (B, h, w, 3), without a copy of a single one."""
    return images[0][None] if len(images) == 1 else np.stack(images)


def _padded(image: np.ndarray, size: Size) -> np.ndarray:
    """The normalised ``image`` (h, w, 3) with the mean colour, which is 0, below and right of it up to ``size``."""
    return np.pad(image, ((0, size[0] - image.shape[0]), (0, size[1] - image.shape[1]), (0, 0)))


def _mean(weights: Sequence[np.ndarray]) -> np.ndarray | None:
    """The mean scale weights (S,) of several passes, of a network that has them."""
    return np.mean(weights, axis=0) if weights else None


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
