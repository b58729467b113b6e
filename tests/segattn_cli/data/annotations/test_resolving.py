"""Photographs that their EXIF tag turns: annotations are drawn before or after, and their sizes tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data.annotations.image_facts import image_facts
from segattn_cli.data.images import read_image
from segattn_cli.errors import DataError

TALL, WIDE = (6, 4), (4, 6)  # H, W: what is stored is wide


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save({name: (stored size, orientation, annotated size)})``: COCO with a pixel at the top left of each."""

    def run(images: dict[str, tuple[tuple[int, int], int, tuple[int, int]]]) -> Path:
        source = tmp_path / "source"
        entries, objects = [], []
        for number, (name, (stored, orientation, (height, width))) in enumerate(images.items()):
            save_image(source / name, stored, orientation)
            entries.append({"id": number, "file_name": name, "height": height, "width": width})
            corner = [0, 0, 1, 0, 1, 1, 0, 1]
            objects.append({"id": number, "image_id": number, "category_id": 1, "segmentation": [corner]})
        document = {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "a"}]}
        (source / "labels.json").write_text(json.dumps(document))
        return source

    return run


def corner(label: np.ndarray) -> tuple[int, int]:
    (place,) = np.argwhere(label)
    return tuple(place.tolist())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_label_maps_turn_as_images_do(tmp_path: Path, save_image: Callable, orientation: int, suffix: str) -> None:
    plain = save_image(tmp_path / f"1{suffix}", WIDE, 1)
    turned = save_image(tmp_path / f"2{suffix}", WIDE, orientation)
    facts = image_facts(turned)
    assert facts.size == WIDE
    assert facts.upright_size == read_image(turned).shape[:2]
    np.testing.assert_array_equal(facts.turned(read_image(plain)[..., 0]), read_image(turned)[..., 0])


def test_drawn_on_what_a_screen_shows(save: Callable, import_from: Callable) -> None:
    imported = import_from(save({"a.jpg": (WIDE, 6, TALL)}))
    assert imported.labels["a"].shape == TALL
    assert corner(imported.labels["a"]) == (0, 0)
    assert not imported.notes.chosen


def test_drawn_on_stored_pixels(save: Callable, import_from: Callable) -> None:
    imported = import_from(save({"a.jpg": (WIDE, 6, WIDE)}))
    assert imported.labels["a"].shape == TALL
    assert corner(imported.labels["a"]) == (0, 3)
    assert imported.noted("drawn on the stored pixels").count == 1


@pytest.mark.parametrize("orientation", [3, 2, 6])
def test_a_size_that_fits_both_is_what_a_screen_shows(
    save: Callable, import_from: Callable, orientation: int
) -> None:
    size = (5, 5) if orientation == 6 else WIDE
    imported = import_from(save({"a.jpg": (size, orientation, size)}))
    assert corner(imported.labels["a"]) == (0, 0)
    assert imported.noted("sizes do not tell").count == 1


def test_unless_the_other_images_tell(save: Callable, import_from: Callable) -> None:
    images = {"a.jpg": (WIDE, 3, WIDE), "b.jpg": (WIDE, 8, WIDE), "c.jpg": (WIDE, 1, WIDE)}
    imported = import_from(save(images))
    assert corner(imported.labels["a"]) == (3, 5)
    assert corner(imported.labels["b"]) == (5, 0)
    assert corner(imported.labels["c"]) == (0, 0)
    assert imported.noted("drawn on the stored pixels").count == 2


def test_a_size_that_fits_neither_is_refused(save: Callable, import_from: Callable) -> None:
    imported = import_from(save({"a.jpg": (WIDE, 6, (3, 2)), "b.jpg": (WIDE, 1, WIDE)}))
    assert set(imported.labels) == {"b"}
    assert "a.jpg in " in imported.notes.refused[0]
    assert "is 4×6, but its annotation was made for 2×3" in imported.notes.refused[0]


def test_images_that_cannot_be_read_are_refused(save: Callable, import_from: Callable) -> None:
    source = save({"a.jpg": (WIDE, 1, WIDE), "b.jpg": (WIDE, 1, WIDE)})
    (source / "a.jpg").write_bytes(b"no image")
    imported = import_from(source)
    assert set(imported.labels) == {"b"}
    assert "a.jpg" in imported.notes.refused[0]
    assert "is damaged or no image" in imported.notes.refused[0]


def test_nothing_left_is_an_error(save: Callable, import_from: Callable) -> None:
    with pytest.raises(DataError, match=r"nothing to import: a.jpg in \S+ is 6×4, but .* \(and 1 more image\)"):
        import_from(save({"a.jpg": (WIDE, 1, (9, 9)), "b.jpg": (WIDE, 1, (9, 9))}))
