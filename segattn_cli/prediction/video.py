"""Videos: how frames are read and written, one in memory at a time. Needs PyAV."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from backends import BackendError
from segattn_cli.data import images
from segattn_cli.data.images import read_image
from segattn_cli.errors import DataError, OutputError
from segattn_cli.rendering.overlays import LegendEntry, draw_legend
from segattn_cli.rendering.style import PAPER
from segattn_cli.runs import Model

#: The endings by which videos are known.
SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
#: A legend of all classes stands below the frames if it takes no more than this fraction of their height.
LEGEND_SHARE = 0.35
#: What FFmpeg may take a file for, whatever its name says: no playlist, which would read other files.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
#: A video that ends before this fraction of the time that it announces was cut short; a little less is usual.
CUT_SHORT = 0.9
#: Pixels a side in H.264, as x264 writes it.
LARGEST = 16384
#: Pixels around a frame that FFmpeg takes memory for, and more.
PADDING = 1 << 20
#: Seconds to which some containers round the times of frames. A frame so near to its beat at an even rate is on it.
TICK = Fraction(1, 1000)
#: Colours are written by, and marked as, ITU-R BT.709: the matrix, primaries, transfer and range called 1.
BT709 = 1
#: Of H.264: 18 can hardly be told from the original, 23 is x264's own choice.
QUALITY = "19"


class Frame(NamedTuple):
    image: np.ndarray  # (H, W, 3) uint8
    time: Fraction | None = None  # in seconds, from wherever; None: one beat after the frame before


@dataclass
class Frames:
    """Images of one size, in order; they can be read once."""

    each: Iterator[Frame]
    rate: Fraction  # the mean, in frames a second
    total: int | None  # about how many, where that is known
    name: str = "The video"  # what messages call it


@contextmanager
def open_video(path: Path) -> Iterator[Frames]:
    """The frames of a video as a player shows them: turned or mirrored as it says, with square pixels.

    Raises :class:`DataError` for a file that is no video, on opening or, where it is damaged later, on the way, and
    :class:`BackendError` without PyAV.
    """
    av = require_pyav()
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    try:
        # A name such as 12:30.mp4 would look like a protocol.
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} is damaged or no video at all ({error.strerror}).") from None
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise DataError(f"{path} has no video stream, only sound.")
        if stream.codec_context is None:
            raise DataError(f"{path} is coded in a way that FFmpeg does not know: convert it to H.264.")
        _require_size(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(images.LARGEST + PADDING)}
        stream.thread_type = "AUTO"
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        seconds = _seconds(av, container, stream)
        total = stream.frames if seconds is None else round(rate * seconds)
        yield Frames(_decoded(av, container, stream, path, rate, seconds), rate, total or None, str(path))


def _decoded(
    av: Any, container: Any, stream: Any, path: Path, rate: Fraction, seconds: Fraction | None
) -> Iterator[Frame]:
    frames = container.decode(stream)
    start = end = None
    while True:
        try:
            frame = next(frames)
            width = _square_width(frame, stream.codec_context.sample_aspect_ratio)
            _require_size(path, width, frame.height)
            image = _upright(frame, width)
        except StopIteration:
            break
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"{path} is damaged ({error.strerror}).") from None
        when = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        if when is not None:
            start = when if start is None else start
            end = when + max(1 / rate, (frame.duration or 0) * frame.time_base)
        yield Frame(image, when)
    if seconds and start is not None and end is not None and end - start < CUT_SHORT * seconds:
        raise DataError(
            f"{path} is cut short: {float(end - start):.1f} of {float(seconds):.1f} seconds are there."
        )


def _seconds(av: Any, container: Any, stream: Any) -> Fraction | None:
    """The duration of the images, where that is known; what is trimmed off and longer sound do not count."""
    if stream.duration:
        return stream.duration * stream.time_base
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))  # Matroska's
    if tag:
        hours, minutes, seconds = map(Fraction, tag.groups())
        return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1
    return Fraction(container.duration, av.time_base) if alone and container.duration else None


def _require_size(path: Path, width: int, height: int) -> None:
    """Raise :class:`DataError` for frames of more pixels than an image may have."""
    if width * height > images.LARGEST:
        raise DataError(
            f"{path} has frames of {width:,}×{height:,} pixels, and {images.LARGEST:,} are allowed: scale it down."
        )


def _square_width(frame: Any, aspect: Fraction | None) -> int:
    """The width of ``frame`` in square pixels."""
    return round((aspect if aspect and Fraction(1, 8) <= aspect <= 8 else 1) * frame.width)


def _upright(frame: Any, width: int) -> np.ndarray:
    """The pixels (H, W, 3) of ``frame``, stretched to ``width``, turned and mirrored as its display matrix says.

    The matrix, nine integers, takes a point (x, y) to (a x + c y, b x + d y).
    """
    image = frame.to_ndarray(format="rgb24", width=width)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def frames_of(images: Sequence[Path], rate: Fraction, name: str = "The video") -> Frames:
    """The images in files as the frames of one video, in natural order: frame2 before frame10."""
    ordered = sorted(images, key=natural)
    return Frames((Frame(read_image(path)) for path in ordered), rate, len(ordered), name)


def natural(path: Path) -> list[tuple[int, str]]:
    """A key that orders numbers in names as numbers.

    >>> sorted([Path("f10.png"), Path("f9.png"), Path("e.png")], key=natural)[1].name
    'f9.png'
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


