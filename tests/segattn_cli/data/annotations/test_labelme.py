"""LabelMe's JSON, with the image beside it or in it."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.errors import DataError

SQUARE = [[1, 0], [4, 0], [4, 3], [1, 3]]


def shape(label: str = "car", points: Any = SQUARE, kind: str | None = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, **more}


def png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def png_of_size(width: int, height: int) -> str:
    """A PNG that claims a size and has no pixels."""
    parts = b""
    for kind, content in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", b"")):
        parts += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save(shapes, name)``: put ``a.png`` and a document ``name.json`` of these shapes into a source."""

    def run(*shapes: dict[str, Any], name: str = "a", image: bool = True, **changes: Any) -> Path:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        if image:
            save_image(source / f"{name}.png")
        content = {
            "version": "5.4.1", "shapes": shapes, "imagePath": f"{name}.png", "imageData": None, "imageHeight": 4,
            "imageWidth": 6, **changes,
        }  # fmt: skip
        (source / f"{name}.json").write_text(json.dumps(content))
        return source

    return run


class TestShapes:
    def test_later_ones_lie_above(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save(shape(), shape("road", [[0, 0], [6, 0], [6, 2], [0, 2]])))
        assert imported.classes == ("background", "car", "road")
        assert imported.labels["a"].tolist() == [[2] * 6, [2] * 6, [0, 1, 1, 1, 0, 0], [0] * 6]

    def test_rectangles_and_circles(self, save: Callable, import_from: Callable) -> None:
        source = save(shape("box", [[4, 3], [1, 0]], "rectangle"), shape("disc", [[5, 3], [5, 4]], "circle"))
        label = import_from(source).labels["a"]
        assert label.tolist() == [[0, 1, 1, 1, 0, 0]] * 2 + [[0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 2, 2]]

    def test_masks_are_cut_at_the_edges_of_the_image(self, save: Callable, import_from: Callable) -> None:
        mask = np.array([[255, 0, 255], [255, 255, 255]], np.uint8)
        imported = import_from(save(shape(points=[[4, -1], [6, 0]], kind="mask", mask=png(mask))))
        assert imported.labels["a"].tolist() == [[0, 0, 0, 0, 1, 1]] + [[0] * 6] * 3

    def test_points_and_lines_are_counted(self, save: Callable, import_from: Callable) -> None:
        lines = [shape(points=[[0, 0]], kind="point"), shape(points=[[0, 0], [5, 3]], kind="line")]
        imported = import_from(save(shape(), *lines))
        assert imported.noted("points and lines").count == 2

    def test_no_type_is_a_polygon(self, save: Callable, import_from: Callable) -> None:
        assert import_from(save(shape(kind=None))).labels["a"].sum() == 9

    def test_labels_that_mean_no_class(self, save: Callable, import_from: Callable) -> None:
        ignored = shape("__ignore__", [[0, 3], [6, 3], [6, 4], [0, 4]])
        imported = import_from(save(shape(), shape("_background_", [[1, 0], [2, 0], [2, 3], [1, 3]]), ignored))
        assert imported.classes == ("_background_", "car")
        assert imported.labels["a"].tolist() == [[0, 0, 1, 1, 0, 0]] * 3 + [[255] * 6]
        assert imported.noted("mean no class").count == 1

    @pytest.mark.parametrize(
        ("broken", "sentence"),
        [
            (shape(kind="cube"), "unknown type 'cube'"),
            (shape(kind="circle"), "a circle of 4 points in place of two"),
            (shape(points=[[0, 0], [1, 1]], kind="mask"), "a mask in .* is empty"),
            (shape(points=[[0, 0], [1, 1]], kind="mask", mask="?"), "is not in base64"),
            (shape(points=[[0, 0], [1, 1]], kind="mask", mask="Ä"), "is not in base64"),
            (shape(points=[[0, 0], [1, 1]], kind="mask", mask=png_of_size(9000, 9000)), "claims 9000×9000"),
            (shape(points=[[0, float("nan")]] * 3), r"at shapes\[0\].points\[0\]\[1\]"),
            ({"points": []}, r"at shapes\[0\].label"),
        ],
    )
    def test_that_cannot_be_used(
        self, save: Callable, import_from: Callable, broken: dict[str, Any], sentence: str
    ) -> None:
        """The other images are imported."""
        save(broken, name="b")
        imported = import_from(save(shape()))
        assert set(imported.labels) == {"a"}
        (refused,) = imported.notes.refused
        assert "b.json" in refused
        assert re.search(sentence, refused)


