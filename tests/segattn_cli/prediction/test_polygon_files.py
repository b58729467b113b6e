"""Label maps to the polygons of annotation tools and, by the import, back to the same label maps."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import backends.numpy as ops
from segattn_cli.data.annotations.planning import ImportOptions, plan_import
from segattn_cli.data.palettes import default_palette, write_label_png
from segattn_cli.prediction.output_files import Segmentation
from segattn_cli.prediction.polygon_files import COCO_FILE, labelme, write_coco
from segattn_cli.prediction.predictor import Prediction, Predictor
from segattn_cli.runs import Model

CLASSES = ("sky", "background", "car", "road")
LABEL_MAPS = arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3), fill=st.just(1)
)


@pytest.fixture(scope="module")
def predictor(model_of: Callable[..., Model]) -> Predictor:
    return Predictor.of(model_of(head="fcn"), ops)


def written(folder: Path, label: np.ndarray, classes: Sequence[str] = CLASSES) -> tuple[Path, Path]:
    """An image and its label map, in files."""
    image, mask = folder / "photos" / "a.png", folder / "out" / "a.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*label.shape, 3), np.uint8)).save(image)
    write_label_png(mask, label, default_palette(len(classes)))
    return image, mask


def back(document: Path, classes: Sequence[str], **options: object) -> np.ndarray:
    """The label map that the import makes of a document, in the values of ``classes``."""
    plan = plan_import(document, ImportOptions(**options))  # type: ignore[arg-type]
    (planned,) = plan.images
    values = [classes.index(name) for name in plan.classes.names] + [0] * (256 - len(plan.classes.names))
    return np.array(values)[planned.image.paint(plan.rules).label]


class TestCoco:
    @given(LABEL_MAPS.filter(lambda label: (label != 1).any()))
    def test_the_same_label_map_comes_back(self, label: np.ndarray) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            image, mask = written(folder, label)
            write_coco(mask.with_name(COCO_FILE), [(str(image), mask)], CLASSES, 0)
            found = back(mask.with_name(COCO_FILE), CLASSES, images=image.parent)
            np.testing.assert_array_equal(found, label)

    def test_what_it_says(self, tmp_path: Path) -> None:
        label = np.array([[1, 1, 1, 1], [1, 2, 2, 1], [1, 2, 0, 1]], np.uint8)
        image, mask = written(tmp_path, label)
        write_coco(tmp_path / COCO_FILE, [(str(image), mask)], CLASSES, 0)
        document = json.loads((tmp_path / COCO_FILE).read_text())
        assert document == {
            "images": [{"id": 1, "file_name": "a.png", "height": 3, "width": 4}],
            "annotations": [
                {
                    "id": 1, "image_id": 1, "category_id": 3, "area": 3.0, "bbox": [1, 1, 2, 2], "iscrowd": 0,
                    "segmentation": [[1, 1, 3, 1, 3, 2, 2, 2, 2, 3, 1, 3]],
                },
                {
                    "id": 2, "image_id": 1, "category_id": 1, "area": 1.0, "bbox": [2, 2, 1, 1], "iscrowd": 0,
                    "segmentation": [[2, 2, 3, 2, 3, 3, 2, 3]],
                },
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)],
        }  # fmt: skip

    def test_images_are_named_below_their_common_folder(self, tmp_path: Path) -> None:
        _, mask = written(tmp_path, np.zeros((2, 2), np.uint8))
        names = [str(tmp_path / "photos" / name) for name in ("a/street.png", "b/street.png", "c.png")]
        write_coco(tmp_path / COCO_FILE, [(name, mask) for name in names], CLASSES, 0)
        images = json.loads((tmp_path / COCO_FILE).read_text())["images"]
        assert [image["file_name"] for image in images] == ["a/street.png", "b/street.png", "c.png"]

    def test_a_tolerance_leaves_fewer_corners(self, tmp_path: Path) -> None:
        rows, columns = np.indices((40, 40))
        label = np.where(np.hypot(rows - 20, columns - 20) < 15, 2, 1).astype(np.uint8)
        image, mask = written(tmp_path, label)
        corners = []
        for tolerance in (0.0, 1.0):
            write_coco(tmp_path / COCO_FILE, [(str(image), mask)], CLASSES, tolerance)
            (car,) = json.loads((tmp_path / COCO_FILE).read_text())["annotations"]
            corners.append(len(car["segmentation"][0]))
        assert corners[1] < corners[0] / 3

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11
    @given(LABEL_MAPS)
    def test_pycocotools_means_the_same(self, label: np.ndarray) -> None:
        """But for the rounding of outlines: of enlarged pixels, those that are not at an edge."""
        coco_masks = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed: pip install it")
        large = label.repeat(5, 0).repeat(5, 1)
        with tempfile.TemporaryDirectory() as temporary:
            image, mask = written(Path(temporary), large)
            write_coco(mask.with_name(COCO_FILE), [(str(image), mask)], CLASSES, 0)
            document = json.loads(mask.with_name(COCO_FILE).read_text())
        found = np.full(large.shape, 1)
        for each in document["annotations"]:
            runs = coco_masks.merge(coco_masks.frPyObjects(each["segmentation"], *large.shape))
            found[coco_masks.decode(runs) > 0] = each["category_id"] - 1
        np.testing.assert_array_equal(found[2::5, 2::5], label)


class TestLabelme:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(LABEL_MAPS.filter(lambda label: (label != 1).any()))
    def test_the_same_label_map_comes_back(self, predictor: Predictor, label: np.ndarray) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            image, mask = written(Path(temporary), label)
            pixels = np.asarray(Image.open(image))
            segmentation = Segmentation(
                "a", pixels, label, predictor, Prediction(np.zeros(1), None), CLASSES, default_palette(4), image
            )
            labelme(mask.parent, 0).write(mask.with_suffix(".json"), segmentation)
            found = back(mask.with_suffix(".json"), CLASSES, images=image.parent)
            np.testing.assert_array_equal(found, label)

    def test_an_image_without_a_file_stands_in_the_document(self, predictor: Predictor, tmp_path: Path) -> None:
        label = np.array([[0, 1], [0, 1]], np.uint8)
        pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        segmentation = Segmentation(
            "stdin", pixels, label, predictor, Prediction(np.zeros(1), None), CLASSES, default_palette(4)
        )
        labelme(tmp_path, 0).write(tmp_path / "stdin.json", segmentation)
        np.testing.assert_array_equal(back(tmp_path / "stdin.json", CLASSES), label)
