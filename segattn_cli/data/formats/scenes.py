"""``scenes``: streets drawn from a seed, in which classes depend on distant context and sizes vary widely.

An image shows, from top to bottom, the sky, a closed row of houses with trees, the pavement, and asphalt with cars
and people. Positions and colours are random; image ``i`` of a split is always the same.

**Same texture, distant context.** The asphalt is ``road`` by day and ``plaza`` in the evening, when people use the
street: one class for the whole image, by turns. *Only* the colour of the sky shows which: blue by day, orange in
the evening. A day and an evening image drawn from the same random numbers agree in every pixel that is not sky, so
texture, position and neighbours say nothing. The sky is in the upper 0.25 of the height, the asphalt in the lower
0.34, so a network must see 0.41 of the height (39 pixels of 96) to see both at once: with the ``tiny`` backbone and
an ``fcn`` head, most asphalt is out of reach. A crop without sky does not decide the class: train on whole images.

**Small and large.** Cars are 0.08 to 1.1 image heights long, evenly on a logarithmic scale. The far ones are a few
pixels; of a near one, a small field of view sees only paint, in the colours of the house fronts.

All lengths are fractions of the height, so a scene is the same at every size, except for the grain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from segattn_cli.data.dataset import IGNORE_LABEL, Sample
from segattn_cli.data.formats.canvas import Canvas
from segattn_cli.data.random import stream
from segattn_cli.errors import DataError

CLASSES = ("sky", "building", "pavement", "road", "plaza", "tree", "car", "person")
#: Okabe and Ito's colours, and greys for the ground.
PALETTE = np.array(
    [
        [86, 180, 233], [230, 159, 0], [190, 190, 190], [80, 80, 80],
        [204, 121, 167], [0, 158, 115], [0, 114, 178], [213, 94, 0],
    ],
    np.uint8,
)  # fmt: skip
SPLITS = ("train", "val", "test")
SKY, BUILDING, PAVEMENT, ROAD, PLAZA, TREE, CAR, PERSON = range(len(CLASSES))

#: How much the brightness of a class varies from pixel to pixel, and from block to block.
_GRAIN = np.array([4, 12, 10, 34, 34, 30, 4, 8], np.float32)
_BLOCKS = np.array([4, 8, 12, 16, 16, 70, 4, 8], np.float32)
_DAY = np.array([[70, 130, 215], [150, 200, 245]], np.float32)  # top and bottom of the sky
_EVENING = np.array([[235, 120, 60], [255, 200, 120]], np.float32)
_PAINT = np.array(
    [
        [196, 76, 60], [214, 158, 88], [232, 214, 170], [150, 170, 186],
        [96, 128, 160], [170, 110, 120], [206, 206, 200], [120, 150, 120],
    ],
    np.float32,
)  # fmt: skip
_SKIN = np.array([[240, 200, 170], [200, 150, 110], [120, 80, 56]], np.float32)
_COATS = np.array([[200, 30, 60], [40, 60, 190], [230, 190, 20], [140, 40, 150]], np.float32)


def _rgb(red: int, green: int, blue: int) -> np.ndarray:
    return np.array([red, green, blue], np.float32)


_ASPHALT, _SLABS, _LINE = _rgb(112, 112, 118), _rgb(205, 198, 184), _rgb(225, 225, 215)
_GLASS, _TYRE, _HUB, _LAMP = _rgb(48, 58, 72), _rgb(28, 28, 30), _rgb(170, 170, 175), _rgb(255, 240, 170)
_LEAVES, _TRUNK, _TROUSERS = _rgb(60, 120, 55), _rgb(96, 70, 50), _rgb(40, 40, 70)


@dataclass(frozen=True)
class SceneOptions:
    """Number of scenes (by default 400 in ``train``, 80 in ``val`` and ``test``), their size (H, W), and seed."""

    count: int | None = None
    size: tuple[int, int] = (96, 128)
    seed: int = 0


class Scenes:
    """One split of ``scenes``; no two splits share random numbers.

    >>> scenes = Scenes("val", SceneOptions(size=(48, 64)))
    >>> sample = scenes.load(3)
    >>> sample.name, sample.image.shape, sample.label.dtype
    ('val-00003', (48, 64, 3), dtype('uint8'))
    """

    name = format = "scenes"
    classes = CLASSES
    palette = PALETTE
    ignore_label = IGNORE_LABEL

    def __init__(self, split: str, options: SceneOptions, size: tuple[int, int] | None = None) -> None:
        if split not in SPLITS:
            raise DataError(f"scenes have no split {split!r}: choose from {', '.join(SPLITS)}.")
        self.split = split
        self.seed = options.seed
        self.size = size or options.size
        self.count = (400 if split == "train" else 80) if options.count is None else options.count
        if self.count < 1 or min(self.size) < 1:
            raise DataError(f"scenes need at least one image and one pixel, got {self.count} of {self.size}.")

    def __len__(self) -> int:
        return self.count

    def name_of(self, index: int) -> str:
        return f"{self.split}-{index:05d}"

    def load(self, index: int) -> Sample:
        rng = stream("scenes", self.seed, SPLITS.index(self.split), index)
        return Sample(*draw_scene(rng, self.size, evening=index % 2 == 1), self.name_of(index))


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], evening: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image ``(H, W, 3)`` and its labels ``(H, W)``, both uint8.

    ``evening`` changes the colours of the sky and the class of the asphalt, and nothing else.
    """
    canvas = Canvas(size)
    ground = PLAZA if evening else ROAD
    kerb = rng.uniform(0.66, 0.72)
    _draw_sky(canvas, rng, _EVENING if evening else _DAY)
    _draw_houses(canvas, rng, kerb)
    _draw_ground(canvas, rng, kerb, ground)
    _draw_trees(canvas, rng, kerb)
    _draw_traffic(canvas, rng, kerb, ground)
    light = rng.uniform(0.85, 1.1)
    image = (canvas.image + _texture(canvas.label, rng)) * np.float32(light)
    return np.clip(image, 0, 255).astype(np.uint8), canvas.label