class TestClasses:
    def test_in_the_order_of_a_list_in_the_folder(self, save: Callable, import_from: Callable) -> None:
        source = save(shape("car"), shape("truck", [[5, 3], [6, 3], [6, 4], [5, 4]]))
        (source / "labels.txt").write_text("__ignore__\n_background_\nroad\ncar\n")
        imported = import_from(source)
        assert imported.classes == ("_background_", "road", "car")
        assert imported.labels["a"][0].tolist() == [0, 2, 2, 2, 0, 0]
        assert imported.labels["a"][3, 5] == 255
        assert imported.noted("the list of classes lacks").places == ["'truck'"]

    def test_in_the_order_of_a_list_that_is_given(
        self, save: Callable, import_from: Callable, tmp_path: Path
    ) -> None:
        (tmp_path / "list.txt").write_text("background: 1, 2, 3\ntruck\ncar 9 8 7\n")
        imported = import_from(save(shape()), classes=tmp_path / "list.txt")
        assert imported.classes == ("background", "truck", "car")
        assert imported.plan.classes.palette[[0, 2]].tolist() == [[1, 2, 3], [9, 8, 7]]


class TestImages:
    def test_in_the_document(
        self, save: Callable, import_from: Callable, save_image: Callable, tmp_path: Path
    ) -> None:
        data = base64.b64encode(save_image(tmp_path / "elsewhere.png").read_bytes()).decode()
        imported = import_from(save(shape(), image=False, imageData=data, imagePath=r"..\photos\b.jpg"))
        assert set(imported.labels) == {"a"}
        written = next(imported.out.rglob("images/*/a.*"))
        assert written.read_bytes() == (tmp_path / "elsewhere.png").read_bytes()

    def test_in_the_document_and_beside_it(
        self, save: Callable, import_from: Callable, save_image: Callable, tmp_path: Path
    ) -> None:
        source = save(shape())
        same = base64.b64encode((source / "a.png").read_bytes()).decode()
        other = save_image(tmp_path / "the other one.png").read_bytes()
        save(shape(), imageData=same)
        imported = import_from(source, link=True)
        assert next(imported.out.rglob("images/*/a.png")).is_symlink()
        imported.out.rename(tmp_path / "first")
        save(shape(), imageData=base64.b64encode(other).decode())
        imported = import_from(source)
        assert next(imported.out.rglob("images/*/a.png")).read_bytes() == other
        assert imported.noted("differ from the file").count == 1

    def test_that_is_not_there(self, save: Callable, import_from: Callable) -> None:
        save(shape(), name="b", image=False)
        save(shape(), name="c", image=False, imagePath="../../etc/passwd")
        with pytest.raises(DataError, match=r"c.json names the image \.\./\.\./etc/passwd"):
            import_from(save(shape()))

    def test_that_has_another_size(self, save: Callable, import_from: Callable) -> None:
        save(shape(), name="b", imageHeight=400, imageWidth=600)
        imported = import_from(save(shape()))
        (refused,) = imported.notes.refused
        assert re.search(r"b.png in \S+b.json is 6×4, but its annotation was made for 600×400", refused)

    def test_that_nobody_has_labelled_is_background(self, save: Callable, import_from: Callable) -> None:
        """Somebody has saved a document without shapes: there is nothing in the image."""
        save(name="b")
        assert not import_from(save(shape())).labels["b"].any()
