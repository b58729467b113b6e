"""What the tools themselves have written, beside what they themselves make of it.

See ``make_exports.py``. A tool's own label map may differ where its rule for the pixels on an outline does:

- Datumaro's coloured masks hold labels already: no pixel differs.
- pycocotools rounds outlines to a fifth of a pixel and moves them by up to half a one.
- LabelMe and Label Studio draw with Pillow, which adds the pixels that an outline touches.
- Ultralytics cuts coordinates down to whole pixels and adds the pixels on the outline, too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from segattn_cli.data.annotations.source import Source
from segattn_cli.data.annotations.tools import recognised

HERE = Path(__file__).parent
FORMATS = {
    "coco": "coco", "cvat": "cvat", "cvat-masks": "colours", "labelme": "labelme", "label-studio": "label-studio",
    "yolo": "yolo",
}  # fmt: skip
#: How far from an outline a pixel's centre is that may have another label, and how many do at most.
TOLERANCES = {"cvat-masks": (0.0, 0.0), "coco": (0.75, 0.01), "cvat": (0.75, 0.01)}
DRAWN_WITH_OUTLINES = (1.5, 0.03)


@pytest.mark.parametrize(("export", "format"), FORMATS.items())
def test_exports_are_recognised(export: str, format: str) -> None:
    assert recognised(Source(HERE / "exports" / export)) == [format]


@pytest.mark.parametrize("export", FORMATS)
def test_labels_are_those_of_the_tool(export: str, import_from: Callable) -> None:
    imported = import_from(HERE / "exports" / export)
    assert imported.classes == ("background", "car", "road", "tree")
    assert not imported.notes.refused
    assert set(imported.labels) == {"street", "yard"}
    reach, share = TOLERANCES.get(export, DRAWN_WITH_OUTLINES)
    for name, label in imported.labels.items():
        with Image.open(HERE / "expected" / export / f"{name}.png") as mask:
            expected = np.asarray(mask)
        different = label != expected
        assert different.mean() <= share
        inner = ndimage.minimum_filter(label, 3) == ndimage.maximum_filter(label, 3)  # a pixel from any outline
        assert not (different & inner).any() or reach > 1
        deep = ndimage.minimum_filter(label, 5) == ndimage.maximum_filter(label, 5)
        assert not (different & deep).any()


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
