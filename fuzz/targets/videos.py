"""Videos as ``infer`` reads them, frame by frame. Needs PyAV."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import ODD, Mutate
from segattn_cli.data import images
from segattn_cli.prediction.video import open_video

PATH = FOLDER / "clip"
#: Frames that are read of one input, and pixels of a frame, so that the bound on memory tells.
FRAMES, PIXELS = 50, 2_000_000
images.LARGEST = PIXELS
#: Codecs by ending, and what their pixels are. Not every FFmpeg can write all of them.
CODECS = {
    "mp4": {"mpeg4": "yuv420p", "libx264": "yuv420p", "mjpeg": "yuvj420p"},
    "mov": {"prores_ks": "yuv422p10le", "png": "rgb24"}, "mkv": {"mpeg4": "yuv420p", "ffv1": "yuv420p"},
    "webm": {"libvpx": "yuv420p", "libvpx-vp9": "yuv420p"}, "avi": {"mpeg4": "yuv420p", "rawvideo": "bgr24"},
}  # fmt: skip
#: A display matrix of no turn, as MP4 has it, and one of 90°.
UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
TURNED = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def seeds() -> Iterator[bytes]:
    """Three small frames by each codec, one of them turned, and one of pixels that are not square."""
    for ending, codecs in CODECS.items():
        for codec, pixels in codecs.items():
            if codec in av.codecs_available:
                yield _written(ending, codec, pixels)
    yield _written("mp4", "mpeg4", "yuv420p").replace(UPRIGHT, TURNED)
    yield _written("mkv", "mpeg4", "yuv420p", Fraction(16, 11))


def _written(ending: str, codec: str, pixel_format: str, aspect: Fraction = Fraction(1)) -> bytes:
    path = Path(f"{PATH}.{ending}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 32, 24
        stream.pix_fmt = pixel_format
        stream.codec_context.sample_aspect_ratio = aspect
        for level in (0, 100, 200):
            pixels = np.full((24, 32, 3), level, np.uint8)
            pixels[: level // 10] = 255 - level
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def one_input(data: bytes) -> None:
    PATH.write_bytes(data)
    attempt(_read)


def _read() -> None:
    with open_video(PATH) as frames:
        assert frames.rate > 0
        for frame in islice(frames.each, FRAMES):
            assert frame.image.dtype == np.uint8
            assert frame.image.shape[2] == 3


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """Another number of 16, 32 or 64 bits somewhere, as containers are made of these; or other bytes."""
    if len(data) < 8 or rng.random() < 0.5:
        return mutate(data, size)
    width = rng.choice((2, 4, 8))
    number = rng.choice([each for each in ODD if isinstance(each, int)]) % (1 << 8 * width)
    at = rng.randrange(len(data) - width + 1)
    return data[:at] + number.to_bytes(width, rng.choice(("big", "little"))) + data[at + width :]
