from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.class_files import Entry, class_list
from segattn_cli.data.dataset import FileDataset, Files, Pair, match_masks
from segattn_cli.data.listing import ENDING, HIDDEN, NO_IMAGE, LeftOut, Listing, list_images
from segattn_cli.errors import DataError


@pytest.fixture
def dataset(tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray) -> FileDataset:
    pair = Pair(tmp_path / "x.png", tmp_path / "masks" / "x.png")
    save_pair(*pair, label)
    return FileDataset("name", "folder", "train", class_list("classes.txt", map(Entry, "abc")), Files((pair,)))


def changed(dataset: FileDataset, **fields: object) -> FileDataset:
    return FileDataset(**{**vars(dataset), **fields})  # type: ignore[arg-type]


def test_loads_what_was_saved(dataset: FileDataset, label: np.ndarray) -> None:
    image, got, name = dataset.load(0)
    np.testing.assert_array_equal(got, label)
    np.testing.assert_array_equal(image[..., 1], label * np.uint8(10))
    assert (name, dataset.name_of(0), len(dataset)) == ("x", "x", 1)


def test_relabels_before_it_checks(dataset: FileDataset, label: np.ndarray) -> None:
    two = changed(dataset, class_list=class_list("classes.txt", map(Entry, ("a", "b", "void"))))
    np.testing.assert_array_equal(two.load(0).label, np.where(label == 2, 255, label))


def test_resizes_on_loading(dataset: FileDataset) -> None:
    image, label, _ = changed(dataset, size=(6, 2)).load(0)
    assert image.shape == (6, 2, 3)
    np.testing.assert_array_equal(label, np.repeat([[1, 255], [1, 255], [0, 1]], 2, axis=0))


def test_values_out_of_range_are_named(dataset: FileDataset) -> None:
    with pytest.raises(DataError, match=r"masks/x.png holds the value 2 but there are 2 classes \(0–1, 255"):
        changed(dataset, class_list=class_list("classes.txt", map(Entry, "ab"))).load(0)


def test_a_mask_of_another_size(dataset: FileDataset, save_pair: Callable[..., None], tmp_path: Path) -> None:
    save_pair(tmp_path / "other.png", dataset.pairs[0].mask, np.zeros((2, 9), np.uint8))
    with pytest.raises(DataError, match=r"masks/x.png is 9×2 but its image \S+x.png is 4×3 \(width×height\)"):
        dataset.load(0)


def test_only_images_are_found(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "._a.png", "Thumbs.db"):
        (tmp_path / name).touch()
    listing = list_images(tmp_path)
    assert list(listing.images) == ["a", "b"]
    left_out = [(each.path.name, each.reason) for each in listing.left_out]
    assert left_out == [("._a.png", HIDDEN), ("notes.txt", ENDING)]


def test_two_images_of_one_name(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"a.png and a.jpg have the same name"):
        list_images(tmp_path)


def test_images_without_masks_and_masks_without_images() -> None:
    images = Listing({name: Path("images", f"{name}.png") for name in "abc"}, [])
    masks = Listing({name: Path("masks", f"{name}.png") for name in ("b_mask", "z")}, [])
    files = match_masks(images, masks, Path("masks"))
    assert files.pairs == (Pair(Path("images/b.png"), Path("masks/b_mask.png")),)
    assert files.left_out == (LeftOut(Path("masks/z.png"), NO_IMAGE),)
    with pytest.raises(DataError, match=r"a.png has no mask masks/a.png: add it .* 2 of 3 cannot") as caught:
        files.require_complete()
    assert caught.value.__notes__ == ["images/c.png has no mask masks/c.png: add it or take the image away."]


def test_a_mask_drawn_on_the_stored_pixels_of_a_turned_photo(dataset: FileDataset, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a screen turns it by a quarter
    Image.new("RGB", (4, 3)).save(dataset.pairs[0].image, exif=exif)
    with pytest.raises(DataError, match=r"x.png is 4×3 but .* is 3×4 .* EXIF orientation .* Turn the mask"):
        dataset.load(0)
