from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data.images import read_image
from segattn_cli.data.palettes import IGNORED_COLOUR
from segattn_cli.rendering.overlays import (
    SMALL,
    draw_legend,
    draw_overlay,
    draw_predictions,
    legend_entries,
)

PALETTE = np.array([[230, 159, 0], [86, 180, 233], [0, 158, 115]], np.uint8)
CLASSES = ("sky", "road", "tree")


def two_halves(height: int, width: int) -> np.ndarray:
    """Class 0 above class 2."""
    label = np.zeros((height, width), np.uint8)
    label[height // 2 :] = 2
    return label


@pytest.mark.parametrize("opacity", [0.0, 0.25, 1.0])
def test_an_overlay_blends_picture_and_colours_by_its_opacity(opacity: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 500, 3), np.uint8)
    label = two_halves(400, 500)
    overlay = np.asarray(draw_overlay(image, label, PALETTE, CLASSES, opacity=opacity))[:400, :500]
    expected = image * (1 - opacity) + PALETTE[label] * opacity
    inside = np.ones((400, 500), bool)
    inside[199] = False  # the border between the two classes
    assert np.abs(overlay - expected)[inside].max() <= 0.5 + 1e-4
    assert (overlay[199] == PALETTE[0]).all()


def test_a_small_picture_is_enlarged_and_a_large_one_is_not() -> None:
    small = draw_overlay(np.zeros((96, 128, 3), np.uint8), two_halves(96, 128), PALETTE, CLASSES)
    assert small.width == 384
    assert small.width >= SMALL > 384 - 128
    large = draw_overlay(np.zeros((700, 900, 3), np.uint8), two_halves(700, 900), PALETTE, CLASSES)
    assert large.width == 900
    assert large.height > 700  # the legend


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (900, 3)])
def test_odd_sizes_have_a_legend_too(size: tuple[int, int]) -> None:
    overlay = draw_overlay(np.zeros((*size, 3), np.uint8), np.ones(size, np.uint8), PALETTE, CLASSES)
    assert overlay.width >= size[1]
    assert np.asarray(overlay)[-6:].min() == 248  # paper below the last line of the legend
    assert (np.asarray(overlay) == PALETTE[1]).all(-1).any()


def test_a_legend_names_what_is_there_with_its_fraction_the_largest_first() -> None:
    label = np.array([[2, 2, 2, 255], [2, 2, 0, 0]], np.uint8)
    entries = legend_entries([label], PALETTE, CLASSES, fractions=True)
    assert [(entry.name, entry.fraction) for entry in entries] == [
        ("tree", 5 / 8),
        ("sky", 2 / 8),
        ("ignored", 1 / 8),
    ]
    assert [entry.colour for entry in entries] == [(0, 158, 115), (230, 159, 0), IGNORED_COLOUR]
    assert [entry.name for entry in legend_entries([label, label], PALETTE, CLASSES)] == [
        "sky",
        "tree",
        "ignored",
    ]


def test_a_legend_breaks_into_lines() -> None:
    entries = legend_entries([np.arange(3, dtype=np.uint8)[None]], PALETTE, CLASSES)
    wide, narrow = draw_legend(entries, 600, 14), draw_legend(entries, 120, 14)
    assert wide.width == 600
    assert narrow.width == 120
    assert narrow.height > wide.height
    assert all((np.asarray(narrow) == colour).all(-1).any() for colour in PALETTE)


def test_predictions_are_drawn_side_by_side(tmp_path: Path) -> None:
    image = np.full((160, 320, 3), 77, np.uint8)
    truth = np.full((160, 320), 1, np.uint8)
    truth[0] = 255
    rows = [(image, truth, np.full((160, 320), 2, np.uint8)), (image, truth, truth)]
    draw_predictions(rows, PALETTE, CLASSES, tmp_path / "sheet.png")
    sheet = read_image(tmp_path / "sheet.png")
    row = sheet[100]  # through the first row of pictures
    runs = [row[50], row[400], row[750]]
    assert [colour.tolist() for colour in runs] == [[77, 77, 77], PALETTE[1].tolist(), PALETTE[2].tolist()]
    assert sheet.shape[1] == 2 * 14 + 3 * 320 + 2 * 8
