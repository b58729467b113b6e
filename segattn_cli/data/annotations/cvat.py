"""CVAT's XML ("CVAT for images 1.1"): ``annotations.xml``, with the images in ``images/`` or beside it.

Classes are the labels of the task or project, in their order and with their colours. Polygons, boxes, ellipses and
masks enclose pixels; polylines, points, cuboids and skeletons do not. Shapes lie above one another as their
``z_order`` says, then as they were drawn. CVAT's masks as coloured PNGs are read by :mod:`colours`.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from segattn_cli.data.annotations.documents import LARGEST, read_xml
from segattn_cli.data.annotations.model import AnnotatedImage, Annotations, Notes, Shape, Shapes, polygon
from segattn_cli.data.annotations.regions import Ellipse, Outline, rectangle
from segattn_cli.data.annotations.rle import Runs
from segattn_cli.data.annotations.source import Source
from segattn_cli.data.masks import Colour
from segattn_cli.errors import DataError

#: What messages call the format.
NAME = "CVAT"
_ENCLOSE_NOTHING = ("polyline", "points", "cuboid", "skeleton")
_SEEN = 1 << 16  # bytes of a file that tell what it is


def recognise(source: Source) -> bool:
    """Whether ``source`` has a document of this kind."""
    return any(map(_is_document, source.documents(".xml")))


def read(source: Source, notes: Notes) -> Annotations:
    """All documents in ``source``; see :class:`Annotations`."""
    images: list[AnnotatedImage] = []
    classes: dict[str, Colour | None] = {}
    for path in source.documents(".xml"):
        if not _is_document(path):
            notes.leave_out("XML files that are not CVAT's", str(path))
            continue
        root = read_xml(path)
        if root.find("track") is not None:
            raise DataError(f"{path} has the tracks of a video: export the task again, as 'CVAT for images 1.1'.")
        for label in root.iterfind("meta/*/labels/label"):
            if not label.findtext("parent"):  # else it is a point of a skeleton
                classes.setdefault((label.findtext("name") or "").strip(), _colour(label.findtext("color") or ""))
        images += [_image(element, path, notes) for element in root.iterfind("image")]
    return Annotations(images, classes)


def _is_document(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return b"<annotations" in file.read(_SEEN)
    except OSError:
        return False


def _colour(text: str) -> Colour | None:
    """
    >>> _colour("#ff7f00"), _colour("#orange")
    ((255, 127, 0), None)
    """
    match = re.fullmatch("#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text)
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None


def _image(image: Element, path: Path, notes: Notes) -> AnnotatedImage:
    name = image.get("name", "")
    place = f"{name or 'an image without a name'} in {path}"
    shapes = []
    for element in image:
        if element.tag in _ENCLOSE_NOTHING:
            notes.leave_out("polylines, points, cuboids and skeletons, which enclose nothing", place)
        elif element.tag in _OUTLINES:
            outline = _OUTLINES[element.tag](element, place, notes)
            if outline is not None:
                level = int(_number(element, "z_order", place, default=0))
                shapes.append(Shape(element.get("label", "").strip(), outline, level))
        elif element.tag != "tag":
            raise DataError(f"{place} has a shape of the unknown kind <{element.tag[:40]}>.")
    size = (int(_number(image, "height", place)), int(_number(image, "width", place)))
    return AnnotatedImage((name,), path, size, Shapes(shapes) if len(image) else None, image.get("subset"))


def _polygon(element: Element, place: str, notes: Notes) -> Outline | None:
    points = [pair.split(",") for pair in element.get("points", "").split(";")]
    if not all(len(pair) == 2 for pair in points):
        raise DataError(f"{place} has a polygon whose points are not 'x,y;x,y;…'.")
    return polygon([np.array([[_float(text, place) for text in pair] for pair in points])], place, notes)


def _box(element: Element, place: str, notes: Notes) -> Outline | None:
    left, top, right, bottom = (_number(element, key, place) for key in ("xtl", "ytl", "xbr", "ybr"))
    angle = _number(element, "rotation", place, default=0)
    return polygon([rectangle(left, top, right, bottom, angle)], place, notes)


def _ellipse(element: Element, place: str, notes: Notes) -> Outline | None:
    x, y, rx, ry = (_number(element, key, place) for key in ("cx", "cy", "rx", "ry"))
    if min(rx, ry) <= 0:
        notes.leave_out("ellipses of no size", place)
        return None
    return Ellipse(x, y, rx, ry, _number(element, "rotation", place, default=0))


def _mask(element: Element, place: str, notes: Notes) -> Outline | None:
    top, left, height, width = (int(_number(element, key, place)) for key in ("top", "left", "height", "width"))
    lengths = [int(_float(text, place)) for text in element.get("rle", "").split(",")]
    return Runs(lengths, (height, width), top, left)


_OUTLINES: dict[str, Callable[[Element, str, Notes], Outline | None]] = {
    "polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask
}  # fmt: skip


def _number(element: Element, key: str, place: str, default: float | None = None) -> float:
    text = element.get(key)
    if text is None and default is not None:
        return default
    return _float(text or "", place)


def _float(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise DataError(f"{place} has {text[:40]!r} in place of a number.")
    return value
