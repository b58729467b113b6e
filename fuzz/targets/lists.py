"""The lists of a data set: of its classes, in each of the files that may name them, and of its splits."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator

from PIL import Image

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate
from fuzz.parts import divided, joined, mutated_parts, write_parts
from segattn_cli.data import open_dataset
from segattn_cli.data.annotations.class_table import read_class_colours
from segattn_cli.data.class_files import CLASS_FILES, read_class_file
from segattn_cli.data.dataset import FileDataset
from segattn_cli.data.formats.class_lists import named_classes
from segattn_cli.data.formats.recognition import decision_of, mistakes_of, splits_of

SPLITS = ("train.txt", "val.txt", "splits.csv", "splits/test.csv", "ImageSets/Segmentation/train.txt")
NAMES = (*CLASS_FILES, *SPLITS)
DATA = FOLDER / "data"
Image.new("L", (3, 2)).save(FOLDER / "black", "PNG")
BLACK = (FOLDER / "black").read_bytes()


def seeds() -> Iterator[bytes]:
    """Each file of classes as a tool writes it, and lists of splits in several forms."""
    classes = {
        "classes.txt": "road 128 64 128\nsky 70 130 180\n# no class\ncar\n",
        "class_names.txt": "__ignore__\n_background_\nroad\ncar\n",
        "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::a,b:\ncar:1,2,3::\n",
        "label_colors.txt": "0 0 0 sky\n128 64 128 road\n1 2 3 car\n",
        "labels.txt": "0: sky\n2: car\n1: road\n",
        "classes.csv": "name, r, g, b\nsky,0,0,0\nroad,128,64,128\n",
        "class_dict.csv": "name,red,green,blue\n\"a, b\",0,0,0\nroad,128,64,128\n",
        "_classes.csv": "Pixel Value, Class\n0, background\n1, road\n255, void\n",
        "classes.json": json.dumps(["sky", "road", {"name": "car", "id": 2, "color": [1, 2, 3]}]),
        "label_map.json": json.dumps({"0": "sky", "1": "road"}),
        "id2label.json": json.dumps({"id2label": {"0": "sky", "1": "road"}}),
        "obj_class_to_machine_color.json": json.dumps({"sky": [1, 1, 1], "road": [2, 2, 2]}),
        "meta.json": json.dumps({"classes": [{"title": name, "color": "#00ff0f"} for name in ("sky", "road")]}),
    }  # fmt: skip
    splits = {
        "train.txt": "a.png\nb\nimages/c.jpg masks/c.png\n",
        "val.txt": "images/c.jpg;masks/c.png\n/home/images/a.png\n",
        "splits.csv": "image,mask,split\na.png,a.png,train\n", "splits/test.csv": "image,label\n\"a.png\", a.png\n",
        "ImageSets/Segmentation/train.txt": "a  1\nb -1\n../images/c.jpg\n",
    }  # fmt: skip
    for name, text in classes.items():
        yield joined({name: text})
        yield joined({name: text, "train.txt": splits["train.txt"]})
    for name, text in splits.items():
        yield joined({"classes.txt": classes["classes.txt"], name: text})
    yield joined({"classes.txt": classes["classes.txt"], "train.txt": "// /\n/ \n, ,\n" + "a " * 1000})
    yield joined({**classes, **splits})


def one_input(data: bytes) -> None:
    shutil.rmtree(DATA, ignore_errors=True)
    for folder in ("images", "masks"):
        (DATA / folder).mkdir(parents=True)
        for name in ("a.png", "b.png", "c.jpg" if folder == "images" else "c.png"):
            (DATA / folder / name).write_bytes(BLACK)
    parts = divided(data, NAMES)
    write_parts(DATA, parts)
    for name in parts.keys() & set(CLASS_FILES):
        attempt(read_class_file, DATA / name)
        attempt(read_class_colours, DATA / name)
        attempt(named_classes, str(DATA / name))
    for split in attempt(splits_of, DATA) or ():
        dataset = attempt(open_dataset, DATA, split=split)
        partial = attempt(open_dataset, DATA, split=split, partial=True)
        for each in (dataset, partial):
            if isinstance(each, FileDataset):
                decision_of(each)
                mistakes_of(each)
                attempt(each.load, 0) if len(each) else None


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    return mutated_parts(data, mutate, size, rng)
