"""Images in files to label maps, overlays and scores in files."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segattn_cli.data import images
from segattn_cli.data.ahead import ahead
from segattn_cli.data.counting import count_values
from segattn_cli.data.images import Decoded, Intensity, decode_image
from segattn_cli.errors import DataError
from segattn_cli.files import moved_into_place, remove_stale_once
from segattn_cli.prediction.batches import READ_EARLY, batches_of, threads_beside
from segattn_cli.prediction.jobs import Job
from segattn_cli.prediction.output_files import Output, Segmentation
from segattn_cli.prediction.passes import NetworkOutput, Size
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model

#: The kinds of output that need one number a pixel, and not the scores of all classes.
OF_MAPS = {"label", "overlay", "polygons", "confidence", "entropy"}
#: Those of them that threads write, which neither call the backend nor share a font.
OF_THREADS = {"label", "confidence", "entropy"}


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


@dataclass(frozen=True)
class _Read:
    """An image that is to be predicted."""

    job: Job
    decoded: Decoded


@dataclass(frozen=True)
class _Predicted:
    """An image whose outputs are to be written."""

    read: _Read
    segmentation: Segmentation
    scale_weights: np.ndarray | None
    seconds: float  # so far
    notes: tuple[str, ...]


def segment(
    predictor: Predictor, jobs: Iterable[Job], outputs: Mapping[str, Output], model: Model, *,
    confidence: bool = False, intensity: Intensity = "depth", max_pixels: int | None = None,
    in_advance: bool = True, threads: int | None = None,
) -> Iterator[ImageDone | InputSkipped | InputFailed]:
    """Do the ``jobs``: an event for each, in their order.

    Images of one size that follow each other are predicted together, as many as the predictor takes at once. The
    images after them are read meanwhile and, if there are several ``threads``, label maps of those before them are
    written. The outputs of an image are written to a temporary folder and moved into place once they are whole. An
    image that cannot be read or does not fit into memory is reported, and the rest goes on. Raises
    :class:`OutputError` where an output cannot be written.

    Args:
        intensity, max_pixels: see :func:`segattn_cli.data.images.decode_image`.
        in_advance: whether a job may be taken from ``jobs`` before those in front of it are done.
        threads: how many read and write; by default as :func:`~.batches.threads_beside`.
    """
    threads = threads_beside(predictor) if threads is None else threads
    most = predictor.images_at_once + threads if in_advance else 0
    read = _images_of(jobs, most, threads, intensity, max_pixels)
    predicted = _predictions_of(read, predictor, set(outputs), model, confidence)
    finish = partial(_finished, outputs=outputs, model=model, confidence=confidence)
    with closing(read), closing(predicted):
        if in_advance and threads > 1 and set(outputs) <= OF_THREADS:
            with closing(ahead(finish, predicted, workers=threads, most=threads)) as events:
                yield from events
        else:
            yield from map(finish, predicted)


def _images_of(
    jobs: Iterable[Job], most: int, threads: int, intensity: Intensity, max_pixels: int | None
) -> Generator[_Read | InputSkipped | InputFailed, None, None]:
    """The images of the ``jobs``, up to ``most`` of which are read before they are asked for."""
    allowed = images.LARGEST if max_pixels is None else max_pixels

    def decoded(job: Job, max_pixels: int) -> Decoded:
        return decode_image(job.input.source, job.input.name, intensity=intensity, max_pixels=max_pixels)

    def early(job: Job) -> tuple[Job, Decoded | None]:
        """The image, or None if it is large, damaged or no file: all that is left to its turn."""
        if not job.done and isinstance(job.input.source, Path) and os.path.isfile(job.input.source):
            with suppress(DataError):
                return job, decoded(job, min(allowed, READ_EARLY))
        return job, None

    coming = ahead(early, jobs, workers=threads, most=most) if most else ((job, None) for job in jobs)
    with closing(coming):
        for job, image in coming:
            if job.done:
                remove_stale_once(job.outputs["label"].parent)
                yield InputSkipped(job.input.name, job.outputs)
                continue
            try:
                read = _Read(job, image or decoded(job, allowed))
            except DataError as error:
                yield InputFailed(job.input.name, str(error))
            else:
                yield read


def _predictions_of(
    read: Iterator[_Read | InputSkipped | InputFailed], predictor: Predictor, kinds: set[str], model: Model,
    confidence: bool,
) -> Generator[_Predicted | InputSkipped | InputFailed, None, None]:
    """The predictions of all images, in batches."""
    for batch in batches_of(read, _size_of, lambda: predictor.images_at_once):
        together = [each.decoded.image for each in batch if isinstance(each, _Read)]
        start = time.perf_counter()
        network_outputs = iter(predictor.run(together))
        seconds = (time.perf_counter() - start) / max(1, len(together))
        for each in batch:
            if not isinstance(each, _Read):
                yield each
                continue
            output = next(network_outputs)
            try:
                predicted = _predict(predictor, each, output, kinds, model, confidence, seconds)
            except MemoryError:
                yield lacks_memory(each.job.input.name, predictor)
            else:
                yield predicted


def _size_of(each: _Read | InputSkipped | InputFailed) -> Size | None:
    return each.decoded.image.shape[:2] if isinstance(each, _Read) else None


def _predict(
    predictor: Predictor, read: _Read, output: NetworkOutput | None, kinds: set[str], model: Model,
    confidence: bool, seconds: float,
) -> _Predicted:
    start = time.perf_counter()
    job, (image, _, notes) = read.job, read.decoded
    prediction = maps = None
    if kinds <= OF_MAPS:
        maps = predictor.maps(
            image, output, confidence=confidence or "confidence" in kinds, entropy="entropy" in kinds
        )
        label, weights = maps.label, maps.scale_weights
    else:
        prediction = predictor.predict(image, output)
        label, weights = predictor.label_of(prediction), prediction.scale_weights
    source = job.input.source if isinstance(job.input.source, Path) else None
    segmentation = Segmentation(
        job.name, image, label, predictor, prediction, model.classes, model.palette, source, maps
    )
    if predictor.is_short_of_memory:
        notes += (f"predicted in smaller batches than --batch {predictor.batch}, for which memory is short",)
    return _Predicted(read, segmentation, weights, seconds + time.perf_counter() - start, notes)


def _finished(
    each: _Predicted | InputSkipped | InputFailed, *, outputs: Mapping[str, Output], model: Model, confidence: bool
) -> ImageDone | InputSkipped | InputFailed:
    """The event of an image, once its outputs are in place."""
    if not isinstance(each, _Predicted):
        return each
    start = time.perf_counter()
    job, segmentation, weights = each.read.job, each.segmentation, each.scale_weights
    try:
        with moved_into_place(job.outputs) as paths:
            for kind, output in outputs.items():
                output.write(paths[kind], segmentation)
    except DataError as error:
        return InputFailed(job.input.name, str(error))
    except MemoryError:
        return lacks_memory(job.input.name, segmentation.predictor)
    label = segmentation.label
    counts = count_values(label, len(model.classes))
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    return ImageDone(
        job.input.name,
        job.outputs,
        size=(label.shape[0], label.shape[1]),
        shares={model.classes[k]: int(counts[k]) / label.size for k in order},
        confidence=segmentation.confidence_by_class() if confidence else None,
        scale_weights=None if weights is None else weights.tolist(),
        seconds=each.seconds + time.perf_counter() - start,
        notes=each.notes,
    )


def lacks_memory(name: str, predictor: Predictor) -> InputFailed:
    """The event of an input for which there is too little memory."""
    way_out = "a lower --batch, or a smaller --window" if predictor.batch > 1 else "a --window"
    return InputFailed(name, f"{name} needs more memory than there is: try {way_out}.")
