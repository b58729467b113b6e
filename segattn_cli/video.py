"""Videos: frames in, an annotated video out, with one frame in memory at a time. Needs PyAV."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backends import BackendError
from segattn_cli.data.images import read_image
from segattn_cli.errors import DataError, OutputError
from segattn_cli.inference import Predictor
from segattn_cli.pictures import PAPER, LegendEntry, blend, draw_legend
from segattn_cli.runs import Model
from segattn_cli.segmenting import moved_into_place

#: The endings by which videos are known.
SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
#: A legend of all classes stands below the frames if it takes no more than this share of their height.
LEGEND_SHARE = 0.35
#: A video with fewer of the frames that it announces was cut short; a little less is usual.
CUT_SHORT = 0.9
#: Of H.264: 18 can hardly be told from the original, 23 is x264's own choice.
QUALITY = "19"


@dataclass(frozen=True)
class FrameDone:
    """One more frame has been segmented."""

    done: int
    total: int | None  # where that can be known
    frames_per_second: float


@dataclass(frozen=True)
class VideoDone:
    """A video is in its place."""

    path: Path
    frames: int
    size: tuple[int, int]  # (H, W) of its pictures, the legend not counted
    rate: Fraction  # frames a second
    shares: dict[str, float]  # of all pixels, by class, the largest first
    seconds: float
    broken: str | None  # why it ends before its source does


@dataclass
class Frames:
    """Pictures (H, W, 3) uint8 of one size, in order, to be gone through once."""

    pictures: Iterator[np.ndarray]
    rate: Fraction
    total: int | None  # about how many, where that is known


@contextmanager
def open_video(path: Path) -> Iterator[Frames]:
    """The frames of a video as a player shows them, its rotation applied.

    Raises :class:`DataError` for a file that is no video, on opening or, where it is damaged later, on the way, and
    :class:`BackendError` without PyAV.
    """
    av = _pyav()
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} is damaged or no video at all ({error.strerror}).") from None
    with container:
        if not container.streams.video:
            raise DataError(f"{path} has no picture: it is sound alone.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        total = stream.frames or round(rate * (container.duration or 0) / av.time_base) or None
        yield Frames(_decoded(av, container, stream, path, total), rate, total)


def _decoded(av: Any, container: Any, stream: Any, path: Path, total: int | None) -> Iterator[np.ndarray]:
    frames = container.decode(stream)
    for done in count():
        try:
            frame = next(frames)
            picture = frame.to_ndarray(format="rgb24")
        except StopIteration:
            if total is not None and done < CUT_SHORT * total:
                raise DataError(f"{path} is cut short: {done} of about {total} frames are there.") from None
            return
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"{path} is damaged ({error.strerror}).") from None
        yield np.rot90(picture, frame.rotation // 90 % 4)


def frames_of(pictures: Sequence[Path], rate: Fraction) -> Frames:
    """The pictures in files as frames, in natural order: frame2 before frame10."""
    ordered = sorted(pictures, key=natural)
    return Frames((read_image(path) for path in ordered), rate, len(ordered))


def natural(path: Path) -> list[tuple[int, str]]:
    """A key that orders numbers in names as numbers.

    >>> sorted([Path("f10.png"), Path("f9.png"), Path("e.png")], key=natural)[1].name
    'f9.png'
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def annotate(
    predictor: Predictor, frames: Frames, out: Path, model: Model, *, opacity: float = 0.5
) -> Iterator[FrameDone | VideoDone]:
    """Write ``frames`` under the colours of their classes to the video ``out``: an event for each, then the result.

    H.264 in an MP4 (MPEG-4 where the encoder is missing), of the size and rate of the source, with a legend of all
    classes below; no sound. A source that breaks off gives the video up to there; one that has no frame at all
    raises :class:`DataError`, and so do frames of different sizes.
    """
    start = time.perf_counter()
    counts = np.zeros(len(model.classes), np.int64)
    done, broken = 0, None
    size: tuple[int, int] = (0, 0)
    with moved_into_place({"video": out}) as places:
        writer: _Writer | None = None
        try:
            while True:
                try:
                    picture = next(frames.pictures, None)
                except DataError as error:
                    if writer is None:
                        raise
                    broken = str(error)
                    break
                if picture is None:
                    break
                if writer is None:
                    size = (picture.shape[0], picture.shape[1])
                    writer = _Writer(places["video"], size, frames.rate, model)
                if picture.shape[:2] != size:
                    raise DataError(
                        f"Frame {done + 1} is {picture.shape[1]}×{picture.shape[0]} and the first "
                        f"{size[1]}×{size[0]} (width×height): the frames of a video have one size."
                    )
                label = predictor.label(np.ascontiguousarray(picture))
                writer.add(blend(picture, label, model.palette, opacity))
                counts += np.bincount(label.ravel(), minlength=len(counts))
                done += 1
                yield FrameDone(done, frames.total, done / (time.perf_counter() - start))
            if writer is None:
                raise DataError("The video has no frame.")
        finally:
            if writer is not None:
                writer.close()
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    yield VideoDone(
        out, done, size, frames.rate,
        shares={model.classes[k]: int(counts[k]) / int(counts.sum()) for k in order},
        seconds=time.perf_counter() - start, broken=broken,
    )


class _Writer:
    """An MP4 that grows frame by frame."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, model: Model) -> None:
        self.av = _pyav()
        self.path = path
        self.legend = _legend(size, model)  # (h, W, 3)
        height, width = size[0] + len(self.legend), size[1]
        self.container = self.av.open(str(path), "w", options={"movflags": "faststart"})
        codec = "libx264" if "libx264" in self.av.codecs_available else "mpeg4"
        self.stream = self.container.add_stream(codec, rate=rate.limit_denominator(65535))
        self.stream.width, self.stream.height = width + width % 2, height + height % 2  # colours are kept by 2×2
        self.stream.pix_fmt = "yuv420p"
        self.stream.options = {"crf": QUALITY} if codec == "libx264" else {"q:v": "3"}

    def add(self, picture: np.ndarray) -> None:
        whole = np.concatenate([picture, self.legend])
        missing = self.stream.height - whole.shape[0], self.stream.width - whole.shape[1]
        whole = np.pad(whole, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        self._encode(self.av.VideoFrame.from_ndarray(whole, format="rgb24"))

    def close(self) -> None:
        self._encode(None)
        self.container.close()

    def _encode(self, frame: Any) -> None:
        try:
            self.container.mux(self.stream.encode(frame))
        except (self.av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path.name} cannot be written ({error.strerror}).") from None


def _legend(size: tuple[int, int], model: Model) -> np.ndarray:
    """All classes in one strip as wide as the frames, or none where it would be too high."""
    entries = [
        LegendEntry((int(colour[0]), int(colour[1]), int(colour[2])), name)
        for name, colour in zip(model.classes, model.palette, strict=True)
    ]
    drawn = draw_legend(entries, size[1], int(np.clip(min(size) / 26, 10, 26)))
    if drawn.height > LEGEND_SHARE * size[0] or drawn.width != size[1]:
        return np.zeros((0, size[1], 3), np.uint8)
    sheet = Image.new("RGB", (drawn.width, drawn.height + drawn.height % 2), PAPER)
    sheet.paste(drawn)
    return np.asarray(sheet)


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise BackendError("Videos need the package av: install it with pip install 'segattn[video]'.") from error
    return av
