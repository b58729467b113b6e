"""YOLO's text files, as Ultralytics has them: a line ``class x y x y …`` an object, in fractions of the image.

``data.yaml`` lists the classes and the folders of the splits; without one, ``classes.txt`` or ``obj.names`` lists
the classes. The labels of ``images/train/X.jpg`` are ``labels/train/X.txt``, or ``X.txt`` beside the image. Small
objects lie above large ones, as in Ultralytics' own masks.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from segattn_cli.data.annotations.model import AnnotatedImage, Annotations, Notes, Shape, Shapes, polygon
from segattn_cli.data.annotations.regions import Polygon, rectangle
from segattn_cli.data.annotations.source import Source
from segattn_cli.data.class_files import read_text
from segattn_cli.errors import DataError

#: What messages call the format.
NAME = "YOLO"
#: Lists of classes, where no data.yaml is there.
LISTS = ("obj.names", "classes.txt", "labels.txt")
#: How far outside of the image a coordinate may be, as in Ultralytics' own check.
SLACK = 0.01
#: Letters of the longest data.yaml: its reader takes seconds for a million.
LONGEST = 1_000_000
_SPLITS = ("train", "val", "test")


def recognise(source: Source) -> bool:
    """Whether ``source`` has a data.yaml with names, or labels and a list of classes."""
    if any(map(_is_data_file, source.documents(".yaml", ".yml"))):
        return True
    return source.document is None and bool(_class_lists(source)) and bool(_label_files(source))


def read(source: Source, notes: Notes) -> Annotations:
    """The labels of all images in ``source``; see :class:`Annotations`."""
    data_files = [path for path in source.documents(".yaml", ".yml") if _is_data_file(path)]
    lists = data_files or _class_lists(source)
    if len(lists) != 1:
        two = f"{lists[0]} and {lists[1]} both list classes" if lists else ""
        raise DataError(f"{two or f'{source.root} has no data.yaml with names'}: give the data.yaml that is meant.")
    if data_files:
        data = _read_data_file(lists[0])
        names, splits = _names(data, lists[0]), _splits(data, lists[0], source, notes)
    else:
        lines = [line.strip() for line in read_text(lists[0]).splitlines()]
        names, splits = {str(number): name for number, name in enumerate(filter(None, lines))}, {}

    labels = _label_files(source)
    images = []
    for path in source.images:
        file = _label_file(path, labels, source)
        labels.discard(file)
        try:
            annotation = None if file is None else Shapes(_shapes(file, names, notes))
        except DataError as error:
            notes.refuse(str(error))
            continue
        images.append(AnnotatedImage(path, file or lists[0], None, annotation, splits.get(path)))
    for file in sorted(labels):
        notes.leave_out("label files without an image", str(file))
    return Annotations(images, dict.fromkeys(names.values()), overlaps="area")


def _is_data_file(path: Path) -> bool:
    try:
        return re.search(r"^[\"']?names[\"']?\s*:", read_text(path), re.MULTILINE) is not None
    except DataError:
        return False


def _class_lists(source: Source) -> list[Path]:
    return [path for path in source.files if path.name.lower() in LISTS][:1]


def _read_data_file(path: Path) -> Mapping[str, Any]:
    text = read_text(path)
    if len(text) > LONGEST:
        raise DataError(f"{path} is longer than the {LONGEST:,} letters that names of classes and folders take.")
    try:
        data = yaml.load(text, yaml.BaseLoader)  # all values are text, so that "no" is a name
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path} is not YAML that can be read ({getattr(error, 'problem', error)}).") from None
    if not isinstance(data, dict):
        raise DataError(f"{path} has no keys.")
    if "kpt_shape" in data:
        raise DataError(f"{path} describes key points, which enclose nothing.")
    return data


def _names(data: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The names of the classes by their numbers, as text."""
    names = data.get("names")
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    if not isinstance(names, dict) or not all(isinstance(text, str) for pair in names.items() for text in pair):
        raise DataError(f"{path} should have names as a list, or by number.")
    if not all(number.isdecimal() and len(number) < 10 for number in names):
        raise DataError(f"{path} numbers its names {', '.join(names)[:80]}.")
    return {number: names[number].strip() for number in sorted(names, key=int)}


