"""Label Studio's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.errors import DataError

#: A quarter of the image, in percent.
POINTS = [[0, 0], [50, 0], [50, 50], [0, 50]]
UPLOAD = "/data/upload/1/0f3a1b2c-a.png"
#: The mask of `test_rle`, of 3×5 pixels.
BRUSH = [0, 0, 0, 60, 57, 27, 252, 224, 23, 255, 231, 0, 191, 255, 108, 0]


def region(kind: str = "polygonlabels", labels: tuple[str, ...] = ("car",), **value: Any) -> dict[str, Any]:
    value = value or {"points": POINTS, "closed": True}
    return {
        "type": kind, "value": {**value, kind: list(labels)}, "to_name": "image", "from_name": "label",
        "image_rotation": 0, "original_width": 6, "original_height": 4,
    }  # fmt: skip


def task(*results: dict[str, Any], image: str = UPLOAD, **annotation: Any) -> dict[str, Any]:
    return {"id": 3, "data": {"image": image}, "annotations": [{"id": 1, "result": list(results), **annotation}]}


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save(task, …)``: put ``media/a.png``, ``media/b.png`` and a document of these tasks into a source."""

    def run(*tasks: Any) -> Path:
        for name in ("a.png", "b.png"):
            save_image(tmp_path / "source" / "media" / name)
        (tmp_path / "source" / "project.json").write_text(json.dumps(tasks))
        return tmp_path / "source"

    return run


class TestRegions:
    def test_polygons_are_in_percent(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save(task(region())))
        assert imported.classes == ("background", "car")
        assert imported.labels["a"].tolist() == [[1, 1, 1, 0, 0, 0]] * 2 + [[0] * 6] * 2

    def test_rectangles_turn_around_their_corner(self, save: Callable, import_from: Callable) -> None:
        box = region("rectanglelabels", x=50, y=0, width=50, height=25, rotation=90)
        assert import_from(save(task(box))).labels["a"].tolist() == [[0, 0, 1, 0, 0, 0]] * 3 + [[0] * 6]

    def test_ellipses(self, save: Callable, import_from: Callable) -> None:
        disc = region("ellipselabels", x=50, y=50, radiusX=100 / 6, radiusY=25)
        label = import_from(save(task(disc))).labels["a"]
        assert label.tolist() == [[0] * 6] + [[0, 0, 1, 1, 0, 0]] * 2 + [[0] * 6]

    def test_later_ones_lie_above(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save(task(region(labels=("b",)), region(labels=("a",)))))
        assert imported.labels["a"][0, 0] == imported.classes.index("a")

    def test_brushes(self, save: Callable, import_from: Callable, save_image: Callable) -> None:
        brush = region("brushlabels", rle=BRUSH, format="rle") | {"original_width": 5, "original_height": 3}
        source = save(task(brush))
        save_image(source / "media" / "a.png", (3, 5))
        assert import_from(source).labels["a"].tolist() == [[0, 0, 1, 1, 1], [1, 0, 0, 1, 1], [1, 1, 0, 0, 0]]

    def test_without_a_label_or_with_two_become_255(self, save: Callable, import_from: Callable) -> None:
        unlabelled = {**region(), "type": "polygon", "value": {"points": POINTS}}
        double = region(labels=("car", "road"), points=[[50, 50], [100, 50], [100, 100], [50, 100]])
        known = region(points=[[0, 75], [50, 75], [50, 100], [0, 100]])
        imported = import_from(save(task(unlabelled, double, known)))
        assert imported.labels["a"].tolist()[0] == [255, 255, 255, 0, 0, 0]
        assert imported.labels["a"].tolist()[3] == [1, 1, 1, 255, 255, 255]
        assert imported.noted("no label, or several").count == 2

    def test_a_shape_and_its_label_as_two_results(self, save: Callable, import_from: Callable) -> None:
        shape = {**region(), "id": "x", "type": "polygon", "value": {"points": POINTS}}
        label = {**region(), "id": "x", "type": "labels", "value": {"points": POINTS, "labels": ["car"]}}
        assert import_from(save(task(shape, label))).labels["a"][0, 0] == 1

    def test_what_encloses_nothing_is_counted(self, save: Callable, import_from: Callable) -> None:
        point = region("keypointlabels", x=1, y=1, width=0.3)
        choice = {"type": "choices", "value": {"choices": ["good"]}, "to_name": "image", "from_name": "quality"}
        imported = import_from(save(task(region(), point, choice)))
        assert imported.noted("key points").count == 1