class VideoWriter:
    """An MP4 that grows frame by frame."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, model: Model) -> None:
        self.av = require_pyav()
        self.path = path
        self.legend = _legend(size, model)  # (h, W, 3)
        height, width = size[0] + len(self.legend), size[1]
        if max(height, width) > LARGEST:
            raise DataError(f"Frames of {width}×{height} pixels are too large: {LARGEST} a side is the most.")
        codec = "libx264" if "libx264" in self.av.codecs_available else "mpeg4"
        self.rate = rate.limit_denominator(max(1, int(65535 / rate)))  # MPEG-4's clock has 16 bits
        self.ticks = math.ceil(1 / (TICK * self.rate)) if codec == "libx264" else 1  # in the time of a frame
        self.start: Fraction | None = None  # the time of the first frame
        self.last = -1  # the tick of the last one
        self.file = _Output(path)
        options = {"movflags": "faststart"}
        self.container = self.av.open(self.file, "w", format="mp4", options=options, io_open=self._reopened)
        self.stream = self.container.add_stream(codec, rate=self.rate)
        self.stream.width, self.stream.height = width + width % 2, height + height % 2  # 4:2:0
        self.stream.pix_fmt = "yuv420p"
        self.stream.options = {"crf": QUALITY} if codec == "libx264" else {"q:v": "3"}
        context = self.stream.codec_context
        context.time_base = 1 / (self.rate * self.ticks)
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = BT709

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self.container, self.file):
            with suppress(self.av.FFmpegError, OSError):  # what is not finished by now is of no use
                opened.close()

    def add(self, image: np.ndarray, when: Fraction | None) -> None:
        whole = np.concatenate([image, self.legend])
        missing = self.stream.height - whole.shape[0], self.stream.width - whole.shape[1]
        whole = np.pad(whole, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        frame = self.av.VideoFrame.from_ndarray(whole, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = self.last = self._tick(when)
        frame.time_base = self.stream.codec_context.time_base
        self._encode(frame)

    def finish(self) -> None:
        self._encode(None)
        with self._refusing():
            self.container.close()
            self.file.close()

    def _reopened(self, *_: object) -> Any:
        """What is written so far, as FFmpeg reads it to move the index of the frames in front of them."""
        self.file.flush()
        return self.path.open("rb")

    def _tick(self, when: Fraction | None) -> int:
        """Where a frame stands on the clock."""
        if when is None:
            return 0 if self.last < 0 else self.last + self.ticks
        self.start = when if self.start is None else self.start
        beats = (when - self.start) * self.rate
        on_beat = abs(beats - round(beats)) < TICK * self.rate
        return max(self.last + 1, round(beats) * self.ticks if on_beat else round(beats * self.ticks))

    def _encode(self, frame: Any) -> None:
        with self._refusing():
            self.container.mux(self.stream.encode(frame))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (self.av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path.name} cannot be written ({error.strerror}).") from None


class _Output:
    """A file that FFmpeg writes through Python, since it passes over some errors of the files that it opens itself.

    FFmpeg goes on for a while after an error, and PyAV prints each but the first: so there is only one.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.has_failed = False

    def write(self, data: Any) -> int:
        return self._do(self.file.write, data, otherwise=len(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._do(self.file.seek, offset, whence)

    def tell(self) -> int:
        return self._do(self.file.tell)

    def flush(self) -> None:
        self._do(self.file.flush)

    def close(self) -> None:
        with suppress(OSError) if self.has_failed else nullcontext():
            self.file.close()

    def _do(self, function: Callable[..., Any], *arguments: Any, otherwise: int = 0) -> Any:
        if self.has_failed:
            return otherwise
        try:
            return function(*arguments)
        except OSError:
            self.has_failed = True
            raise


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


def require_pyav() -> Any:
    """PyAV, or a :class:`BackendError` that says how to come by it."""
    try:
        import av
    except ImportError as error:
        raise BackendError("Videos need the package av: install it with pip install 'segattn[video]'.") from error
    return av