def _draw_sky(canvas: Canvas, rng: np.random.Generator, colours: np.ndarray) -> None:
    top, bottom = colours + rng.uniform(-15, 15, 3).astype(np.float32)
    down = (np.arange(canvas.height, dtype=np.float32) / (0.3 * canvas.height))[:, None, None]
    canvas.image[:] = top + (bottom - top) * np.minimum(down, 1)
    for y, x, radius in rng.uniform((0.0, 0, 0.02), (0.14, canvas.aspect, 0.04), (3, 3)):
        canvas.ellipse(y, x, radius, 4 * radius, bottom * np.float32(0.5) + np.float32(127), SKY)


def _draw_houses(canvas: Canvas, rng: np.random.Generator, kerb: float) -> None:
    """A closed row of roofs between 0.13 and 0.25 of the height: no gap lets the sky through."""
    count = int(rng.integers(4, 7))
    corners = (np.arange(count + 1) + np.append(rng.uniform(-0.25, 0.25, count), 0)) * canvas.aspect / count
    corners[0] = 0
    for left, right in pairwise(corners):
        eaves = rng.uniform(0.17, 0.25)
        paint = _PAINT[rng.integers(len(_PAINT))]
        if rng.random() < 0.6:
            half = (right - left) / 2
            roof = paint * np.float32(0.6)
            canvas.trapezoid(eaves - 0.04, eaves, (left + right) / 2, half * 0.7, half, roof, BUILDING)
        canvas.box(eaves, left, kerb, right, paint, BUILDING)
        canvas.shade(eaves, right - 0.01, kerb, right, 0.75)
        glass = _GLASS + rng.uniform(0, 150, 3).astype(np.float32) * (rng.random() < 0.3)
        columns, rows = int(rng.integers(2, 4)), int(rng.integers(3, 5))
        across, down = (right - left) / columns, (kerb - 0.14 - eaves) / rows
        for row in range(rows):
            for column in range(columns):
                y, x = eaves + (row + 0.3) * down, left + (column + 0.28) * across
                canvas.box(y, x, y + 0.5 * down, x + 0.44 * across, glass, BUILDING)
        door = left + rng.uniform(0.1, 0.7) * (right - left)
        canvas.box(kerb - 0.12, door, kerb, door + 0.06, paint * np.float32(0.45), BUILDING)


def _draw_ground(canvas: Canvas, rng: np.random.Generator, kerb: float, ground: int) -> None:
    """Pavement of slabs in front of the houses, asphalt with a dashed line from there to the lower edge."""
    edge = kerb - 0.08
    canvas.box(edge, 0, kerb, canvas.aspect, _SLABS, PAVEMENT)
    for x in np.arange(rng.uniform(0, 0.08), canvas.aspect, 0.08):
        canvas.shade(edge, x, kerb, x + 0.012, 0.8)
    canvas.shade(kerb - 0.012, 0, kerb, canvas.aspect, 0.7)
    canvas.box(kerb, 0, 1, canvas.aspect, _ASPHALT + np.float32(rng.uniform(-12, 12)), ground)
    line = rng.uniform(kerb + 0.1, 0.9)
    for x in np.arange(rng.uniform(-0.2, 0), canvas.aspect, 0.3):
        canvas.box(line, x, line + 0.016, x + 0.16, _LINE, ground)


