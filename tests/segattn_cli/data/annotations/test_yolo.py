"""YOLO's text files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segattn_cli.errors import DataError

#: The left half of an image of class 1.
HALF = "1 0 0 0.5 0 0.5 1 0 1\n"


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save({"train/a": labels}, data)``: images, labels (None: no file), and a data.yaml."""

    def run(labels: dict[str, str | None], data: str = "names: [road, car]") -> Path:
        source = tmp_path / "source"
        for name, content in labels.items():
            save_image(source / "images" / f"{name}.png")
            path = source / "labels" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.write_text(content)
        (source / "data.yaml").write_text(data)
        return source

    return run


class TestLabels:
    def test_polygons_in_fractions_of_the_image(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save({"train/a": HALF, "val/b": "0 0.5 0 1 0 1 1 0.5 1"}))
        assert imported.classes == ("background", "road", "car")
        assert imported.labels["a"].tolist() == [[2, 2, 2, 0, 0, 0]] * 4
        assert imported.labels["b"].tolist() == [[0, 0, 0, 1, 1, 1]] * 4
        assert imported.splits == {"a": "train", "b": "val"}

    def test_small_objects_lie_above_large_ones(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save({"a": HALF + "0 0 0 1 0 1 1 0 1\n"}))
        assert imported.classes == ("road", "car")  # no pixel is background
        assert imported.labels["a"].tolist() == [[1, 1, 1, 0, 0, 0]] * 4

    def test_boxes_and_unknown_classes_become_255(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save({"a": HALF + "0 0.75 0.25 0.5 0.5\n7 0.5 0.5 1 0.5 1 1\n"}))
        assert imported.labels["a"][0].tolist() == [2, 2, 2, 255, 255, 255]
        assert imported.noted("have a box and no outline").count == 1
        assert imported.noted("not in the list").count == 1

    def test_no_file_means_that_nobody_has_looked(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save({"a": HALF, "b": None, "c": ""}))
        assert set(imported.labels) == {"a", "c"}
        assert not imported.labels["c"].any()
        assert imported.noted("nobody has annotated").places == ["images/b.png"]

    def test_labels_without_an_image_are_counted(self, save: Callable, import_from: Callable) -> None:
        source = save({"a": HALF})
        (source / "labels" / "z.txt").write_text(HALF)
        assert import_from(source).noted("without an image").places == ["labels/z.txt"]

    def test_labels_beside_images(self, tmp_path: Path, save_image: Callable, import_from: Callable) -> None:
        save_image(tmp_path / "source" / "obj_train_data" / "a.png")
        (tmp_path / "source" / "obj_train_data" / "a.txt").write_text(HALF)
        (tmp_path / "source" / "obj.names").write_text("road\ncar\n")
        (tmp_path / "source" / "README.txt").write_text("Exported")
        imported = import_from(tmp_path / "source")
        assert imported.plan.format == "yolo"
        assert imported.labels["a"].any()

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("1 0 0 5 0 5 5", "not fractions of the image"),
            ("1 0 0 nan 0 1 1", "not fractions"),
            ("1 0 0 inf 0 1 1", "not fractions"),
            ("1 0 0 1 0 1 1 0.9", "has 7 coordinates"),
            ("1 0 0", "has 2 coordinates"),
            ("car 0 0 1 0 1 1", "something else than numbers"),
        ],
    )
    def test_that_cannot_be_used(self, save: Callable, import_from: Callable, line: str, sentence: str) -> None:
        with pytest.raises(DataError, match=rf"a.txt, line 2, has .*{sentence}|line 2, {sentence}"):
            import_from(save({"a": HALF + line}))


class TestDataFile:
    @pytest.mark.parametrize(
        "names",
        [
            "names:\n  0: 'no'\n  1: car  # yes\n", "names: {0: no, 1: car}", "names:\n- no\n- car\n",
            "names: [\n 'no',\n 'car',\n]\n",
        ],
    )  # fmt: skip
    def test_forms_of_names(self, save: Callable, import_from: Callable, names: str) -> None:
        assert import_from(save({"a": HALF}, names)).classes == ("background", "no", "car")

    @pytest.mark.parametrize(
        "splits",
        [
            "train: images/one\nval: images/two\n", "train: ../one\nval: ../two\n",
            "path: /home/me/city\ntrain: images/one\nval: images/two", "train: one.txt\nval: two.txt\n",
            "train: [images/one]\nval: [images/two]\n",
        ],
    )  # fmt: skip
    def test_forms_of_splits(self, save: Callable, import_from: Callable, splits: str) -> None:
        source = save({"one/a": HALF, "two/b": HALF}, "names: [road, car]\n" + splits)
        for name, image in (("one", "a"), ("two", "b")):
            (source / f"{name}.txt").write_text(f"./images/{name}/{image}.png\n")
        if "../" in splits:
            for name in ("one", "two"):
                (source / name).symlink_to(source / "images" / name)
        assert import_from(source).splits == {"a": "train", "b": "val"}

    def test_an_image_in_two_splits_stays_in_the_first(self, save: Callable, import_from: Callable) -> None:
        source = save({"one/a": HALF, "one/b": HALF}, "names: [road, car]\ntrain: images/one\nval: images/one\n")
        imported = import_from(source)
        assert imported.noted("in two splits").count == 2
        assert imported.plan.drawn
        assert imported.totals.images == {"train": 1, "val": 1}

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ("names: 3", "names as a list, or by number"),
            ("names: [[a]]", "names as a list, or by number"),
            ("names: {a: b}", "numbers its names a"),
            ("names::\n  0: car\n", "should have names as a list, or by number"),
            (f"names:\n  ? {'9' * 5000}\n  : b", "numbers its names 9"),
            ("names: [a, b]\n" + "# " * 600_000, "longer than the 1,000,000 letters"),
            ("names: [a\n", "is not YAML"),
            ("names: " + "[" * 5000, "is not YAML"),
            ("names: [road, car]\nkpt_shape: [17, 3]", "key points"),
            ("names: [road, car]\ntrain: {a: 1}", "folders or lists as train"),
        ],
    )
    def test_that_cannot_be_used(self, save: Callable, import_from: Callable, data: str, sentence: str) -> None:
        with pytest.raises(DataError, match=rf"data.yaml .*{sentence}"):
            import_from(save({"a": HALF}, data))
