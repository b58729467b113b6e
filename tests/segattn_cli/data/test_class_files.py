"""Lists of classes as tools write them, and that a folder's own list is believed over its layout's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import open_dataset
from segattn_cli.data.class_files import (
    CLASS_FILES,
    ClassList,
    contradicting_files,
    find_class_file,
    read_class_file,
)
from segattn_cli.data.formats.recognition import mistakes_of
from segattn_cli.errors import DataError

IGNORED = {255: 255}


def read(tmp_path: Path, name: str, content: str | bytes) -> ClassList:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    return read_class_file(tmp_path / name)


#: File and content → names, class of each value but 255, value of each colour.
LISTS: dict[str, tuple[str, str | bytes, tuple[str, ...], dict[int, int], dict[Any, int]]] = {
    "lines": ("classes.txt", "sky\nroad\n", ("sky", "road"), {0: 0, 1: 1}, {}),
    "UTF-16": ("classes.txt", "sky\nroad\n".encode("utf-16"), ("sky", "road"), {0: 0, 1: 1}, {}),
    "a void class": ("classes.txt", "sky\nVoid\nway 1 2 3\n", ("sky", "way"), {0: 0, 1: 255, 2: 1}, {(1, 2, 3): 2}),
    "labelme": ("labels.txt", "__ignore__\n_background_\ncar\n", ("_background_", "car"), {0: 0, 1: 1}, {}),
    "CamVid on Kaggle": (
        "class_dict.csv", "name, r, g, b\nsky, 128, 128, 128\nroad, 128, 64, 128\n", ("sky", "road"), {0: 0, 1: 1},
        {(128, 128, 128): 0, (128, 64, 128): 1},
    ),
    "the same as text": (
        "classes.txt", "name,r,g,b\nsky,128,128,128\nroad,128,64,128\n", ("sky", "road"), {0: 0, 1: 1},
        {(128, 128, 128): 0, (128, 64, 128): 1},
    ),
    "a name with a comma": (
        "class_dict.csv", 'name,r,g,b\n"sky, clear",1,1,1\nroad,2,2,2\n', ("sky, clear", "road"), {0: 0, 1: 1},
        {(1, 1, 1): 0, (2, 2, 2): 1},
    ),
    "Roboflow": ("_classes.csv", "Pixel Value, Class\n0, sky\n2, road\n", ("sky", "road"), {0: 0, 2: 1}, {}),
    "CVAT": (
        "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar: red:250,50,83::\n",
        ("background", "car: red"), {0: 0, 1: 1}, {(0, 0, 0): 0, (250, 50, 83): 1},
    ),
    "Datumaro": ("label_colors.txt", "0 0 0 sky\n1 2 3 the road\n", ("sky", "the road"), {0: 0, 1: 1},
                 {(0, 0, 0): 0, (1, 2, 3): 1}),
    "values before names": ("classes.txt", "2 car\n0 sky\n1 way\n", ("sky", "way", "car"), {0: 0, 1: 1, 2: 2}, {}),
    "values and colons, from 1": ("classes.txt", "1: sky\n2: way\n", ("sky", "way"), {1: 0, 2: 1}, {}),
    "values with a gap": ("classes.txt", "0 sky\n255 void\n7 way\n", ("sky", "way"), {0: 0, 7: 1}, {}),
    "values, names and colours": (
        "classes.txt", "1 way 1 2 3\n0 sky 4 5 6\n", ("sky", "way"), {0: 0, 1: 1}, {(4, 5, 6): 0, (1, 2, 3): 1},
    ),
    "values, colours and names": (
        "classes.txt", "1 1 2 3 way\n0 4 5 6 sky\n", ("sky", "way"), {0: 0, 1: 1}, {(4, 5, 6): 0, (1, 2, 3): 1},
    ),
    "values behind names": ("classes.txt", "car 2\nsky 0\nway 1\n", ("sky", "way", "car"), {0: 0, 1: 1, 2: 2}, {}),
    "values behind colons": ("classes.txt", "the way: 1\nsky: 0\n", ("sky", "the way"), {0: 0, 1: 1}, {}),
    "names that differ in a number": ("classes.txt", "lane 1\nlane 0\n", ("lane 1", "lane 0"), {0: 0, 1: 1}, {}),
    "a header between tabs": ("classes.txt", "id\tname\n2\ta sky\n5\tway\n", ("a sky", "way"), {2: 0, 5: 1}, {}),
    "a header between semicolons": ("classes.csv", "\nid;name\n2;sky\n1;way\n", ("sky", "way"), {2: 0, 1: 1}, {}),
    "a header between blanks": (
        "classes.txt", "id name r g b\n1 the way 1 2 3\n0 sky 4 5 6\n", ("sky", "the way"), {0: 0, 1: 1},
        {(4, 5, 6): 0, (1, 2, 3): 1},
    ),
    "a header of one word": ("classes.txt", "Class\nsky\nway\n", ("sky", "way"), {0: 0, 1: 1}, {}),
    "a header with more columns": (
        "classes.csv", "class_id,class_name,parts\n1,way,\n0,sky,2\n", ("way", "sky"), {1: 0, 0: 1}, {},
    ),
    "values called label": ("classes.txt", "label,class\n1,way\n0,sky\n", ("way", "sky"), {1: 0, 0: 1}, {}),
    "a class that is no header": ("classes.txt", "class b\nclass c\n", ("class b", "class c"), {0: 0, 1: 1}, {}),
    "numbers that are names": ("classes.txt", "50 km/h\n80 km/h\n", ("50 km/h", "80 km/h"), {0: 0, 1: 1}, {}),
    "names in JSON": ("classes.json", '["sky", "road"]', ("sky", "road"), {0: 0, 1: 1}, {}),
    "values to names": ("id2label.json", '{"1": "road", "0": "sky"}', ("sky", "road"), {0: 0, 1: 1}, {}),
    "names to values": ("label_map.json", '{"sky": 0, "road": 7}', ("sky", "road"), {0: 0, 7: 1}, {}),
    "Supervisely's machine masks": (
        "obj_class_to_machine_color.json", '{"cat": [1, 1, 1], "neutral": [0, 0, 0]}', ("neutral", "cat"),
        {0: 0, 1: 1}, {},
    ),
    "Supervisely's project": (
        "meta.json", '{"classes": [{"title": "cat", "color": "#FF0010"}, {"title": "dog", "color": "#00FF10"}]}',
        ("cat", "dog"), {0: 0, 1: 1}, {(255, 0, 16): 0, (0, 255, 16): 1},
    ),
    "a colour of two classes": ("classes.txt", "a 1 1 1\nb 1 1 1\nc 2 2 2\n", ("a", "b", "c"), {0: 0, 1: 1, 2: 2},
                                {(2, 2, 2): 2}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "names", "values", "colours"), LISTS.values(), ids=LISTS)
def test_what_tools_write(
    tmp_path: Path, name: str, content: str, names: tuple[str, ...], values: dict[int, int], colours: dict[Any, int]
) -> None:
    classes = read(tmp_path, name, content)
    assert classes.names == names
    assert classes.values == IGNORED | values
    assert classes.colours == colours
    assert classes.palette.shape == (len(names), 3)
    assert find_class_file(tmp_path) == tmp_path / name


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("classes.json", "[[1], [2]]", "lists something without a name"),
        ("classes.json", '{"a": "b"}', "which is no value, name or colour"),
        ("classes.json", "3", "is no list of classes"),
        ("classes.json", "[" * 100_000, "is not JSON"),
        ("classes.json", '{"a": 1, "b": 300}', "gives 'b' the value 300"),
        ("classes.json", '{"a": 1, "b": 1}', "names the value 1 twice"),
        ("class_dict.csv", "sky,1,1,1\n", "has no header"),
        ("class_dict.csv", "r,g,b\n1,2,3\n", "has no column with the names"),
        ("class_dict.csv", "name,r,g,b\nsky,1,x,2\n", "has a row 2 that is not like its header"),
        ("classes.txt", "Straße\nWüste\n".encode("latin-1"), "is not text in UTF-8"),
        ("classes.txt", "sky\nroad\n".encode("utf-16-le"), r"is not text in UTF-8 \(byte 1 is 0x00\)"),
        ("classes.txt", "sky\x1b[31m\nroad\n", "control characters in the name 'sky"),
        ("classes.txt", "sky, road, car\n", "names 1 class: .* Write each on a line of its own"),
        ("classes.txt", "0 sky\n0 road\n1 car\n", "names the value 0 twice"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, name, content)


def test_lists_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "class_names.txt").write_text("sky\nroad\n")
    (tmp_path / "labels.txt").write_text("road\nsky\n")
    (tmp_path / "meta.json").write_text('{"classes": [{"title": "road"}, {"title": "sky"}]}')
    (tmp_path / "classes.json").write_text("neither JSON nor a list")
    classes = read(tmp_path, "classes.txt", "0 sky\n1 road\n")
    assert contradicting_files(classes) == [tmp_path / "labels.txt"]


@pytest.fixture
def ade(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Four classes of one's own in the folders of ADE20K."""
    mask = np.random.default_rng(0).integers(0, 4, (6, 8)).astype(np.uint8)
    for split in ("training", "validation"):
        for folder, array in (("images", np.stack([mask * 20] * 3, -1)), ("annotations", mask)):
            (tmp_path / folder / split).mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / folder / split / "x.png")
    return tmp_path, mask


