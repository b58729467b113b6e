"""What the tools themselves have written, beside what they themselves make of it.

See ``make_exports.py``. A tool's own label map may differ where its rule for the pixels on an outline does:

- Datumaro's coloured masks hold labels already: no pixel differs.
- pycocotools rounds outlines to a fifth of a pixel and moves them by up to half a one.
- LabelMe and Label Studio draw with Pillow, which adds the pixels that an outline touches.
- Ultralytics cuts coordinates down to whole pixels and adds the pixels on the outline, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from segattn_cli.data import open_dataset
from segattn_cli.data.annotations.source import Source
from segattn_cli.data.annotations.tools import foreign_annotations, recognised
from segattn_cli.errors import DataError

HERE = Path(__file__).parent
FORMATS = {
    "coco": "coco", "cvat": "cvat", "cvat-masks": "colours", "labelme": "labelme", "label-studio": "label-studio",
    "yolo": "yolo",
}  # fmt: skip
#: How many pixels may differ; none in masks, and how far from an outline they may lie, in pixels.
TOLERANCES = {"cvat-masks": (0.0, 0), "coco": (0.01, 1), "cvat": (0.01, 1)}
DRAWN_WITH_OUTLINES = (0.03, 2)


@pytest.mark.parametrize(("export", "format"), FORMATS.items())
def test_exports_are_recognised(export: str, format: str) -> None:
    assert recognised(Source(HERE / "exports" / export)) == [format]


@pytest.mark.parametrize("export", FORMATS)
def test_labels_are_those_of_the_tool(export: str, import_from: Callable) -> None:
    imported = import_from(HERE / "exports" / export)
    assert imported.classes == ("background", "car", "road", "tree")
    assert not imported.notes.refused
    assert set(imported.labels) == {"street", "yard"}
    share, reach = TOLERANCES.get(export, DRAWN_WITH_OUTLINES)
    for name, label in imported.labels.items():
        with Image.open(HERE / "expected" / export / f"{name}.png") as mask:
            different = label != np.asarray(mask)
        assert different.mean() <= share
        around = 2 * reach + 1
        inner = ndimage.minimum_filter(label, around) == ndimage.maximum_filter(label, around)
        assert not (different & inner).any()


@pytest.mark.parametrize("export", [export for export in FORMATS if export != "cvat-masks"])
def test_opening_them_names_the_command(export: str) -> None:
    root = HERE / "exports" / export
    with pytest.raises(DataError, match=r"has annotations of \w+.* and no masks: .*`segattn data import \S+ --out"):
        open_dataset(root)


def test_masks_are_opened_whatever_lies_beside_them(save_image: Callable, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        for name in ("a.png", "b.png"):
            save_image(tmp_path / folder / name)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    shutil.copy(HERE / "exports" / "labelme" / "yard.json", tmp_path)
    assert foreign_annotations(tmp_path) == "LabelMe"
    assert len(open_dataset(tmp_path)) == 1


def test_what_no_tool_has_written(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    assert foreign_annotations(tmp_path) is None


def test_all_tools_mean_the_same(import_from: Callable, tmp_path: Path) -> None:
    """The shapes are the same; they differ by rounding alone, and by who owns an overlap."""
    by_order = []
    for export in ("cvat", "labelme", "label-studio"):
        imported = import_from(HERE / "exports" / export)
        by_order.append(imported.labels)
        imported.out.rename(tmp_path / export)
    for labels in by_order[1:]:
        for name in ("street", "yard"):
            np.testing.assert_array_equal(labels[name], by_order[0][name])