def _draw_trees(canvas: Canvas, rng: np.random.Generator, kerb: float) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, size = rng.uniform(0, canvas.aspect), rng.uniform(0.09, 0.15)
        top = kerb - 0.03 - rng.uniform(0.9, 1.2) * 2 * size
        green = _LEAVES + rng.uniform(-20, 20, 3).astype(np.float32)
        canvas.box(top, x - 0.012, kerb - 0.02, x + 0.012, _TRUNK, TREE)
        for y_off, x_off, radius in ((0, 0, 1), (0.35, -0.6, 0.7), (0.35, 0.6, 0.7)):
            canvas.ellipse(top + y_off * size, x + x_off * size, radius * size, radius * size, green, TREE)
        canvas.ellipse(top - 0.3 * size, x - 0.25 * size, 0.4 * size, 0.5 * size, green * np.float32(1.2), TREE)


def _draw_traffic(canvas: Canvas, rng: np.random.Generator, kerb: float, ground: int) -> None:
    """Cars and people, the far ones first; what stands farther down is nearer, and larger."""
    figures = []
    for _ in range(int(rng.integers(1, 4))):
        near = rng.uniform(0, 1)
        length = 0.08 * (1.1 / 0.08) ** near
        foot = kerb + (1 - kerb) * (0.1 + 0.85 * near)
        figures.append((foot, partial(_draw_car, length=length, ground=ground)))
    for _ in range(int(rng.integers(2, 5))):
        near = rng.uniform(0, 1)
        foot = kerb - 0.03 + (1 - kerb) * near
        figures.append((foot, partial(_draw_person, height=0.2 + 0.3 * near)))
    for foot, draw in sorted(figures, key=lambda figure: figure[0]):
        draw(canvas, rng, foot=foot, x=rng.uniform(0, canvas.aspect))


def _draw_car(
    canvas: Canvas, rng: np.random.Generator, foot: float, x: float, length: float, ground: int
) -> None:
    paint = _PAINT[rng.integers(len(_PAINT))]
    half, wheel = length / 2, 0.09 * length
    waist = foot - 0.24 * length
    canvas.ellipse(foot, x, 0.04 * length, 1.05 * half, _ASPHALT * np.float32(0.5), ground)
    canvas.trapezoid(foot - 0.40 * length, waist, x, 0.5 * half, 0.8 * half, paint, CAR)
    canvas.trapezoid(foot - 0.37 * length, waist, x - 0.22 * half, 0.16 * half, 0.3 * half, _GLASS, CAR)
    canvas.trapezoid(foot - 0.37 * length, waist, x + 0.3 * half, 0.16 * half, 0.28 * half, _GLASS, CAR)
    canvas.box(waist, x - half, foot - 0.06 * length, x + half, paint, CAR)
    for axle in (x - 0.6 * half, x + 0.6 * half):
        canvas.ellipse(foot - wheel, axle, wheel, wheel, _TYRE, CAR)
        canvas.ellipse(foot - wheel, axle, 0.5 * wheel, 0.5 * wheel, _HUB, CAR)
    canvas.box(waist + 0.03 * length, x + 0.9 * half, waist + 0.08 * length, x + half, _LAMP, CAR)


def _draw_person(canvas: Canvas, rng: np.random.Generator, foot: float, x: float, height: float) -> None:
    skin = _SKIN[rng.integers(len(_SKIN))]
    coat = _COATS[rng.integers(len(_COATS))]
    wide = 0.18 * height
    canvas.box(foot - 0.45 * height, x - 0.8 * wide, foot, x - 0.1 * wide, _TROUSERS, PERSON)
    canvas.box(foot - 0.45 * height, x + 0.1 * wide, foot, x + 0.8 * wide, _TROUSERS, PERSON)
    canvas.trapezoid(foot - 0.82 * height, foot - 0.38 * height, x, wide, 1.1 * wide, coat, PERSON)
    canvas.ellipse(foot - 0.89 * height, x, 0.11 * height, 0.1 * height, skin, PERSON)


def _texture(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness to add, ``(H, W, 1)``: noise by pixel and by block, as coarse or fine as the class is."""
    height, width = label.shape
    block = max(1, height // 32)
    blocks = rng.random((height // block + 1, width // block + 1), dtype=np.float32) - np.float32(0.5)
    coarse = blocks.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    fine = rng.random((height, width), dtype=np.float32) - np.float32(0.5)
    return (coarse * _BLOCKS[label] + fine * _GRAIN[label])[..., None]
