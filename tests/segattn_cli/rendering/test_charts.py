from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segattn_cli.data.images import read_image
from segattn_cli.errors import OutputError
from segattn_cli.rendering.charts import _moving_mean, draw_confusion, draw_curves

from ..runs.folders import event, step, validated

CLASSES = ("sky", "road", "tree")


@pytest.mark.parametrize(
    ("steps", "gates", "scales"), [(0, False, False), (1, False, False), (45, True, False), (45, True, True)]
)
def test_curves_of_any_training(tmp_path: Path, steps: int, gates: bool, scales: bool) -> None:
    changes: dict[str, Any] = {
        "gates": {"head.position.gate": 0.01} if gates else {}, "scale_weights": [0.7, 0.3] if scales else None,
    }
    done = [event(step(number, epoch=number / 10, **changes)) for number in range(1, steps + 1)]
    validations = [event(validated(number, 0.5, epoch=number / 10)) for number in range(10, steps + 1, 10)]
    if not gates:
        done = [replace(each, parts={"main": each.loss}) for each in done]
    draw_curves(done, validations, tmp_path / "curves.png", scales=(1.0, 0.5))
    picture = read_image(tmp_path / "curves.png")
    second_line = (np.abs(picture.astype(int) - (213, 94, 0)) < 8).all(-1)  # Okabe and Ito's vermilion
    assert second_line.any() == (gates or scales or steps >= 10)
    lower_right = second_line[picture.shape[0] // 2 :, 2 * picture.shape[1] // 3 :]
    assert lower_right.any() == scales  # the weight of the second scale


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_a_smoothed_curve_ends_where_the_curve_does(window: int) -> None:
    values = np.arange(30.0) ** 2
    smooth = _moving_mean(values, window)
    assert smooth.shape == values.shape
    before, after = (window - 1) // 2, window // 2
    for index in (0, 1, 15, 28, 29):
        around = values[max(0, index - before) : index + after + 1]
        assert smooth[index] == pytest.approx(around.mean())


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
