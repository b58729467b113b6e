"""Masks of a data set in a plain folder, read as ``data check`` and ``train`` read them."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate, mutated_png
from fuzz.targets.images import PIXELS, drawings
from segattn_cli.data import images, open_dataset
from segattn_cli.data.annotations.colours import ColouredMask
from segattn_cli.data.annotations.model import Rules
from segattn_cli.data.dataset import FileDataset
from segattn_cli.data.inspect import _inspected as inspected  # without threads, in which a find would be lost
from segattn_cli.data.inspect import summarise_split
from segattn_cli.data.review import review, warnings_of

images.LARGEST = PIXELS
DATA = FOLDER / "data"
CLASSES = "sky 0 0 0\nroad 128 64 128\ncar 1 2 3\n"
for each in ("images", "masks"):
    (DATA / each).mkdir(parents=True)
(DATA / "classes.txt").write_text(CLASSES)
Image.new("RGB", (5, 7)).save(DATA / "images" / "a.png")


def seeds() -> Iterator[bytes]:
    """Masks of each format, with the values and the colours of the classes, and images that are none."""
    rng = np.random.default_rng(1)
    yield from drawings(rng)
    values = rng.integers(0, 3, (7, 5), np.uint8)
    grey = Image.fromarray(values)
    palette = grey.copy()
    palette.putpalette([0, 0, 0, 128, 64, 128, 1, 2, 3])
    colours = Image.fromarray(np.array([[0, 0, 0], [128, 64, 128], [1, 2, 3]], np.uint8)[values])
    for image in (grey, palette, colours):
        for kind in ("PNG", "TIFF", "BMP", "GIF", "WEBP"):
            path = FOLDER / "seed"
            image.save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
            yield path.read_bytes()


def one_input(data: bytes) -> None:
    path = DATA / "masks" / "a.png"
    path.write_bytes(data)
    dataset = attempt(open_dataset, DATA, split="all")
    assert isinstance(dataset, FileDataset)
    attempt(dataset.load, 0)
    read = [inspected(dataset, 0, masks_only) for masks_only in (True, False)]
    report = summarise_split(dataset, read)
    warnings_of(report)
    review(report, report, dataset.classes)
    attempt(ColouredMask(path, {(0, 0, 0): "sky"}).paint, (7, 5), Rules({"sky": 0}, 255, "area"))


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    return mutated_png(data, mutate, size, rng)
