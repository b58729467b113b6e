from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segattn_cli.data.images import read_image
from segattn_cli.data.palettes import VOID_COLOUR
from segattn_cli.errors import OutputError
from segattn_cli.pictures import (
    SMALL,
    draw_confusion,
    draw_curves,
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


def test_a_legend_names_what_is_there_with_its_share_the_largest_first() -> None:
    label = np.array([[2, 2, 2, 255], [2, 2, 0, 0]], np.uint8)
    entries = legend_entries([label], PALETTE, CLASSES, shares=True)
    assert [(entry.name, entry.share) for entry in entries] == [
        ("tree", 5 / 8),
        ("sky", 2 / 8),
        ("void", 1 / 8),
    ]
    assert [entry.colour for entry in entries] == [(0, 158, 115), (230, 159, 0), VOID_COLOUR]
    assert [entry.name for entry in legend_entries([label, label], PALETTE, CLASSES)] == [
        "sky",
        "tree",
        "void",
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


def events(path: Path, steps: int, *, gates: bool, scales: bool, parts: tuple[str, ...]) -> Path:
    lines: list[dict[str, Any]] = [{"event": "started", "steps": steps}]
    for step in range(1, steps + 1):
        losses = dict.fromkeys(parts, 2.0 / step)
        lines.append(
            {
                "event": "step",
                "step": step,
                "epoch": step / 10,
                "loss": sum(losses.values()),
                "parts": losses,
                "learning_rate": 0.01 / step,
                "gates": {"head.position.gate": 0.01 * step} if gates else {},
                "scale_weights": [0.7, 0.3] if scales else None,
            }
        )
        if step % 10 == 0:
            lines.append(
                {"event": "validated", "step": step, "epoch": step / 10, "miou": 0.5, "pixel_accuracy": 0.8}
            )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("steps", "gates", "scales"), [(0, False, False), (1, False, False), (45, True, False), (45, True, True)]
)
def test_curves_of_any_training(tmp_path: Path, steps: int, gates: bool, scales: bool) -> None:
    parts = ("main", "position") if gates else ("main",)
    path = events(tmp_path / "events.jsonl", steps, gates=gates, scales=scales, parts=parts)
    draw_curves(path, tmp_path / "curves.png", scales=(1.0, 0.5))
    picture = read_image(tmp_path / "curves.png")
    second_line = (np.abs(picture.astype(int) - (213, 94, 0)) < 8).all(-1)  # Okabe and Ito's vermilion
    assert second_line.any() == (gates or scales or steps >= 10)
    lower_right = second_line[picture.shape[0] // 2 :, 2 * picture.shape[1] // 3 :]
    assert lower_right.any() == scales  # the weight of the second scale


def test_a_confusion_matrix_shows_shares_of_the_true_class(tmp_path: Path) -> None:
    matrix = np.array([[5, 5, 0], [0, 80, 0], [0, 0, 0]])
    draw_confusion(matrix, CLASSES, tmp_path / "confusion.png")
    picture = read_image(tmp_path / "confusion.png").reshape(-1, 3).astype(int)

    def cells(colour: tuple[int, int, int]) -> int:
        return int((np.abs(picture - colour).max(-1) <= 3).sum())

    cell = cells((226, 226, 222)) / 3  # the row of a class that is not in the truth
    assert cell > 5000
    # cividis at 50, 100 and 0 %; numbers cover a little
    for colour, expected in (((124, 123, 120), 2), ((253, 231, 55), 1), ((0, 34, 77), 3)):
        assert cells(colour) / cell == pytest.approx(expected, abs=0.2)


def test_the_cells_of_many_classes_hold_no_numbers(tmp_path: Path) -> None:
    for count in (30, 31):
        draw_confusion(np.eye(count, dtype=int), [""] * count, tmp_path / f"{count}.png")
    crowded, empty = (read_image(tmp_path / f"{count}.png")[:600, :600] for count in (30, 31))
    assert len(np.unique(crowded.reshape(-1, 3), axis=0)) > 2 * len(np.unique(empty.reshape(-1, 3), axis=0))


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"confusion\.png cannot be written"):
        draw_confusion(np.eye(3, dtype=int), CLASSES, tmp_path / "nowhere" / "confusion.png")