def _splits(data: Mapping[str, Any], path: Path, source: Source, notes: Notes) -> dict[Path, str]:
    """The split of each image that a data.yaml names, by its folder or in a list."""
    splits: dict[Path, str] = {}
    for split in _SPLITS:
        entries = data.get(split) or []
        entries = [entries] if isinstance(entries, str) else entries
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise DataError(f"{path} should have folders or lists as {split}.")
        for entry in entries:
            place = _place(entry, str(data.get("path") or ""), path.parent, source)
            if place is None:
                what = "splits of data.yaml that have no folder here: names of folders decide"
                notes.choose(what, f"{split}: {entry}")
                continue
            for image in _images_at(place, source):
                if splits.setdefault(image, split) != split:
                    notes.choose("images that are in two splits stay in the first of train, val, test", str(image))
    return splits


def _place(entry: str, base: str, folder: Path, source: Source) -> Path | None:
    """The folder or list that a data.yaml means: Roboflow's paths begin with ``../``, others with a home folder."""
    for written in (f"{base}/{entry}", entry):
        parts = [part for part in PurePosixPath(written.replace("\\", "/")).parts if part not in ("/", "..")]
        for tail in (parts[start:] for start in range(len(parts))):
            for root in dict.fromkeys((folder, source.images_root)):
                if os.path.exists(root.joinpath(*tail)):
                    return root.joinpath(*tail)
    return None


def _images_at(place: Path, source: Source) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in source.images if path.is_relative_to(place))
        return
    for line in read_text(place).splitlines():
        image = source.find_image(line.strip(), place) if line.strip() else None
        if image is not None:
            yield image


def _label_files(source: Source) -> set[Path]:
    """The text files in folders called ``labels``, and those beside an image of the same name."""
    images = {path.with_suffix("") for path in source.images}
    return {
        path
        for path in source.files
        if path.suffix.lower() == ".txt"
        and path.name.lower() not in LISTS
        and ("labels" in path.relative_to(source.root).parts[:-1] or path.with_suffix("") in images)
    }


def _label_file(image: Path, labels: set[Path], source: Source) -> Path | None:
    """The labels of an image: ``labels/…/X.txt`` for ``images/…/X.jpg``, or beside it."""
    parts = list(image.relative_to(source.images_root).parts)
    folders = [source.images_root / Path(*parts)]
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
        folders.insert(0, source.images_root / Path(*parts))
    if source.images_given:  # the labels are elsewhere
        folders += [source.root / Path(*parts), source.root / "labels" / Path(*parts)]
    candidates = [folder.with_suffix(".txt") for folder in folders]
    return next((path for path in candidates if path in labels), None)


def _shapes(path: Path, names: Mapping[str, str], notes: Notes) -> list[Shape]:
    shapes = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            shape = _shape(line.split(), names, f"{path}, line {number},", notes)
            shapes += [shape] if shape else []
    return shapes


def _shape(fields: Sequence[str], names: Mapping[str, str], place: str, notes: Notes) -> Shape | None:
    try:
        number, *coordinates = [float(field) for field in fields]
    except ValueError:
        raise DataError(f"{place} has something else than numbers.") from None
    if not all(-SLACK <= value <= 1 + SLACK for value in coordinates):
        raise DataError(f"{place} has coordinates that are not fractions of the image, from 0 to 1.")
    label = names.get(f"{number:.0f}") if number.is_integer() else None
    if label is None:
        notes.choose("objects of a class that is not in the list become 255", place)
    if len(coordinates) == 4:
        notes.choose("objects have a box and no outline: what no outline takes of the box becomes 255", place)
        x, y, width, height = coordinates
        box = rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Shape(None, Polygon((box,), relative=True), level=-1)
    if len(coordinates) < 4 or len(coordinates) % 2:
        raise DataError(f"{place} has {len(coordinates)} coordinates: x and y of each point are wanted.")
    outline = polygon([np.reshape(coordinates, (-1, 2))], place, notes, relative=True)
    return Shape(label, outline) if outline else None