class TestAnnotations:
    def test_of_several_the_ground_truth_or_the_newest_is_taken(
        self, save: Callable, import_from: Callable
    ) -> None:
        both = task(region(labels=("old",)), updated_at="2024-01-01")
        both["annotations"].append({"result": [region(labels=("new",))], "updated_at": "2024-02-01"})
        imported = import_from(save(both))
        assert imported.classes == ("background", "new")
        assert imported.noted("tasks with several annotations").count == 1
        imported.out.rename(imported.out.with_name("first"))
        both["annotations"][0]["ground_truth"] = True
        assert import_from(save(both)).classes == ("background", "old")

    def test_that_were_cancelled_do_not_count(self, save: Callable, import_from: Callable) -> None:
        skipped = task(region(), image="/data/upload/1/0f3a1b2c-b.png", was_cancelled=True)
        imported = import_from(save(task(region()), skipped))
        assert set(imported.labels) == {"a"}
        assert imported.noted("nobody has annotated").count == 1

    def test_an_empty_one_says_that_there_is_nothing(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save(task(region()), task(image="/data/upload/1/0f3a1b2c-b.png")))
        assert not imported.labels["b"].any()


class TestImages:
    @pytest.mark.parametrize(
        "address",
        [
            UPLOAD, "/data/local-files/?d=media/a.png", "s3://bucket/media/a.png", "media/a.png",
            "https://host/media/a.png?token=1",
        ],
    )  # fmt: skip
    def test_addresses(self, save: Callable, import_from: Callable, address: str) -> None:
        assert set(import_from(save(task(region(), image=address))).labels) == {"a"}

    def test_two_uploads_of_one_name_are_refused(self, save: Callable, import_from: Callable) -> None:
        """They were two images; the one that is here may be either."""
        other = task(region(), image="/data/upload/1/99999999-a.png")
        with pytest.raises(DataError, match=r"a.png is annotated twice in"):
            import_from(save(task(region()), other))

    @pytest.mark.parametrize(
        ("broken", "sentence"),
        [
            (task(region() | {"image_rotation": 90}), "turned by 90° in the tool"),
            (task(region() | {"original_width": None}), "no original_width"),
            (task(region() | {"original_width": 10**30}), r"original_width: Input should be less than or equal to"),
            (task(region("bitmasklabels", imageDataURL="data:")), "unknown kind, 'bitmasklabels'"),
            (task(region(), region() | {"original_width": 7}), "images of several sizes"),
            (task(region(), image="no image"), "has 0 images in its data"),
            (task(region(), image="/data/upload/1/0f3a1b2c-c.png"), "no image of this name"),
            (task(region("brushlabels", rle=[0, 0, 0])), "a brush mask is cut short"),
        ],
    )
    def test_that_cannot_be_used(
        self, save: Callable, import_from: Callable, broken: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(DataError, match=sentence):
            import_from(save(broken))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"id": 1, "data": {}, "annotations": 3}, r"at \[0\].annotations: "),
        ({"id": 1, "data": {}, "annotations": [{"result": [region("brushlabels", rle=[256])]}]}, "less than"),
        ({"image": "/data/a.png", "label": [{"points": POINTS, "original_width": 6}]}, "JSON-MIN: export"),
    ],
)
def test_documents_that_cannot_be_used(
    save: Callable, import_from: Callable, content: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        import_from(save(content))
