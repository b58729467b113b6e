"""What ``data import`` reads and writes: COCO, LabelMe, CVAT, Label Studio, YOLO and coloured masks."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import ODD, Mutate
from fuzz.parts import divided, joined, mutated_parts, write_parts
from segattn_cli.data.annotations.planning import ImportOptions, ImportPlan, plan_import
from segattn_cli.data.annotations.tools import foreign_annotations
from segattn_cli.data.annotations.writing import ImportTotals, write_import

EXPORTS = Path(__file__).parents[2] / "tests/segattn_cli/data/annotations/exports"
#: Documents of all tools; images and masks are always the same.
NAMES = (
    "annotations/instances_train.json", "street.json", "train.xml", "project-1.json", "data.yaml",
    "labels/street.txt", "labelmap.txt", "classes.txt", "ImageSets/Segmentation/train.txt",
)  # fmt: skip
#: Every kind of shape that these tools have.
CVAT = """<annotations>
<meta><task><labels>
<label><name>car</name><color>#ff0000</color></label><label><name>road</name><color>#00ff00</color></label>
</labels></task></meta>
<image id="0" name="street.png" width="64" height="48">
<box label="car" xtl="1" ytl="2" xbr="30" ybr="40" rotation="10" z_order="1"/>
<polygon label="car" points="1,2;30.5,4;9,9"/>
<ellipse label="road" cx="9" cy="9" rx="5" ry="4"/>
<mask label="road" rle="2,2" left="1" top="1" width="2" height="2"/>
<points label="car" points="1,2"/>
</image>
</annotations>"""
LABELME = {
    "version": "5.5.0", "imagePath": "street.png", "imageData": None, "imageHeight": 48, "imageWidth": 64,
    "shapes": [
        {"label": "car", "shape_type": "rectangle", "points": [[1, 2], [9, 9]]},
        {"label": "road", "shape_type": "circle", "points": [[20, 20], [25, 25]]},
        {"label": "tree", "shape_type": "polygon", "points": [[1, 1], [40, 2], [30, 30]]},
    ],
}  # fmt: skip
DATA, OUT = FOLDER / "data", FOLDER / "out"
Image.new("RGB", (64, 48)).save(FOLDER / "black", "PNG")
BLACK = (FOLDER / "black").read_bytes()


def seeds() -> Iterator[bytes]:
    """The exports that the tests have, a document each, and two that are made by hand."""
    for name in NAMES:
        for path in sorted(EXPORTS.rglob(Path(name).name)):
            yield joined({name: path.read_bytes()})
    coco, *_ = (path.read_bytes() for path in EXPORTS.rglob("instances_train.json"))
    yield joined({NAMES[0]: coco, "classes.txt": "road\ncar\ntree\n"})
    names = {"data.yaml": "path: .\ntrain: images\nval: images\nnames:\n  0: car\n  1: road\n  2: tree\n"}
    yield joined({**names, "labels/street.txt": "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.5 0.2 0.2\n"})
    yield joined({"train.xml": CVAT})
    yield joined({"street.json": json.dumps(LABELME)})


def one_input(data: bytes) -> None:
    for folder in (DATA, OUT):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in ("images", "SegmentationClass"):
        (DATA / folder).mkdir(parents=True)
    for folder in ("images", "SegmentationClass"):
        (DATA / folder / "street.png").write_bytes(BLACK)
    parts = divided(data, NAMES)
    write_parts(DATA, parts)
    attempt(foreign_annotations, DATA)
    classes = DATA / "classes.txt"
    options = ImportOptions(classes=classes if classes.exists() else None, unannotated=len(data) % 2 == 1)
    plan = attempt(plan_import, DATA, options)
    if plan is not None:
        attempt(_written, plan)


def _written(plan: ImportPlan) -> None:
    for _ in write_import(plan, OUT, ImportTotals()):
        pass


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """Another number or text in XML, YAML or a list; another value in JSON; or other bytes."""
    if b".json" not in data[:60] and rng.random() < 0.7:
        values = list(re.finditer(rb'(?<=")[^"<>]*(?=")|(?<=>)[^"<>]+(?=<)|-?\d+\.?\d*|(?<=: )\w+', data))
        if values:
            value = rng.choice(values)
            return data[: value.start()] + str(rng.choice(ODD)).encode(errors="replace") + data[value.end() :]
    return mutated_parts(data, mutate, size, rng)
