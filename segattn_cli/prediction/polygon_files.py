"""Label maps as polygons in the files of annotation tools, in which people can correct them.

``segattn data import`` makes the same label maps of both formats; see :mod:`segattn_cli.data.annotations.contours`.
A class called ``background`` gets no polygons: it is what none encloses.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segattn_cli.data.annotations.class_table import BACKGROUND
from segattn_cli.data.annotations.contours import Contour, contours
from segattn_cli.data.images import image_png
from segattn_cli.data.masks import read_mask
from segattn_cli.files import write_atomically
from segattn_cli.json_text import json_text
from segattn_cli.prediction.output_files import FileNaming, Output, Segmentation

#: The file in which all images of a call have their polygons.
COCO_FILE = "annotations.coco.json"


def labelme(out: Path, tolerance: float) -> Output:
    """LabelMe's JSON beside the label map of each image in ``out``; the image is named, not copied."""

    def write(path: Path, segmentation: Segmentation) -> None:
        shapes = [
            {
                "label": segmentation.classes[label], "points": ring.tolist(), "group_id": None, "description": "",
                "shape_type": "polygon", "flags": {}, "mask": None,
            }
            for label, ring in _polygons(segmentation.label, segmentation.classes, tolerance)
        ]  # fmt: skip
        height, width = segmentation.label.shape
        folder = (out / segmentation.name).parent
        source = segmentation.source
        document = {
            "version": "5.5.0", "flags": {}, "shapes": shapes,
            "imagePath": f"{segmentation.name}.png" if source is None else os.path.relpath(source, folder),
            "imageData": _embedded(segmentation.image) if source is None else None,
            "imageHeight": height, "imageWidth": width,
        }  # fmt: skip
        path.write_text(json_text(document, indent=1))

    return Output(write, FileNaming(".json"))


def write_coco(
    file: Path, images: Iterable[tuple[str, Path]], classes: Sequence[str], tolerance: float
) -> None:
    """Write one COCO document for ``images``, each with the path of its label map.

    Categories are the classes, with ids from 1. Images are named by their paths below the folder that holds them.
    """
    images = list(images)
    folders = [os.path.dirname(os.path.abspath(name)) for name, _ in images]
    common = os.path.commonpath(folders) if folders else ""
    document: dict[str, Any] = {
        "images": [], "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
    }  # fmt: skip
    for number, (name, mask) in enumerate(images, start=1):
        label = read_mask(mask)
        file_name = Path(os.path.relpath(name, common)).as_posix()
        height, width = label.shape
        document["images"].append({"id": number, "file_name": file_name, "height": height, "width": width})
        for value, ring in _polygons(label, classes, tolerance):
            document["annotations"].append(
                {"id": len(document["annotations"]) + 1, "image_id": number, **_coco_object(value, ring)}
            )
    write_atomically(file, json_text(document).encode())


def _polygons(label: np.ndarray, classes: Sequence[str], tolerance: float) -> Iterator[Contour]:
    return (each for each in contours(label, tolerance) if classes[each.label].lower() not in BACKGROUND)


def _coco_object(value: int, ring: np.ndarray) -> dict[str, Any]:
    corners = ring.astype(int)
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    (x, y), (next_x, next_y) = corners.T, np.roll(corners, -1, axis=0).T
    return {
        "category_id": value + 1,
        "segmentation": [corners.ravel().tolist()],
        "area": float(abs((x * next_y - next_x * y).sum()) / 2),
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }


def _embedded(image: np.ndarray) -> str:
    return base64.b64encode(image_png(Image.fromarray(image))).decode()
