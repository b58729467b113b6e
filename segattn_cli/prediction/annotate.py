"""Segment videos, and write each with the colours of its classes over its frames."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from segattn_cli.errors import DataError, OutputError
from segattn_cli.files import moved_into_place
from segattn_cli.prediction.batches import batches_of
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.jobs import plan_outputs
from segattn_cli.prediction.output_files import FileNaming
from segattn_cli.prediction.packed_names import Many
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.segment import InputFailed, InputSkipped, lacks_memory
from segattn_cli.prediction.shards import WHOLE, Shard
from segattn_cli.prediction.video import SUFFIXES, Frame, Frames, VideoWriter, frames_of, open_video
from segattn_cli.rendering.overlays import blend
from segattn_cli.runs import Model


@dataclass(frozen=True)
class Clip:
    """A video to make."""

    input: str  # what messages call its source
    source: Path | Sequence[Path]  # a video, or the images that become its frames
    path: Path  # the video to write
    done: bool  # whether it exists, and is to stay
    rate: Fraction = Fraction(25)  # frames per second, where the source is images


@dataclass(frozen=True)
class FrameDone:
    """One more frame has been segmented."""

    input: str
    done: int
    total: int | None  # where that can be known
    frames_per_second: float


@dataclass(frozen=True)
class VideoDone:
    """A video is complete and in its place."""

    input: str
    path: Path
    frames: int
    size: tuple[int, int]  # (H, W) of its frames, without the legend
    rate: Fraction  # frames per second
    shares: dict[str, float]  # of all pixels, by class, the largest first
    seconds: float
    broken: str | None  # why it ends before its source does


def is_video(each: InputFile) -> bool:
    """Whether an input is a video in a file, by its ending."""
    name = each.name.lower()
    return each.data is None and name.endswith(SUFFIXES) and os.path.splitext(name)[1] in SUFFIXES


def plan_clips(
    videos: Many[InputFile], out: Path, *, resume: bool, force: bool, shard: Shard = WHOLE
) -> list[Clip]:
    """One clip in the folder ``out`` for each video of the ``shard``. Raises what :func:`plan_outputs` raises."""
    places = {"video": FileNaming(".mp4")}
    jobs = plan_outputs(videos, out, places, resume=resume, force=force, shard=shard)
    return [
        Clip(job.input.name, job.input.source, job.outputs["video"], job.done)
        for job in jobs
        if isinstance(job.input.source, Path)
    ]


def plan_clip_of(
    images: Iterable[InputFile], path: Path, rate: Fraction, *, resume: bool, force: bool
) -> Clip:
    """The video ``path`` whose frames are the ``images``.

    Raises :class:`OutputError` where it exists already and neither ``resume`` nor ``force`` is given.
    """
    if path.exists() and not (resume or force):
        raise OutputError(f"{path} exists already: replace it with --force, or choose another --video.")
    sources = [each.source for each in images if isinstance(each.source, Path)]
    return Clip(path.name, sources, path, resume and path.exists(), rate)


def annotate_clips(
    predictor: Predictor, clips: Iterable[Clip], model: Model, *, opacity: float = 0.5
) -> Iterator[FrameDone | VideoDone | InputSkipped | InputFailed]:
    """Make the ``clips``: an event for each frame and each video.

    A video that cannot be read or whose frames do not fit into memory is reported, and the next one follows.
    """
    for clip in clips:
        if clip.done:
            yield InputSkipped(clip.input, {"video": clip.path})
            continue
        try:
            with _opened(clip) as frames:
                yield from annotate(predictor, frames, clip.path, model, opacity=opacity)
        except DataError as error:
            yield InputFailed(clip.input, str(error))
        except MemoryError:
            yield lacks_memory(clip.input, predictor)


def _opened(clip: Clip) -> AbstractContextManager[Frames]:
    if isinstance(clip.source, Path):
        return open_video(clip.source)
    return nullcontext(frames_of(clip.source, clip.rate, clip.input))


def annotate(
    predictor: Predictor, frames: Frames, out: Path, model: Model, *, opacity: float = 0.5
) -> Iterator[FrameDone | VideoDone]:
    """Write ``frames`` with the colours of their classes to the video ``out``: an event for each, then the result.

    H.264 in an MP4 (MPEG-4 where the encoder is missing), of the size and rate of the source, each frame at its
    time, with a legend of all classes below; no sound. A source that breaks off, or goes on in another size, gives
    the video up to there; one that has no frame at all raises :class:`DataError`.
    """
    start = time.perf_counter()
    counts = np.zeros(len(model.classes), np.int64)
    done, broken = 0, None
    with moved_into_place({"video": out}) as paths:
        first = next(frames.each, None)
        if first is None:
            raise DataError(f"{frames.name} has no frame.")
        size = (first.image.shape[0], first.image.shape[1])
        with VideoWriter(paths["video"], size, frames.rate, model) as writer:
            each = _until_broken(chain([first], frames.each))
            try:
                for batch in batches_of(each, _size_of, lambda: predictor.images_at_once):
                    for frame, label in _predicted(predictor, batch):
                        _require_size(done + 1, frame.image, size)
                        writer.add(blend(frame.image, label, model.palette, opacity), frame.time)
                        counts += np.bincount(label.ravel(), minlength=len(counts))
                        done += 1
                        yield FrameDone(frames.name, done, frames.total, done / (time.perf_counter() - start))
            except DataError as error:
                broken = str(error)
            writer.finish()
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    yield VideoDone(
        frames.name, out, done, size, frames.rate,
        shares={model.classes[k]: int(counts[k]) / int(counts.sum()) for k in order},
        seconds=time.perf_counter() - start, broken=broken,
    )


def _until_broken(frames: Iterator[Frame]) -> Iterator[Frame | DataError]:
    """The ``frames`` and, if they break off, the error: those before it may be a batch that is not full."""
    try:
        for frame in frames:
            yield frame._replace(image=np.ascontiguousarray(frame.image))
    except DataError as error:
        yield error


def _size_of(each: Frame | DataError) -> tuple[int, int] | None:
    return None if isinstance(each, DataError) else (each.image.shape[0], each.image.shape[1])


def _predicted(
    predictor: Predictor, batch: Sequence[Frame | DataError]
) -> Iterator[tuple[Frame, np.ndarray]]:
    """The frames of a batch and their labels (H, W); raises the error in it after that."""
    frames = [each for each in batch if isinstance(each, Frame)]
    for frame, output in zip(frames, predictor.run([each.image for each in frames]), strict=True):
        yield frame, predictor.maps(frame.image, output).label
    for each in batch:
        if isinstance(each, DataError):
            raise each


def _require_size(number: int, image: np.ndarray, size: tuple[int, int]) -> None:
    if image.shape[:2] != size:
        raise DataError(
            f"Frame {number} is {image.shape[1]}×{image.shape[0]} and the first {size[1]}×{size[0]} "
            "(width×height): the frames of a video have one size."
        )
