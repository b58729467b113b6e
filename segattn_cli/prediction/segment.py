"""Images in files, one after the other, to label maps, overlays and scores in files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segattn_cli.data.counting import count_values
from segattn_cli.data.images import Decoded, Intensity, decode_image
from segattn_cli.errors import DataError
from segattn_cli.files import moved_into_place, remove_stale_once
from segattn_cli.prediction.jobs import Job
from segattn_cli.prediction.output_files import Output, Segmentation
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model

#: The kinds of output that need one number a pixel, and not the scores of all classes.
OF_MAPS = {"label", "overlay", "polygons", "confidence", "entropy"}


@dataclass(frozen=True)
class ImageDone:
    """An image has been segmented; its outputs are in place."""

    input: str  # what messages call it
    outputs: dict[str, Path]  # by kind
    size: tuple[int, int]  # (H, W)
    shares: dict[str, float]  # of the pixels, by class, the largest first
    confidence: dict[str, float] | None  # the mean largest probability where a class is predicted, if asked for
    scale_weights: list[float] | None  # the mean weight of each of the network's scales
    seconds: float
    notes: tuple[str, ...] = ()  # how the image was read: see `segattn_cli.data.images.Decoded`


@dataclass(frozen=True)
class InputSkipped:
    """The outputs of an image or a video exist, and are to stay."""

    input: str
    outputs: dict[str, Path]  # by kind


@dataclass(frozen=True)
class InputFailed:
    """An image or a video could not be used."""

    input: str
    reason: str


def segment(
    predictor: Predictor, jobs: Iterable[Job], outputs: Mapping[str, Output], model: Model, *,
    confidence: bool = False, intensity: Intensity = "depth", max_pixels: int | None = None,
) -> Iterator[ImageDone | InputSkipped | InputFailed]:
    """Do the ``jobs``, with one image in memory at a time: an event for each.

    The outputs of an image are written to a temporary folder and moved into place once they are whole. An image
    that cannot be read or does not fit into memory is reported, and the rest goes on. Raises :class:`OutputError`
    where an output cannot be written.

    Args:
        intensity, max_pixels: see :func:`segattn_cli.data.images.decode_image`.
    """
    for job in jobs:
        if job.done:
            remove_stale_once(job.outputs["label"].parent)
            yield InputSkipped(job.input.name, job.outputs)
            continue
        try:
            decoded = decode_image(
                job.input.source, job.input.name, intensity=intensity, max_pixels=max_pixels
            )
            yield _segment(predictor, job, decoded, outputs, model, confidence)
        except DataError as error:
            yield InputFailed(job.input.name, str(error))
        except MemoryError:
            yield InputFailed(job.input.name, f"{job.input.name} needs more memory than there is: try a --window.")


def _segment(
    predictor: Predictor, job: Job, decoded: Decoded, outputs: Mapping[str, Output], model: Model, confidence: bool
) -> ImageDone:
    start = time.perf_counter()
    image = decoded.image
    prediction = maps = None
    if set(outputs) <= OF_MAPS:
        maps = predictor.maps(
            image, confidence=confidence or "confidence" in outputs, entropy="entropy" in outputs
        )
        label, weights = maps.label, maps.scale_weights
    else:
        prediction = predictor.predict(image)
        label, weights = predictor.label_of(prediction), prediction.scale_weights
    source = job.input.source if isinstance(job.input.source, Path) else None
    segmentation = Segmentation(
        job.name, image, label, predictor, prediction, model.classes, model.palette, source, maps
    )
    with moved_into_place(job.outputs) as paths:
        for kind, output in outputs.items():
            output.write(paths[kind], segmentation)
    counts = count_values(label, len(model.classes))
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    return ImageDone(
        job.input.name,
        job.outputs,
        size=(label.shape[0], label.shape[1]),
        shares={model.classes[k]: int(counts[k]) / label.size for k in order},
        confidence=segmentation.confidence_by_class() if confidence else None,
        scale_weights=None if weights is None else weights.tolist(),
        seconds=time.perf_counter() - start,
        notes=decoded.notes,
    )
