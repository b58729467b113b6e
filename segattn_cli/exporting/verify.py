"""Compare an exported model with ours: the same images through onnxruntime and through a backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from backends import BackendError
from backends.contract import Ops
from segattn_cli.data.normalise import normalise
from segattn_cli.prediction.predictor import SINGLE_PASS, Predictor
from segattn_cli.runs import Model

#: (batch, height, width): sizes that no stride divides, and more than one image.
SIZES = ((1, 97, 131), (2, 65, 49), (1, 128, 96))
#: The largest difference of scores that is accepted, relative to the largest score.
TOLERANCE = 1e-4


class ScoreDifference(NamedTuple):
    """The difference of the scores of one batch."""

    size: tuple[int, int, int]  # batch, height, width
    absolute: float  # the largest
    relative: float  # the same, over the largest score
    same_label: float  # the fraction of pixels with the same predicted class

    @property
    def agrees(self) -> bool:
        return self.relative <= TOLERANCE  # False for a NaN


def verify(session: Any, model: Model, ops: Ops) -> Iterator[ScoreDifference]:
    """Compare an ``onnxruntime.InferenceSession`` with ``model`` on ``ops``: random images of :data:`SIZES`."""
    predictor = Predictor.of(model, ops, **SINGLE_PASS)
    rng = np.random.default_rng(0)
    for size in SIZES:
        images = rng.integers(0, 256, (*size, 3), np.uint8)
        scores, = session.run(["scores"], {"image": model_input(session, images)})
        scores = scores.transpose(0, 2, 3, 1)  # (B, H, W, K)
        ours = np.stack([predictor.scores(image) for image in images])  # (B, H, W, K)
        largest = float(np.abs(scores - ours).max())
        same = float((scores.argmax(-1) == ours.argmax(-1)).mean())
        yield ScoreDifference(size, largest, largest / (float(np.abs(ours).max()) or 1.0), same)


def model_input(session: Any, images: np.ndarray) -> np.ndarray:
    """``images`` (B, H, W, 3) uint8 as the inputs of the model."""
    if session.get_inputs()[0].type == "tensor(uint8)":
        return images
    return np.ascontiguousarray(normalise(images).transpose(0, 3, 1, 2))


def onnxruntime() -> Any:
    """The package; raises :class:`BackendError` where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "--check needs the package onnxruntime: install it with pip install 'segattn[onnx]'."
        ) from error
    return onnxruntime
