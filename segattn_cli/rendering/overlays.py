"""Overlays of class colours on an image with a legend, and sheets of predictions beside their images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from segattn_cli.data.counting import count_values
from segattn_cli.data.dataset import IGNORE_LABEL
from segattn_cli.data.images import image_png
from segattn_cli.data.palettes import colourise
from segattn_cli.files import write_atomically
from segattn_cli.rendering.fonts import font_for
from segattn_cli.rendering.style import INK, PALE_INK, PAPER, percent

#: Pictures below this size are enlarged for people to see.
SMALL = 360
#: Rows that are blended at a time: in floating point, an image needs many times its own memory.
STRIP = 256


class LegendEntry(NamedTuple):
    colour: tuple[int, int, int]
    name: str
    fraction: float | None = None  # of the pixels


def draw_overlay(
    image: np.ndarray,
    label: np.ndarray,
    palette: np.ndarray,
    classes: Sequence[str],
    *,
    opacity: float = 0.5,
) -> Image.Image:
    """``image`` (H, W, 3) under the colours of ``label`` (H, W), with a legend below.

    The legend names the classes that are present and the fraction of pixels of each, the largest first.
    Where two classes meet, one's colour is drawn at full strength. Small images are enlarged, each pixel to a
    square, until their longer side has at least :data:`SMALL` pixels.
    """
    entries = legend_entries([label], palette, classes, fractions=True)
    enlarged = -(-SMALL // max(label.shape))
    if enlarged > 1:
        image, label = (array.repeat(enlarged, 0).repeat(enlarged, 1) for array in (image, label))
    picture = Image.fromarray(blend(image, label, palette, opacity))
    size = int(np.clip(min(picture.size) / 22, 12, 26))
    legend = draw_legend(entries, max(picture.width, 14 * size), size)
    sheet = Image.new("RGB", (legend.width, picture.height + legend.height), PAPER)
    sheet.paste(picture, ((sheet.width - picture.width) // 2, 0))
    sheet.paste(legend, (0, picture.height))
    return sheet


def blend(image: np.ndarray, label: np.ndarray, palette: np.ndarray, opacity: float) -> np.ndarray:
    """``image`` under the colours of ``label``, with borders between classes at full strength: (H, W, 3) uint8."""
    borders = _borders(label)
    blended = np.empty(image.shape, np.uint8)
    for start in range(0, len(image), STRIP):
        rows = slice(start, start + STRIP)
        strength = np.where(borders[rows], 1, opacity).astype(np.float32)[..., None]
        blended[rows] = np.rint(image[rows] * (1 - strength) + colourise(label[rows], palette) * strength)
    return blended


def draw_predictions(
    rows: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    palette: np.ndarray,
    classes: Sequence[str],
    path: str | Path,
) -> None:
    """A sheet with a row for each (image, truth, prediction), side by side, and a legend: a PNG at ``path``.

    ``image`` is (H, W, 3) uint8, ``truth`` and ``prediction`` are (H, W). Each row says how many of its pixels
    are correct, without ignored ones.
    """
    margin, gap, cell, text = 14, 8, 320, 14
    _, font = font_for("", text)
    rows = list(rows)
    thumbnails = [
        [
            _fitted(image, cell),
            _fitted(colourise(truth, palette), cell),
            _fitted(colourise(prediction, palette), cell),
        ]
        for image, truth, prediction in rows
    ]
    width = 2 * margin + 3 * cell + 2 * gap
    entries = legend_entries([labels for _, *pair in rows for labels in pair], palette, classes)
    legend = draw_legend(entries, width, text)
    caption = text + 14
    height = margin + caption + sum(row[0].height + caption for row in thumbnails) + legend.height
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((margin + column * (cell + gap), margin), title, INK, font)
    top = margin + caption
    for (_, truth, prediction), row in zip(rows, thumbnails, strict=True):
        for column, picture in enumerate(row):
            left = margin + column * (cell + gap) + (cell - picture.width) // 2
            sheet.paste(picture, (left, top))
        top += row[0].height
        draw.text((margin + 3 * cell + 2 * gap, top + 4), _accuracy(truth, prediction), PALE_INK, font, anchor="ra")
        top += caption
    sheet.paste(legend, (0, top))
    write_atomically(Path(path), image_png(sheet))


def legend_entries(
    labels: Sequence[np.ndarray], palette: np.ndarray, classes: Sequence[str], *, fractions: bool = False
) -> list[LegendEntry]:
    """The classes in ``labels``, and ignored pixels if any: by fraction with ``fractions``, else in their order."""
    counts = sum(map(count_values, labels), np.zeros(256, np.int64))
    present = [int(index) for index in np.flatnonzero(counts)]
    if fractions:
        present.sort(key=lambda index: -counts[index])
    total = counts.sum()
    return [
        LegendEntry(
            tuple(colourise(np.array([[index]], np.uint8), palette)[0, 0].tolist()),
            classes[index] if index < len(classes) else "ignored",
            float(counts[index] / total) if fractions else None,
        )
        for index in present
    ]


def draw_legend(entries: Sequence[LegendEntry], width: int, size: int) -> Image.Image:
    """``entries`` as colour chips with names, in lines no longer than ``width``; ``size`` is the text's, in px."""
    margin, chip, line = size, size, round(1.7 * size)
    _, plain = font_for("", size)
    placed = []
    x, y = margin, round(0.7 * size)
    for entry in entries:
        fraction = "" if entry.fraction is None else f"  {percent(entry.fraction)}"
        name, font = font_for(entry.name, size)
        length = chip + 0.5 * size + font.getlength(name) + plain.getlength(fraction)
        if x > margin and x + length > width - margin:
            x, y = margin, y + line
        placed.append((x, y, entry.colour, name, font, fraction))
        x += round(length + 1.4 * size)
    legend = Image.new("RGB", (width, y + line), PAPER)
    draw = ImageDraw.Draw(legend)
    for x, y, colour, name, font, fraction in placed:
        draw.rounded_rectangle((x, y, x + chip, y + chip), size // 4, colour, outline=PALE_INK)
        left, middle = x + 1.5 * size, y + chip / 2
        draw.text((left, middle), name, INK, font, anchor="lm")
        draw.text((left + font.getlength(name), middle), fraction, PALE_INK, plain, anchor="lm")
    return legend


def _borders(label: np.ndarray) -> np.ndarray:
    """Where a pixel's class differs from that of the pixel to its right or below it."""
    border = np.zeros(label.shape, bool)
    border[:, :-1] |= label[:, :-1] != label[:, 1:]
    border[:-1] |= label[:-1] != label[1:]
    return border


def _fitted(image: np.ndarray, cell: int) -> Image.Image:
    """``image`` resized to fit into a square of ``cell``; pixels are repeated where it grows."""
    height, width = image.shape[:2]
    factor = cell / max(height, width)
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return Image.fromarray(image).resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST)


def _accuracy(truth: np.ndarray, prediction: np.ndarray) -> str:
    labelled = truth != IGNORE_LABEL
    if not labelled.any():
        return "nothing labelled"
    return f"{percent(float((truth == prediction)[labelled].mean()))} of the pixels correct"
