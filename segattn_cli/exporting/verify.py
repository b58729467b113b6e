"""Does a written model say what we say? The same pictures through onnxruntime and through a backend of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from backends import BackendError
from backends.contract import Ops
from segattn_cli.data.normalise import normalise
from segattn_cli.prediction.predictor import SINGLE_PASS, Predictor
from segattn_cli.runs import Model

#: (batch, height, width): sizes that no stride divides, and more than one picture.
SIZES = ((1, 97, 131), (2, 65, 49), (1, 128, 96))
#: The most that scores may differ, of the largest score.
TOLERANCE = 1e-4


class ScoreDifference(NamedTuple):
    """How far the scores of one batch are apart."""

    size: tuple[int, int, int]  # batch, height, width
    absolute: float  # the largest
    relative: float  # the same, of the largest score
    same_label: float  # the share of the pixels whose highest score is of the same class

    @property
    def agrees(self) -> bool:
        return self.relative <= TOLERANCE  # and a NaN does not


def verify(session: Any, model: Model, ops: Ops) -> Iterator[ScoreDifference]:
    """Compare an ``onnxruntime.InferenceSession`` with ``model`` on ``ops``: random pictures of :data:`SIZES`."""
    predictor = Predictor.of(model, ops, **SINGLE_PASS)
    rng = np.random.default_rng(0)
    for size in SIZES:
        pictures = rng.integers(0, 256, (*size, 3), np.uint8)
        scores = session.run(["scores"], {"image": fed(session, pictures)})[0].transpose(0, 2, 3, 1)  # (B, H, W, K)
        ours = np.stack([predictor.scores(picture) for picture in pictures])  # (B, H, W, K)
        apart = float(np.abs(scores - ours).max())
        same = float((scores.argmax(-1) == ours.argmax(-1)).mean())
        yield ScoreDifference(size, apart, apart / (float(np.abs(ours).max()) or 1.0), same)


def fed(session: Any, pictures: np.ndarray) -> np.ndarray:
    """``pictures`` (B, H, W, 3) uint8 as the model wants them."""
    if session.get_inputs()[0].type == "tensor(uint8)":
        return pictures
    return np.ascontiguousarray(normalise(pictures).transpose(0, 3, 1, 2))


def onnxruntime() -> Any:
    """The package; raises :class:`BackendError` where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "--check needs the package onnxruntime: install it with pip install 'segattn[onnx]'."
        ) from error
    return onnxruntime
