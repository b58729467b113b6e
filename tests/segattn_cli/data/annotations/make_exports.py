"""Write ``exports/``, small data sets as annotation tools save them, and ``expected/``, by the tools' own code.

Each tool wants other packages, so each is installed into an environment of its own and writes its part:

    pip install datumaro                          python make_exports.py datumaro
    pip install labelme                           python make_exports.py labelme
    pip install label-studio-sdk                  python make_exports.py label-studio
    pip install ultralytics                       python make_exports.py yolo

The images and shapes below are the same for all. ``expected/TOOL/X.png`` is the label map that the tool's own code
makes of them: 0 for background, then the classes in the order of :data:`CLASSES`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EXPORTS = Path(__file__).with_name("exports")
CLASSES = ("car", "road", "tree")
SIZE = (48, 64)  # H, W
#: The shapes of each image in the order in which they were drawn; the last of the first is drawn with a brush.
SHAPES: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {
    "street": [
        ("road", [(0.0, 30.25), (64.0, 26.5), (64.0, 48.0), (0.0, 48.0)]),
        ("car", [(10.5, 28.0), (30.2, 27.3), (33.8, 36.1), (30.0, 40.9), (11.7, 41.3)]),
        ("tree", [(40.1, 4.4), (52.6, 9.8), (49.3, 33.7), (44.9, 34.2)]),
    ],
    "yard": [
        ("road", [(5.5, 40.0), (60.25, 40.0), (60.25, 46.75), (5.5, 46.75)]),
        ("tree", [(20.3, 2.2), (41.7, 20.9), (22.4, 41.8), (3.1, 21.6)]),
    ],
}
BRUSHED = ("street", "tree", (12, 6))  # an ellipse around (12, 6)


def image(name: str) -> Image.Image:
    """Something to look at: a gradient that is not the same in both images."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    channels = [rows * 5, columns * 4, (rows + columns) * (1 + len(name)) % 256]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def brushed() -> np.ndarray:
    """The mask that was drawn with a brush, (H, W) bool."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    x, y = BRUSHED[2]
    return ((columns - x) / 9) ** 2 + ((rows - y) / 4.5) ** 2 <= 1


def save_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHAPES:
        image(name).save(folder / f"{name}.png")


def save_expected(export: str, name: str, label: np.ndarray) -> None:
    folder = EXPORTS.with_name("expected") / export
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label.astype(np.uint8)).save(folder / f"{name}.png")


def fresh(name: str) -> Path:
    shutil.rmtree(EXPORTS / name, ignore_errors=True)
    (EXPORTS / name).mkdir(parents=True)
    return EXPORTS / name


def datumaro() -> None:
    """COCO, CVAT's XML and CVAT's coloured masks, which CVAT exports with Datumaro, too."""
    import datumaro as dm
    from pycocotools import mask as coco_masks

    items = []
    for name, shapes in SHAPES.items():
        annotations: list[Any] = []
        for number, (label, points) in enumerate(shapes):
            flat = [coordinate for point in points for coordinate in point]
            common = {"id": number + 1, "group": number + 1, "z_order": number, "label": CLASSES.index(label)}
            annotations.append(dm.Polygon(flat, **common))
        if name == BRUSHED[0]:
            label = CLASSES.index(BRUSHED[1])
            annotations.append(dm.Mask(brushed().astype(np.uint8), label=label, id=9, group=9, z_order=9))
        media = dm.Image.from_numpy(np.asarray(image(name))[..., ::-1].copy())
        items.append(dm.DatasetItem(id=name, subset="train", media=media, annotations=annotations))

    def dataset() -> Any:
        return dm.Dataset.from_iterable(items, categories=list(CLASSES), media_type=dm.Image)

    def labels(order: Any) -> dict[str, np.ndarray]:
        maps = {}
        for name, shapes in SHAPES.items():
            parts = []
            for label, points in shapes:
                flat = [[coordinate for point in points for coordinate in point]]
                encoded = coco_masks.merge(coco_masks.frPyObjects(flat, *SIZE))
                parts.append((CLASSES.index(label) + 1, coco_masks.decode(encoded) > 0))
            if name == BRUSHED[0]:
                parts.append((CLASSES.index(BRUSHED[1]) + 1, brushed()))
            maps[name] = np.zeros(SIZE, np.uint8)
            for value, mask in sorted(parts, key=order):
                maps[name][mask] = value
        return maps

    for folder, kind, order in (
        ("coco", "coco_instances", lambda part: -part[1].sum()),
        ("cvat", "cvat", lambda part: 0),
    ):
        root = fresh(folder)
        dataset().export(str(root), kind, save_media=True, image_ext=".png")
        for name, label in labels(order).items():
            save_expected(folder, name, label)
    root = fresh("cvat-masks")
    colours = {"background": (0, 0, 0), "car": (250, 50, 83), "road": (51, 221, 255), "tree": (255, 204, 51)}
    masks = dataset()
    for transform in ("polygons_to_masks", "merge_instance_segments"):
        masks.transform(transform)
    label_map = {name: [colour, [], []] for name, colour in colours.items()}
    masks.export(
        str(root), "voc_segmentation", save_media=True, image_ext=".png", apply_colormap=True, label_map=label_map
    )
    for path in sorted((root / "SegmentationClass").glob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        label = np.select([(pixels == colour).all(-1) for colour in colours.values()], range(len(colours)))
        save_expected("cvat-masks", path.stem, label)


def labelme() -> None:
    """LabelMe's JSON: one with the image in it and a mask, one with its path alone."""
    from labelme import utils
    from labelme._label_file import write_label_file

    root = fresh("labelme")
    save_images(root)
    for name, polygons in SHAPES.items():
        common = {"flags": {}, "description": "", "group_id": None}
        shapes = [
            {"label": label, "points": [list(point) for point in points], "shape_type": "polygon", "mask": None}
            for label, points in polygons
        ]
        if name == BRUSHED[0]:
            rows, columns = np.nonzero(brushed())
            corners = [[float(end(columns)), float(end(rows))] for end in (np.min, np.max)]
            patch = brushed()[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            shapes.append({"label": BRUSHED[1], "points": corners, "shape_type": "mask", "mask": patch})
        values = {label: value for value, label in enumerate(CLASSES, start=1)}
        save_expected("labelme", name, utils.shapes_to_label(SIZE, [{**s, **common} for s in shapes], values)[0])
        for shape in shapes:
            if shape["mask"] is not None:
                shape["mask"] = utils.img_arr_to_b64(shape["mask"].astype(np.uint8))
        write_label_file(
            str(root / f"{name}.json"), shapes=[{**s, **common} for s in shapes], image_path=f"{name}.png",
            image_height=SIZE[0], image_width=SIZE[1],
            image_data=(root / f"{name}.png").read_bytes() if name == BRUSHED[0] else None,
        )


def label_studio() -> None:
    """Label Studio's JSON: polygons as its importer of COCO writes them, and a brush as its own code packs it."""
    from label_studio_sdk.converter.brush import decode_from_annotation, mask2rle
    from label_studio_sdk.converter.imports.coco import create_segmentation
    from PIL import ImageDraw

    root = fresh("label-studio")
    save_images(root / "media")
    tasks = []
    for number, (name, shapes) in enumerate(SHAPES.items(), start=1):
        results: list[dict[str, Any]] = []
        drawn = Image.new("L", SIZE[::-1])
        for label, points in shapes:
            flat = [coordinate for point in points for coordinate in point]
            category = CLASSES.index(label)
            results.append(create_segmentation(category, flat, dict(enumerate(CLASSES)), "label", *SIZE, "image"))
            ImageDraw.Draw(drawn).polygon(points, fill=category + 1)
        label_map = np.array(drawn)
        if name == BRUSHED[0]:
            packed = mask2rle(brushed().astype(np.uint8) * 255)
            value = {"rle": packed, "format": "rle", "brushlabels": [BRUSHED[1]]}
            result = {
                "type": "brushlabels", "value": value, "to_name": "image", "from_name": "brush",
                "image_rotation": 0, "original_width": SIZE[1], "original_height": SIZE[0],
            }
            results.append(result)
            layers = decode_from_annotation("brush", [{**result, **value}])
            label_map[next(iter(layers.values())) > 0] = CLASSES.index(BRUSHED[1]) + 1
        tasks.append(
            {
                "id": number,
                "annotations": [{"id": number, "result": results, "was_cancelled": False, "ground_truth": False}],
                "file_upload": f"0f3a{number:04d}-{name}.png",
                "predictions": [],
                "data": {"image": f"/data/upload/1/0f3a{number:04d}-{name}.png"},
            }
        )
        save_expected("label-studio", name, label_map)
    (root / "project-1.json").write_text(json.dumps(tasks))


def yolo() -> None:
    """Ultralytics' labels, converted from COCO by its own code."""
    from ultralytics.data.converter import convert_coco
    from ultralytics.data.utils import polygons2masks_overlap

    root = fresh("yolo")
    save_images(root / "images" / "train")
    document: dict[str, Any] = {
        "images": [], "annotations": [],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)],
    }
    for number, (name, shapes) in enumerate(SHAPES.items(), start=1):
        document["images"].append(
            {"id": number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
        )
        for label, points in shapes:
            flat = [coordinate for point in points for coordinate in point]
            x, y = np.transpose(points)
            box = [float(v) for v in (x.min(), y.min(), np.ptp(x), np.ptp(y))]
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1, "image_id": number, "iscrowd": 0, "bbox": box,
                    "category_id": CLASSES.index(label) + 1, "segmentation": [flat],
                }
            )
        segments = [np.array(points, np.float32).reshape(-1) for _, points in shapes]
        masks, order = polygons2masks_overlap(SIZE, segments)
        values = np.array([0, *(CLASSES.index(shapes[index][0]) + 1 for index in order)])
        save_expected("yolo", name, values[masks])
    annotations = root / "annotations"
    annotations.mkdir()
    (annotations / "instances_train.json").write_text(json.dumps(document))
    convert_coco(str(annotations), str(root / "converted"), use_segments=True, cls91to80=False)
    shutil.copytree(root / "converted" / "labels", root / "labels")
    for leftover in (annotations, root / "converted"):
        shutil.rmtree(leftover)
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/train\nnames:\n{names}\n")


if __name__ == "__main__":
    {"datumaro": datumaro, "labelme": labelme, "label-studio": label_studio, "yolo": yolo}[sys.argv[1]]()
