"""Coloured masks with a list of their colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.errors import DataError

COLOURS = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
LABEL = np.array([[0, 0, 1, 1, 2, 2]] * 3 + [[2] * 6], np.uint8)
LIST = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\nroad:51,221,255::\n"


def write_mask(path: Path, mode: str = "RGB", label: np.ndarray = LABEL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(COLOURS[label])
    if mode == "P":
        mask = Image.fromarray(2 - label)  # indices are not the classes
        mask.putpalette(COLOURS[::-1].tobytes())
    mask.convert(mode).save(path)


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save(image, mask, …)``: an image, its mask, and a list of colours, in a source."""

    def run(
        image: str = "images/a.jpg", mask: str = "masks/a.png", name: str = "labelmap.txt", text: str = LIST
    ) -> Path:
        source = tmp_path / "source"
        save_image(source / image)
        write_mask(source / mask)
        (source / name).write_text(text)
        return source

    return run


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("JPEGImages/a.jpg", "SegmentationClass/a.png"), ("images/train/a.jpg", "masks/train/a.png"),
        ("train/images/a.jpg", "train/labels/a.png"), ("train/a.jpg", "trainannot/a.png"),
        ("train/a.png", "train_labels/a_L.png"), ("train/a.jpg", "train/a_mask.png"), ("a.jpg", "masks/a.png"),
        ("images/a.jpg", "masks/a_mask.png"), ("default/a.jpg", "defaultannot/a.png"),
    ],
)  # fmt: skip
def test_layouts(save: Callable, import_from: Callable, image: str, mask: str) -> None:
    imported = import_from(save(image, mask))
    assert imported.plan.format == "colours"
    assert imported.classes == ("background", "car", "road")
    np.testing.assert_array_equal(imported.labels["a"], LABEL)
    assert not imported.notes.left_out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", LIST), ("classes.txt", "background: 0, 0, 0\ncar: 250, 50, 83\nroad 51 221 255\n"),
        ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\ncar,250,50,83\nroad,51,221,255\n"),
        ("label_colors.txt", "0 0 0 background\n250 50 83 car\n51 221 255 road\n"),
    ],
)  # fmt: skip
def test_lists(save: Callable, import_from: Callable, name: str, text: str) -> None:
    imported = import_from(save(name=name, text=text))
    np.testing.assert_array_equal(imported.labels["a"], LABEL)
    np.testing.assert_array_equal(imported.plan.classes.palette, COLOURS)


def test_a_list_that_is_given(save: Callable, import_from: Callable, tmp_path: Path) -> None:
    source = save()
    (source / "labelmap.txt").unlink()
    (tmp_path / "list.txt").write_text("road 51 221 255\nnothing 0 0 0\ncar 250 50 83\n")
    imported = import_from(source, format="colours", classes=tmp_path / "list.txt")
    assert imported.classes == ("road", "nothing", "car")
    np.testing.assert_array_equal(imported.labels["a"], np.array([1, 2, 0])[LABEL])


def test_colours_of_a_palette_count_and_not_its_indices(save: Callable, import_from: Callable) -> None:
    source = save()
    write_mask(source / "masks" / "a.png", "P")
    np.testing.assert_array_equal(import_from(source).labels["a"], LABEL)


def test_void_becomes_255(save: Callable, import_from: Callable) -> None:
    imported = import_from(save(text=LIST.replace("road", "void").replace("background", "sky")))
    assert imported.classes == ("sky", "car")
    np.testing.assert_array_equal(imported.labels["a"], np.array([0, 1, 255])[LABEL])


def test_lists_of_cvat_are_splits(save: Callable, import_from: Callable) -> None:
    source = save("JPEGImages/a.jpg", "SegmentationClass/a.png")
    save("JPEGImages/my b.jpg", "SegmentationClass/my b.png")
    lists = source / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "Train.txt").write_text("my b\n")
    (lists / "Validation.txt").write_text("a\n")
    assert import_from(source).splits == {"a": "val", "my b": "train"}


def test_what_has_no_partner_is_counted(save: Callable, import_from: Callable, save_image: Callable) -> None:
    source = save()
    write_mask(source / "masks" / "c.png")
    save_image(source / "images" / "b.png")
    imported = import_from(source)
    assert imported.noted("masks without an image").places == ["masks/c.png"]
    assert imported.noted("nobody has annotated").places == ["images/b.png"]


def test_unknown_colours_are_refused_with_their_counts(
    save: Callable, import_from: Callable, tmp_path: Path
) -> None:
    source = save(text=LIST.replace("51,221,255", "1,2,3"))
    save("images/b.jpg", "masks/b.png", text=LIST.replace("51,221,255", "1,2,3"))
    with pytest.raises(DataError, match=r"\(51, 221, 255\) on 24 pixels, first in \S+masks/a.png"):
        import_from(source)
    assert not list((tmp_path / "out").rglob("*.png"))


class TestMasksThatCannotBeUsed:
    def test_of_another_size(self, save: Callable, import_from: Callable) -> None:
        source = save()
        write_mask(source / "masks" / "a.png", label=LABEL[:2])
        with pytest.raises(DataError, match=r"a.jpg is 6×4, but its annotation was made for 6×2"):
            import_from(source)

    def test_jpeg(self, save: Callable, import_from: Callable) -> None:
        with pytest.raises(DataError, match=r"a.jpg is a JPEG, which blurs colours"):
            import_from(save(mask="masks/a.jpg"))

    def test_more_bits(self, save: Callable, import_from: Callable) -> None:
        source = save()
        Image.fromarray(LABEL.astype(np.uint16)).save(source / "masks" / "a.png")
        with pytest.raises(DataError, match=r"another kind than 8-bit colours \(mode I;16\)"):
            import_from(source)

    def test_transparent(self, save: Callable, import_from: Callable) -> None:
        source = save()
        path = source / "masks" / "a.png"
        image = Image.open(path).convert("RGBA")
        image.save(path)
        np.testing.assert_array_equal(import_from(source).labels["a"], LABEL)
        image.putpixel((0, 0), (51, 221, 255, 0))
        image.save(path)
        with pytest.raises(DataError, match=r"a.png has transparent pixels"):
            import_from(source)

    def test_turned_by_exif(self, save: Callable, import_from: Callable, save_image: Callable) -> None:
        source = save()
        save_image(source / "masks" / "a.png", orientation=6)
        with pytest.raises(DataError, match=r"a.png is a mask that its EXIF tag turns"):
            import_from(source)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("background\ncar\nroad\n", "labelmap.txt has no colour for 'background'"),
        ("a:1,2,3::\nb:1,2,3::\n", "gives one colour to several classes"),
        ("a:1,2,3::\na:4,5,6::\n", "names the class 'a' twice"),
        ("a:1,2,300::\nb:4,5,6::\n", "values go from 0 to 255"),
    ],
)
def test_lists_that_cannot_be_used(save: Callable, import_from: Callable, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        import_from(save(text=text), format="colours")
