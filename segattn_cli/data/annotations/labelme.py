"""LabelMe's JSON: a document an image, with its shapes; the image is the file ``imagePath`` or is ``imageData``.

Classes are the labels in the order of their names, or as ``labels.txt`` or ``class_names.txt`` in the folder lists
them. Polygons, rectangles, circles and masks enclose pixels; points and lines do not. Later shapes lie above
earlier ones, as in LabelMe's own conversion.

Format: https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from segattn_cli.data.annotations.class_table import read_class_colours
from segattn_cli.data.annotations.documents import Coordinate, Length, Schema, has_keys, read_json
from segattn_cli.data.annotations.model import (
    AnnotatedImage,
    Annotations,
    Embedded,
    Notes,
    Shape,
    Shapes,
    polygon,
)
from segattn_cli.data.annotations.regions import Ellipse, Outline, Region, rectangle
from segattn_cli.data.annotations.source import Source
from segattn_cli.data.images import opened
from segattn_cli.errors import DataError

#: What messages call the format.
NAME = "LabelMe"
#: Files in which people list their labels for LabelMe.
LISTS = ("labels.txt", "class_names.txt", "classes.txt")


class _Shape(Schema):
    label: str
    points: list[tuple[Coordinate, Coordinate]]
    shape_type: str | None = None
    mask: str | None = None


class _Document(Schema):
    shapes: list[_Shape]
    imagePath: str | None = None
    imageData: str | None = None
    imageHeight: Length | None = None
    imageWidth: Length | None = None


_DOCUMENT = TypeAdapter(_Document)


def recognise(source: Source) -> bool:
    """Whether ``source`` has a document of this kind."""
    return any(map(_is_document, source.documents(".json")))


def read(source: Source, notes: Notes) -> Annotations:
    """All documents in ``source``; see :class:`Annotations`."""
    images = []
    for path in source.documents(".json"):
        if not _is_document(path):
            notes.leave_out("JSON files that are not LabelMe's", str(path))
            continue
        try:
            document = read_json(path, _DOCUMENT)
            image = _image(document, path)
            shapes = [shape for each in document.shapes if (shape := _shape(each, path, notes))]
        except DataError as error:
            notes.refuse(str(error))
            continue
        height, width = document.imageHeight, document.imageWidth
        size = (height, width) if height and width else None
        images.append(AnnotatedImage(image, path, size, Shapes(shapes)))
    lists = [path for path in source.documents(".txt") if path.name.lower() in LISTS]
    if lists:
        notes.choose("class lists in the folder decide the order of the classes", str(lists[0]))
    return Annotations(images, read_class_colours(lists[0]) if lists else {})


def _is_document(path: Path) -> bool:
    return has_keys(path, "{", "shapes") and (has_keys(path, "{", "imagePath") or has_keys(path, "{", "imageData"))


def _image(document: _Document, path: Path) -> Embedded | tuple[str, ...]:
    if document.imageData:
        return Embedded(document.imagePath or path.stem, partial(_image_data, path))
    if not document.imagePath:
        raise DataError(f"{path} names no image.")
    return (document.imagePath,)


def _image_data(path: Path) -> bytes:
    return _decoded(read_json(path, _DOCUMENT).imageData or "", f"the image in {path}")


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # also binascii.Error
        raise DataError(f"{name} is not in base64.") from None


def _shape(shape: _Shape, path: Path, notes: Notes) -> Shape | None:
    outline = _outline(shape, str(path), notes)
    return None if outline is None else Shape(shape.label.strip(), outline)


def _outline(shape: _Shape, place: str, notes: Notes) -> Outline | None:
    kind, points = shape.shape_type or "polygon", np.array(shape.points, float).reshape(-1, 2)
    if kind in ("polygon", "oriented_rectangle"):
        return polygon([points], place, notes)
    if kind in ("point", "points", "line", "linestrip"):
        notes.leave_out("points and lines, which enclose nothing", place)
        return None
    if kind not in ("rectangle", "circle", "mask"):
        raise DataError(f"{place} has a shape of the unknown type {kind!r}.")
    if len(points) != 2:
        raise DataError(f"{place} has a {kind} of {len(points)} points in place of two.")
    (x, y), (right, bottom) = points.tolist()
    if kind == "rectangle":
        return polygon([rectangle(x, y, right, bottom)], place, notes)
    if kind == "mask":
        return _Patch(_mask(shape, place), round(min(y, bottom)), round(min(x, right)))
    radius = math.hypot(right - x, bottom - y)
    if not radius:
        notes.leave_out("circles of no size", place)
        return None
    return Ellipse(x, y, radius, radius)


def _mask(shape: _Shape, place: str) -> np.ndarray:
    """The mask of a shape, (h, w) bool."""
    name = f"a mask in {place}"
    with opened(_decoded(shape.mask or "", name), name) as mask:
        if mask.format != "PNG":
            raise DataError(f"{name} is no PNG.")
        return np.asarray(mask.convert("L")) > 0


@dataclass(frozen=True)
class _Patch:
    """A mask whose top left pixel is (top, left) of the image; what is outside of the image is cut off."""

    mask: np.ndarray  # (h, w) bool
    top: int
    left: int

    def region(self, size: tuple[int, int]) -> Region:
        rows, columns = (
            slice(max(0, -start), max(0, length - start))
            for start, length in zip((self.top, self.left), size, strict=True)
        )
        return Region(max(0, self.top), max(0, self.left), self.mask[rows, columns])
