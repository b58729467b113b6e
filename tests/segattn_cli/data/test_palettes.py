from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import colourise, default_palette, read_image, read_mask, write_label_png
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.palettes import IGNORED_COLOUR, OKABE_ITO
from segattn_cli.errors import OutputError

VOC = known_classes("voc").palette
PALETTE = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
LABEL = np.array([[0, 1, 255], [1, 1, 7]], np.uint8)


def test_colours_of_classes_and_of_void() -> None:
    wanted = [[(255, 0, 0), (0, 255, 0), IGNORED_COLOUR], [(0, 255, 0), (0, 255, 0), IGNORED_COLOUR]]
    np.testing.assert_array_equal(colourise(LABEL, PALETTE), wanted)


def test_viewers_see_colours_and_programs_indices(tmp_path: Path) -> None:
    write_label_png(tmp_path / "m.png", LABEL, PALETTE)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), LABEL)
    np.testing.assert_array_equal(read_image(tmp_path / "m.png"), colourise(LABEL, PALETTE))
    with Image.open(tmp_path / "m.png") as mask:
        assert (mask.mode, mask.size) == ("P", (3, 2))


def test_labels_of_a_network_are_wider_than_bytes(tmp_path: Path) -> None:
    write_label_png(tmp_path / "m.png", LABEL.astype(np.int64), PALETTE)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), LABEL)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/m.png cannot be written: No such file or directory"):
        write_label_png(tmp_path / "missing" / "m.png", LABEL, PALETTE)


@pytest.mark.parametrize("count", [1, 3, 8, 21, 255])
def test_default_colours_all_differ(count: int) -> None:
    palette = default_palette(count)
    assert palette.shape == (count, 3)
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == count
    np.testing.assert_array_equal(palette[:8], OKABE_ITO[:count])
    np.testing.assert_array_equal(default_palette(255)[:count], palette)


def nearest_two(palette: np.ndarray) -> float:
    """How far the two nearest colours are apart for a deuteranope (Machado et al., 2009), of 255 in one channel."""
    deuteranopia = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    seen = 255 * np.clip((palette / 255) ** 2.2 @ deuteranopia.T, 0, 1) ** (1 / 2.2)
    return np.abs(seen[:, None] - seen).max(-1)[np.triu_indices(len(palette), 1)].min()


def test_default_colours_are_far_apart_for_a_colour_blind_eye() -> None:
    assert nearest_two(default_palette(8)) > 40
    assert nearest_two(default_palette(32)) > 15  # 9 where only a normal eye is thought of
    assert nearest_two(VOC) < 5
