"""COCO's JSON: what Roboflow, CVAT, Label Studio, Datumaro and many scripts write.

A document has ``images``, ``annotations`` and ``categories``; classes are the categories in the order of their
ids. Documents are known by these keys, whatever they are called: ``_annotations.coco.json`` in ``train/``,
``valid/`` and ``test/``, or ``annotations/instances_train2017.json``.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from segattn_cli.data.annotations.documents import Coordinate, Length, Schema, has_keys, read_json
from segattn_cli.data.annotations.model import (
    AnnotatedImage,
    Annotations,
    Notes,
    Shape,
    Shapes,
    polygon,
)
from segattn_cli.data.annotations.regions import Outline, Polygon, rectangle
from segattn_cli.data.annotations.rle import Runs, coco_runs
from segattn_cli.data.annotations.source import Source, split_called
from segattn_cli.errors import DataError

#: What messages call the format.
NAME = "COCO"


class _Image(Schema):
    id: int | str
    file_name: str
    width: Length | None = None
    height: Length | None = None


class _Mask(Schema):
    counts: list[int] | str
    size: tuple[Length, Length]


class _Object(Schema):
    image_id: int | str
    category_id: int | str
    segmentation: list[list[Coordinate]] | _Mask | None = None
    bbox: list[Coordinate] | None = None
    iscrowd: bool = False


class _Category(Schema):
    id: int | str
    name: str
    supercategory: str | None = None


class _Document(Schema):
    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Category]
    licenses: object = None


_DOCUMENT = TypeAdapter(_Document)
#: What CVAT and Datumaro write, which call every mask that was drawn with a brush a crowd.
_LICENSES_OF_CVAT = [{"name": "", "id": 0, "url": ""}]


def recognise(source: Source) -> bool:
    """Whether ``source`` has a document of this kind."""
    return any(map(_is_document, source.documents(".json")))


def read(source: Source, notes: Notes) -> Annotations:
    """All documents in ``source``; see :class:`Annotations`."""
    images: list[AnnotatedImage] = []
    classes: dict[str, None] = {}
    for path in source.documents(".json"):
        if not _is_document(path):
            notes.leave_out("JSON files that are not COCO's", str(path))
            continue
        document = read_json(path, _DOCUMENT)
        names = _category_names(document, path, notes)
        classes |= dict.fromkeys(names.values())
        images += _images(document, path, names, notes)
    return Annotations(images, classes, overlaps="area")  # objects of COCO have no order


def _is_document(path: Path) -> bool:
    return has_keys(path, "{", "images", "annotations", "categories")


def _category_names(document: _Document, path: Path, notes: Notes) -> dict[int | str, str]:
    """The names of the categories by id, in the order of the ids."""
    categories = document.categories
    if all(isinstance(category.id, int) for category in categories):
        categories = sorted(categories, key=lambda category: category.id)
    names = {category.id: category.name for category in categories}
    if len(names) < len(categories):
        raise DataError(f"{path} has two categories with the same id.")
    used = {each.category_id for each in document.annotations}
    groups = {category.supercategory for category in categories}
    for number, name in list(names.items()):
        if number not in used and name in groups and len(names) > 1:
            notes.leave_out("categories that only name a group of others (Roboflow's first)", f"{name!r} of {path}")
            del names[number]
    return names


def _images(
    document: _Document, path: Path, names: dict[int | str, str], notes: Notes
) -> Iterator[AnnotatedImage]:
    objects: dict[int | str, list[_Object]] = defaultdict(list)
    for each in document.annotations:
        objects[each.image_id].append(each)
    listed = {image.id for image in document.images}
    if len(listed) < len(document.images):
        raise DataError(f"{path} has two images with the same id.")
    for number in objects.keys() - listed:
        notes.leave_out("objects of images that the document does not list", str(path), len(objects[number]))
    if document.licenses == _LICENSES_OF_CVAT:
        for each in document.annotations:
            each.iscrowd = False
    for image in document.images:
        place = f"{image.file_name} in {path}"
        shapes = [_shape(each, names.get(each.category_id), place, notes) for each in objects[image.id]]
        size = (image.height, image.width) if image.height and image.width else None
        annotation = Shapes([shape for shape in shapes if shape]) if shapes else None
        yield AnnotatedImage((image.file_name,), path, size, annotation, split_called(path.stem))


def _shape(each: _Object, label: str | None, place: str, notes: Notes) -> Shape | None:
    if label is None:
        notes.choose("objects of a category that the document does not list become 255", place)
    outline = _outline(each, place, notes)
    if outline is not None:
        if each.iscrowd:
            notes.choose("crowds (iscrowd), which may have gaps, become 255 where no single object is", place)
            return Shape(None, outline, level=-1)
        return Shape(label, outline)
    if each.segmentation or each.bbox is None or len(each.bbox) != 4:
        return None
    notes.choose("objects have a box and no outline: what no outline takes of the box becomes 255", place)
    left, top, width, height = each.bbox
    return Shape(None, Polygon((rectangle(left, top, left + width, top + height),)), level=-1)


def _outline(each: _Object, place: str, notes: Notes) -> Outline | None:
    segmentation = each.segmentation
    if isinstance(segmentation, _Mask):
        counts = segmentation.counts
        try:
            lengths = coco_runs(counts) if isinstance(counts, str) else counts
        except DataError as error:
            raise DataError(f"{place} cannot be used: {error}.") from None
        return Runs(lengths, segmentation.size, by_column=True)
    if not segmentation:
        return None
    if any(len(ring) % 2 for ring in segmentation):
        raise DataError(f"{place} has a polygon with an odd number of coordinates.")
    return polygon((np.reshape(ring, (-1, 2)).astype(float) for ring in segmentation), place, notes)