@pytest.mark.parametrize("name", CLASS_FILES)
def test_a_folders_own_list_is_believed_over_its_layouts(ade: tuple[Path, np.ndarray], name: str) -> None:
    root, mask = ade
    names = ("background", "crack", "spall", "rust")
    forms: dict[str, Callable[[], str]] = {
        ".txt": lambda: "".join(f"{each}\n" for each in names),
        ".csv": lambda: "value,name\n" + "".join(f"{value},{each}\n" for value, each in enumerate(names)),
        ".json": lambda: str([*names]).replace("'", '"'),
    }
    (root / name).write_text(forms[Path(name).suffix]())
    dataset = open_dataset(root)
    assert dataset.format == "ade20k"
    assert dataset.classes == names
    np.testing.assert_array_equal(dataset.load(0).label, mask)
    (root / name).unlink()
    with pytest.raises(DataError, match=r"ade20k, but no file is called as there .* write a classes.txt"):
        open_dataset(root)
    insisted = open_dataset(root, format="ade20k")
    np.testing.assert_array_equal(insisted.load(0).label, np.where(mask, mask - 1, 255))
    assert "No file is called as in the data set" in mistakes_of(insisted)[0]


def test_cvats_masks_in_colour_in_the_folders_of_voc(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (6, 8)).astype(np.uint8)
    palette = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
    for folder, array in (("JPEGImages", np.stack([mask * 20] * 3, -1)), ("SegmentationClass", palette[mask])):
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / ("x.jpg" if folder == "JPEGImages" else "x.png"))
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("x\n")
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb\nbg:0,0,0::\na:250,50,83::\nb:51,221,255::\n")
    dataset = open_dataset(tmp_path, split="default")
    assert dataset.classes == ("bg", "a", "b")
    np.testing.assert_array_equal(dataset.load(0).label, mask)


def test_a_name_that_no_table_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(f"sky\n{'x' * 200}\n")
    assert len(read_class_file(path).names) == 2
    path.write_text(f"sky\n{'x' * 3000}\n")
    with pytest.raises(DataError, match="names a class by 3,000 letters: at most 200 are read"):
        read_class_file(path)


def test_a_cell_that_is_too_long_for_a_table(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(f"name,value\n{'x' * 200_000},1\n")
    with pytest.raises(DataError, match=r"classes\.csv is no table that can be read \(field larger"):
        read_class_file(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "classes.txt")
    with pytest.raises(DataError, match=r"is a folder, a pipe or a device"):
        read_class_file(tmp_path / "classes.txt")


def test_half_a_character_is_no_name(tmp_path: Path) -> None:
    """JSON can hold it, and no file can: the page at the end of a training could not be written."""
    path = tmp_path / "classes.json"
    path.write_text('["sky", "ro\\ud800ad"]')
    with pytest.raises(DataError, match="has control characters in the name"):
        read_class_file(path)
