"""Images as ``infer``, ``eval`` and ``train`` read them, from files and from standard input."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate, mutated_png
from segattn_cli.data import images
from segattn_cli.data.annotations.image_facts import image_facts
from segattn_cli.prediction.input_files import find_inputs

#: Of an image, so that the bound on memory tells.
PIXELS = 2_000_000
ORIENTATION = 274
images.LARGEST = PIXELS


def seeds() -> Iterator[bytes]:
    """An image of each format and kind."""
    yield from drawings(np.random.default_rng(0))


def drawings(rng: np.random.Generator) -> Iterator[bytes]:
    """A small image in each format, and in each kind of pixels that it has."""
    size = (7, 5)
    grey = Image.fromarray(rng.integers(0, 256, size, np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, size, np.uint16))
    real = Image.fromarray(rng.random(size, np.float32))
    kinds = {
        "PNG": (
            grey,
            colour,
            deep,
            colour.convert("P"),
            colour.convert("RGBA"),
            grey.convert("LA"),
            grey.convert("1"),
        ),
        "JPEG": (grey, colour, colour.convert("CMYK")),
        "BMP": (grey, colour, grey.convert("1"), colour.convert("P")),
        "TIFF": (grey, colour, deep, real, grey.convert("1"), colour.convert("RGBA")),
        "WEBP": (colour, colour.convert("RGBA")),
        "GIF": (grey, colour.convert("P")),
        "PPM": (grey, colour, deep, grey.convert("1")),
    }
    for name, drawn in kinds.items():
        for image in drawn:
            for options in _options(name, image):
                buffer = io.BytesIO()
                image.save(buffer, name, **options)
                yield buffer.getvalue()


def _options(format: str, image: Image.Image) -> Iterator[dict[str, Any]]:
    """The ways in which a format packs an image, and the tag that turns it."""
    yield {}
    if format in ("PNG", "JPEG", "TIFF", "WEBP"):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        yield {"exif": exif}
    if format == "JPEG":
        yield {"progressive": True}
        yield {"subsampling": 2}
    elif format == "WEBP":
        yield {"lossless": True}
    elif format == "GIF":
        yield {"save_all": True, "append_images": [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}
    elif format == "TIFF":
        special = {"1": ["group4"], "L": ["jpeg"], "RGB": ["jpeg"]}
        for compression in ("tiff_lzw", "tiff_deflate", "packbits", "lzma", "zstd", *special.get(image.mode, ())):
            yield {"compression": compression}


def one_input(data: bytes) -> None:
    path = FOLDER / "image"
    path.write_bytes(data)
    attempt(images.read_header, path)
    attempt(image_facts, data, "the image")
    (given, *_), _ = find_inputs(["-"], Path("out"), io.BytesIO(data))
    for intensity in ("depth", "range"):
        decoded = attempt(images.decode_image, given.source, given.name, intensity=intensity)
        if decoded is not None:
            assert decoded.image.dtype == np.uint8
            assert decoded.image.shape[2] == 3


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    return mutated_png(data, mutate, size, rng)
