"""Drawn images from above: roofs, roads and trees on grass, in every direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from segattn_cli.data import stream

CLASSES = ("grass", "road", "roof", "tree")
_COLOURS = {"grass": (96, 124, 70), "road": (128, 126, 122), "tree": (48, 84, 46)}
_ROOFS = ((168, 84, 66), (120, 112, 108), (150, 130, 110))


def draw(number: int, side: int) -> tuple[Image.Image, Image.Image]:
    """The image ``number`` and its mask, squares of ``side`` pixels."""
    rng = stream("aerial", 0, number)
    image, mask = Image.new("RGB", (side, side), _COLOURS["grass"]), Image.new("L", (side, side), 0)
    brushes = ImageDraw.Draw(image), ImageDraw.Draw(mask)

    def polygon(corners: np.ndarray, name: str, colour: tuple[int, ...]) -> None:
        points = [tuple(corner) for corner in corners]
        brushes[0].polygon(points, fill=colour)
        brushes[1].polygon(points, fill=CLASSES.index(name))

    def rectangle(middle: np.ndarray, length: float, width: float, angle: float) -> np.ndarray:
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        return np.array([middle + x * along * length / 2 + y * across * width / 2 for x, y in corners])

    for _ in range(rng.integers(1, 3)):
        middle, width, angle = rng.uniform(0.2, 0.8, 2) * side, rng.uniform(0.06, 0.1) * side, rng.uniform(0, 7)
        road = rectangle(middle, 3 * side, width, angle)
        polygon(road, "road", _COLOURS["road"])
    for _ in range(rng.integers(3, 7)):
        middle, angle = rng.uniform(0, side, 2), rng.uniform(0, 7)
        length, width = rng.uniform(0.12, 0.28, 2) * side
        colour = np.array(_ROOFS[rng.integers(len(_ROOFS))])
        polygon(rectangle(middle, length, width, angle), "roof", tuple(colour))
        sunny = rectangle(middle, length, width / 2, angle)  # one side of the roof is in the sun
        brushes[0].polygon([tuple(corner) for corner in sunny], fill=tuple(colour + 24))
    for _ in range(rng.integers(4, 12)):
        (x, y), radius = rng.uniform(0, side, 2), rng.uniform(0.025, 0.07) * side
        box = (x - radius, y - radius, x + radius, y + radius)
        brushes[0].ellipse(box, fill=_COLOURS["tree"])
        brushes[1].ellipse(box, fill=CLASSES.index("tree"))
    noise = rng.normal(0, 10, (side, side, 1)) + rng.normal(0, 6, 3)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7))) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), mask


def write_aerial(root: Path, count: int = 40, side: int = 256) -> Path:
    """A plain folder of ``count`` images without splits."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(count):
        image, mask = draw(number, side)
        image.save(root / "images" / f"tile{number:03}.png")
        mask.save(root / "masks" / f"tile{number:03}.png")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root
