"""COCO's JSON, and what is odd about it as tools write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segattn_cli.errors import DataError

CAR = [1, 0, 4, 0, 4, 3, 1, 3]
ROAD = [0, 0, 6, 0, 6, 2, 0, 2]


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One image ``a.png`` of 4×6 with these annotations, of category 1 by default."""
    images = [{"id": 7, "file_name": "a.png", "height": 4, "width": 6}]
    categories = [{"id": 2, "name": "road"}, {"id": 1, "name": "car"}]
    objects = [{"id": n, "image_id": 7, "category_id": 1, **each} for n, each in enumerate(annotations)]
    return {"images": images, "annotations": objects, "categories": categories, **changes}


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save(document, folder)``: put the document and ``a.png`` into a folder of the source that it returns."""

    def run(content: dict[str, Any], folder: str = ".", name: str = "labels.json") -> Path:
        save_image(tmp_path / "source" / folder / "a.png")
        (tmp_path / "source" / folder / name).write_text(json.dumps(content))
        return tmp_path / "source"

    return run


class TestLabels:
    def test_classes_are_in_the_order_of_their_ids(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save(document({"segmentation": [CAR]})))
        assert imported.classes == ("background", "car", "road")
        expected = np.zeros((4, 6), int)
        expected[:3, 1:4] = 1
        np.testing.assert_array_equal(imported.labels["a"], expected)

    def test_the_smaller_of_two_objects_has_their_common_pixels(
        self, save: Callable, import_from: Callable
    ) -> None:
        for order in (1, -1):
            both = [{"segmentation": [CAR]}, {"segmentation": [ROAD], "category_id": 2}][::order]
            imported = import_from(save(document(*both)))
            assert (imported.labels["a"][:2, 1:4] == 1).all()
            assert imported.noted("go to the smaller outline").count == 6
            imported.out.rename(imported.out.with_name(f"out{order}"))

    def test_or_the_later_one(self, save: Callable, import_from: Callable) -> None:
        both = [{"segmentation": [CAR]}, {"segmentation": [ROAD], "category_id": 2}]
        imported = import_from(save(document(*both)), overlaps="order")
        assert (imported.labels["a"][:2] == 2).all()
        assert imported.noted("go to the outline that was drawn later").count == 6

    @pytest.mark.parametrize("counts", [[4, 2, 18], "42b0"])
    def test_a_mask_as_lengths_and_as_text(
        self, save: Callable, import_from: Callable, counts: list[int] | str
    ) -> None:
        imported = import_from(save(document({"segmentation": {"counts": counts, "size": [4, 6]}})))
        assert imported.labels["a"].T.ravel().tolist() == [0] * 4 + [1] * 2 + [0] * 18

    def test_a_mask_of_another_size_is_refused(self, save: Callable, import_from: Callable) -> None:
        with pytest.raises(DataError, match=r"a.png in \S+ cannot be used: the runs of a mask do not add up"):
            import_from(save(document({"segmentation": {"counts": [4, 2, 17], "size": [4, 6]}})))

    def test_rings_within_a_ring_are_holes(self, save: Callable, import_from: Callable) -> None:
        outside, inside = [0, 0, 6, 0, 6, 4, 0, 4], [1, 1, 3, 1, 3, 3, 1, 3]
        imported = import_from(save(document({"segmentation": [outside, inside]})))
        assert (imported.labels["a"] == 0).sum() == 4
        assert imported.noted("are holes in it").count == 1

    def test_an_unknown_category_becomes_255(self, save: Callable, import_from: Callable) -> None:
        objects = [{"segmentation": [ROAD], "category_id": 99}, {"segmentation": [[0, 3, 6, 3, 6, 4, 0, 4]]}]
        imported = import_from(save(document(*objects)))
        assert (imported.labels["a"][:2] == 255).all()
        assert imported.noted("a category that the document does not list").count == 1

    def test_a_box_without_an_outline_becomes_255(self, save: Callable, import_from: Callable) -> None:
        """The object is in there somewhere: neither it nor the background is known."""
        objects = [{"bbox": [0, 0, 4, 2], "segmentation": []}, {"segmentation": [CAR]}]
        imported = import_from(save(document(*objects)))
        assert imported.labels["a"].tolist()[0] == [255, 1, 1, 1, 0, 0]
        assert imported.noted("have a box and no outline").count == 1

    def test_polygons_without_area_are_counted(self, save: Callable, import_from: Callable) -> None:
        objects = [{"segmentation": [[1, 1, 3, 3], [0, 0, 2, 2, 4, 4]]}, {"segmentation": [CAR]}]
        imported = import_from(save(document(*objects)))
        assert imported.noted("fewer than three points, or on one line").count == 2
        assert set(np.unique(imported.labels["a"])) == {0, 1}

    def test_objects_too_thin_for_a_pixel_are_counted(self, save: Callable, import_from: Callable) -> None:
        objects = [{"segmentation": [[1, 1, 1.2, 1, 1.2, 3]]}, {"segmentation": [CAR]}]
        assert import_from(save(document(*objects))).noted("enclose no centre of a pixel").count == 1


class TestCrowds:
    CROWD = {"segmentation": {"counts": [0, 8, 16], "size": [4, 6]}, "iscrowd": 1}  # noqa: RUF012

    def test_become_255_below_single_objects(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save(document({"segmentation": [CAR]}, self.CROWD)))
        assert imported.labels["a"].tolist()[0] == [255, 1, 1, 1, 0, 0]
        assert imported.noted("crowds (iscrowd)").count == 1

    def test_of_cvat_are_what_was_drawn_with_a_brush(self, save: Callable, import_from: Callable) -> None:
        licenses = [{"name": "", "id": 0, "url": ""}]
        imported = import_from(save(document(self.CROWD, licenses=licenses)))
        assert imported.labels["a"].tolist()[0] == [1, 1, 0, 0, 0, 0]


class TestImages:
    def test_without_annotations_are_left_out(
        self, save: Callable, import_from: Callable, save_image: Callable
    ) -> None:
        content = document({"segmentation": [CAR]})
        content["images"].append({"id": 8, "file_name": "b.png", "height": 4, "width": 6})
        source = save(content)
        save_image(source / "b.png")
        save_image(source / "c.png")
        imported = import_from(source)
        assert set(imported.labels) == {"a"}
        assert imported.noted("images that nobody has annotated").places == ["b.png in labels.json"]
        assert imported.noted("images that no annotation names").places == ["c.png"]

    def test_or_are_all_background(self, save: Callable, import_from: Callable, save_image: Callable) -> None:
        content = document({"segmentation": [CAR]})
        content["images"].append({"id": 8, "file_name": "b.png", "height": 4, "width": 6})
        source = save(content)
        save_image(source / "b.png")
        imported = import_from(source, unannotated=True)
        assert not imported.labels["b"].any()

    def test_that_are_missing_are_refused(self, save: Callable, import_from: Callable) -> None:
        content = document({"segmentation": [CAR]})
        content["images"].append({"id": 8, "file_name": "b.png"})
        imported = import_from(save(content))
        assert set(imported.labels) == {"a"}
        assert imported.notes.refused[0].startswith("b.png in ")

    def test_that_two_documents_annotate_are_refused(self, save: Callable, import_from: Callable) -> None:
        save(document({"segmentation": [CAR]}), name="one.json")
        source = save(document({"segmentation": [ROAD]}), name="two.json")
        with pytest.raises(DataError, match=r"a.png is annotated in \S+one.json and in \S+two.json"):
            import_from(source)

    def test_of_splits(self, save: Callable, import_from: Callable) -> None:
        for folder in ("train", "valid", "test"):
            source = save(document({"segmentation": [CAR]}), folder=folder, name="_annotations.coco.json")
        imported = import_from(source)
        assert imported.totals.images == {"train": 1, "val": 1, "test": 1}
        assert not imported.plan.drawn


class TestDocuments:
    def test_roboflow_lists_a_group_as_a_category(self, save: Callable, import_from: Callable) -> None:
        categories = [
            {"id": 0, "name": "vehicles", "supercategory": "none"},
            {"id": 1, "name": "car", "supercategory": "vehicles"},
        ]
        imported = import_from(save(document({"segmentation": [CAR]}, categories=categories)))
        assert imported.classes == ("background", "car")
        assert imported.noted("only name a group").count == 1

    def test_a_background_of_its_own_keeps_its_value(self, save: Callable, import_from: Callable) -> None:
        categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "Background"}]
        imported = import_from(save(document({"segmentation": [CAR]}, categories=categories)))
        assert imported.classes == ("car", "Background")
        assert imported.labels["a"][3, 5] == 1

    def test_categories_of_one_name_are_one_class(self, save: Callable, import_from: Callable) -> None:
        categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "car"}]
        objects = [{"segmentation": [CAR]}, {"segmentation": [[5, 3, 6, 3, 6, 4, 5, 4]], "category_id": 2}]
        imported = import_from(save(document(*objects, categories=categories)))
        assert imported.classes == ("background", "car")
        assert imported.labels["a"][3, 5] == 1

    def test_other_json_is_counted(self, save: Callable, import_from: Callable) -> None:
        source = save(document({"segmentation": [CAR]}))
        (source / "notes.json").write_text('{"info": 1}')
        assert import_from(source).noted("not COCO's").places == ["notes.json"]

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"images": [{"id": 7, "file_name": "../../etc/passwd"}]}, r"names the image \.\./\.\./etc/passwd"),
            ({"images": [{"id": 7, "file_name": "/etc/passwd"}]}, "names the image /etc/passwd"),
            ({"images": [{"id": 7, "file_name": 3}]}, r"at images\[0\].file_name: .*string"),
            ({"images": [{"id": 7, "file_name": "a.png"}] * 2}, "two images with the same id"),
            ({"categories": [{"id": 1, "name": "a"}] * 2}, "two categories with the same id"),
            ({"categories": [{"id": 1, "name": "a\nb"}]}, r"cannot be called 'a\\nb'"),
            ({"categories": [{"id": 1, "name": "#a"}]}, "cannot be called '#a'"),
            ({"annotations": [{"image_id": 7, "category_id": 1, "segmentation": [[1, 2, 3]]}]}, "odd number"),
            ({"annotations": [{"image_id": 7, "category_id": 1, "segmentation": 3}]}, r"\[0\].segmentation"),
            ({"annotations": []}, "nobody has annotated"),
        ],
    )
    def test_that_cannot_be_used(
        self, save: Callable, import_from: Callable, changes: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(DataError, match=sentence):
            import_from(save(document({"segmentation": [CAR]}, **changes)))

    def test_masks_of_another_size_cost_no_memory(self, save: Callable, import_from: Callable) -> None:
        huge = {"counts": [10**12], "size": [10**6, 10**6]}
        with pytest.raises(DataError, match=r"a mask of 1000000×1000000 at .* does not fit its image of 6×4"):
            import_from(save(document({"segmentation": huge})))
