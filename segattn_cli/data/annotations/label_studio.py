"""Label Studio's JSON: a list of tasks, each with ``data`` (where the image is) and ``annotations``.

Classes are the labels in the order of their names. Polygons, rectangles, ellipses and brush masks enclose pixels,
key points do not; later results lie above earlier ones. The document calls its images
``/data/upload/1/2f9a1b2c-street.jpg``, ``/data/local-files/?d=photos/street.jpg`` or by their address in a bucket.
They are searched under that path and, without the prefix of uploads, as ``street.jpg``.

Format: https://labelstud.io/guide/export#JSON
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from pydantic import Field, TypeAdapter

from segattn_cli.data.annotations.documents import Coordinate, Length, Schema, has_keys, read_json
from segattn_cli.data.annotations.model import AnnotatedImage, Annotations, Notes, Shape, Shapes, polygon
from segattn_cli.data.annotations.regions import Ellipse, Outline, rectangle
from segattn_cli.data.annotations.rle import Brush
from segattn_cli.data.annotations.source import Source
from segattn_cli.errors import DataError, counted

#: What messages call the format.
NAME = "Label Studio"
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # what uploads get before their names
_IMAGE = re.compile(r"\.(png|jpe?g|jfif|bmp|tiff?|webp|gif|p[gp]m)$", re.IGNORECASE)


class _Value(Schema):
    points: list[tuple[Coordinate, Coordinate]] | None = None
    x: Coordinate | None = None
    y: Coordinate | None = None
    width: Coordinate | None = None
    height: Coordinate | None = None
    radiusX: Coordinate | None = None
    radiusY: Coordinate | None = None
    rotation: Coordinate = 0.0
    rle: list[Annotated[int, Field(ge=0, le=255)]] | None = None
    polygonlabels: list[str] | None = None
    rectanglelabels: list[str] | None = None
    ellipselabels: list[str] | None = None
    brushlabels: list[str] | None = None
    labels: list[str] | None = None

    @property
    def all_labels(self) -> list[str]:
        lists = (self.polygonlabels, self.rectanglelabels, self.ellipselabels, self.brushlabels, self.labels)
        return [label.strip() for each in lists for label in each or ()]


class _Result(Schema):
    id: str | None = None
    type: str = ""
    value: _Value | None = None
    original_width: Length | None = None
    original_height: Length | None = None
    image_rotation: float = 0


class _Annotation(Schema):
    id: int | str | None = None
    result: list[_Result]
    was_cancelled: bool = False
    ground_truth: bool = False
    updated_at: str = ""


class _Task(Schema):
    id: int | str | None = None
    data: dict[str, object]
    annotations: list[_Annotation]


_DOCUMENT = TypeAdapter(list[_Task])


def recognise(source: Source) -> bool:
    """Whether ``source`` has a document of this kind."""
    return any(map(_is_document, source.documents(".json")))


def read(source: Source, notes: Notes) -> Annotations:
    """All documents in ``source``; see :class:`Annotations`."""
    images = []
    for path in source.documents(".json"):
        if not _is_document(path):
            notes.leave_out("JSON files that are not Label Studio's", str(path))
            continue
        if not has_keys(path, "[", "annotations", "data"):
            raise DataError(f"{path} seems to be Label Studio's JSON-MIN: export the project again, as JSON.")
        for task in read_json(path, _DOCUMENT):
            try:
                images.append(_image(task, path, notes))
            except DataError as error:
                notes.refuse(str(error))
    return Annotations(images)


def _is_document(path: Path) -> bool:
    return has_keys(path, "[", "annotations", "data") or has_keys(path, "[", "original_width")


def _image(task: _Task, path: Path, notes: Notes) -> AnnotatedImage:
    place = f"task {task.id} in {path}"
    texts = {key: value for key, value in task.data.items() if isinstance(value, str)}
    images = [value for key, value in texts.items() if _IMAGE.search(_path(value))]
    images = [texts[key] for key in ("image", "img") if texts.get(key) in images] or images
    if len(images) != 1:
        raise DataError(f"{place} has {counted(len(images), 'image')} in its data, not one.")
    written = _names(images[0])
    results = _results(task, place, notes)
    if results is None:
        return AnnotatedImage(written, path, None, None)
    shapes, sizes = [], set()
    labelled = {result.id for result in results if result.value and result.value.all_labels}
    for result in results:
        if result.value is None or not (outline := _outline(result, f"a region of {place}", notes)):
            continue
        labels = result.value.all_labels
        if not labels and result.id is not None and result.id in labelled:
            continue  # the same region is there again, with its label
        sizes.add((result.original_height, result.original_width))
        if len(labels) != 1:
            notes.choose("regions that have no label, or several, become 255", place)
        shapes.append(Shape(labels[0] if len(labels) == 1 else None, outline))
    if len(sizes) > 1:
        raise DataError(f"{place} has regions for images of several sizes.")
    height, width = sizes.pop() if sizes else (None, None)
    return AnnotatedImage(written, path, (height, width) if height and width else None, Shapes(shapes))


def _results(task: _Task, place: str, notes: Notes) -> list[_Result] | None:
    """What the one annotation says that counts: the ground truth, or the newest; None where there is none."""
    annotations = [each for each in task.annotations if not each.was_cancelled]
    if len(annotations) > 1:
        notes.choose("tasks with several annotations: the ground truth is taken, or the newest", place)
    if not annotations:
        return None
    return max(annotations, key=lambda each: (each.ground_truth, each.updated_at)).result


def _outline(result: _Result, place: str, notes: Notes) -> Outline | None:
    value = result.value
    assert value is not None
    if value.rle is None and value.points is None and value.x is None:
        if result.type.endswith("labels"):
            raise DataError(f"{place} is of an unknown kind, {result.type!r}.")
        return None  # a choice, a text, a rating
    if value.rle is None and value.points is None and value.height is None and value.radiusX is None:
        notes.leave_out("key points, which enclose nothing", place)
        return None
    width, height = result.original_width, result.original_height
    if not width or not height:
        raise DataError(f"{place} has no original_width and original_height.")
    if result.image_rotation:
        raise DataError(f"{place} was drawn on an image that was turned by {result.image_rotation:g}° in the tool.")
    if value.rle is not None:
        return Brush(bytes(value.rle), (height, width))
    scale = np.array([width, height]) / 100  # coordinates are in percent
    if value.points is not None:
        return polygon([np.reshape(value.points, (-1, 2)) * scale], place, notes)
    if value.x is None or value.y is None:
        raise DataError(f"{place} has no position.")
    x, y = np.array([value.x, value.y]) * scale
    if value.radiusX is not None:
        rx, ry = np.array([value.radiusX, value.radiusY or 0]) * scale
        if min(rx, ry) <= 0:
            notes.leave_out("ellipses of no size", place)
            return None
        return Ellipse(x, y, rx, ry, value.rotation)
    right, bottom = (x, y) + np.array([value.width or 0, value.height or 0]) * scale
    return polygon([rectangle(x, y, right, bottom, value.rotation, around=(x, y))], place, notes)


def _names(address: str) -> tuple[str, ...]:
    """The paths that an address may have here.

    >>> _names("/data/upload/3/2f9a1b2c-my%20street.jpg")
    ('data/upload/3/2f9a1b2c-my street.jpg', 'my street.jpg')
    >>> _names("/data/local-files/?d=photos/street.jpg"), _names("s3://bucket/photos/street.jpg")
    (('photos/street.jpg',), ('photos/street.jpg',))
    """
    path = _path(address)
    name = PurePosixPath(path).name
    prefix = _UPLOAD.match(name)
    return (path, name[prefix.end() :]) if prefix else (path,)


def _path(address: str) -> str:
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return (local[0] if local else unquote(parts.path)).lstrip("/")
