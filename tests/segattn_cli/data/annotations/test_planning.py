"""Classes, splits and names of what is imported, and the folder that is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data.annotations import writing
from segattn_cli.data.annotations.class_table import ClassTable, Unlabelled, class_table
from segattn_cli.data.annotations.model import Notes
from segattn_cli.data.annotations.naming import complete_splits
from segattn_cli.data.annotations.planning import ImportOptions, plan_import
from segattn_cli.data.annotations.writing import ImportTotals, write_import
from segattn_cli.data.class_files import read_class_file
from segattn_cli.data.formats.plain_folder import write_classes
from segattn_cli.errors import DataError, OutputError


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save("x/a.png", …)``: images with LabelMe's documents, each with a car in its upper half."""

    def run(*names: str, points: str = "[[0, 0], [6, 0], [6, 2], [0, 2]]") -> Path:
        source = tmp_path / "source"
        for name in names:
            path = save_image(source / name)
            path.with_name(f"{path.name}.json").write_text(
                f'{{"shapes": [{{"label": "car", "points": {points}}}], "imagePath": "{path.name}"}}'
            )
        return source

    return run


class TestClasses:
    def table(self, names: str, unlabelled: Unlabelled = "background", complete: bool = False) -> ClassTable:
        listed = dict.fromkeys(names.split())
        return class_table(listed, Counter(listed), unlabelled, Notes(Path()), complete=complete)

    def test_background_comes_first_where_the_list_has_none(self) -> None:
        table = self.table("car road")
        assert (table.names, table.background, table.added) == (("background", "car", "road"), 0, True)

    def test_a_background_in_the_list_stays_where_it_is(self) -> None:
        table = self.table("car Background road")
        assert (table.names, table.background, table.added) == (("car", "Background", "road"), 1, False)

    def test_unlabelled_pixels_can_be_ignored(self) -> None:
        table = self.table("car road", "ignore")
        assert (table.names, table.background, table.added) == (("car", "road"), 255, False)

    def test_colours_are_all_different(self) -> None:
        listed = {"a": (230, 159, 0), "b": None, "c": None, "d": (0, 0, 0)}
        table = class_table(listed, Counter(), "background", Notes(Path()), complete=False)
        assert len({tuple(colour) for colour in table.palette.tolist()}) == 5
        assert table.palette[[1, 4]].tolist() == [[230, 159, 0], [0, 0, 0]]

    @pytest.mark.parametrize("name", ["", " a", "a\nb", "a\x1b[31m", "#a", "a:", "\udcff"])
    def test_names_that_a_list_cannot_hold(self, name: str) -> None:
        with pytest.raises(DataError, match="A class cannot be called"):
            class_table({name: None}, Counter(), "background", Notes(Path()), complete=False)

    @pytest.mark.parametrize("name", ["a 1 2 3", "r, g, b", "Straße (nass)", "0", "a  b", "name"])
    def test_odd_names_come_back(self, tmp_path: Path, name: str) -> None:
        table = class_table({name: None, "b": None}, Counter(), "ignore", Notes(Path()), complete=False)
        write_classes(tmp_path / "classes.txt", table.names, table.palette)
        assert read_class_file(tmp_path / "classes.txt").names == (name, "b")

    @pytest.mark.parametrize(
        "names",
        [
            ("1", "0"), ("1 road", "0 sky"), ("road 1", "sky 0"), ("road: 1", "sky: 0"), ("= 1", "x 0"),
            ("class b", "x"),
        ],
    )
    def test_names_with_numbers_come_back(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        write_classes(tmp_path / "classes.txt", names, np.array([[1, 2, 3], [4, 5, 6]]))
        classes = read_class_file(tmp_path / "classes.txt")
        assert classes.names == names
        assert classes.counts_from_0
        assert classes.palette.tolist() == [[1, 2, 3], [4, 5, 6]]

    @pytest.mark.parametrize(("count", "complete"), [(256, True), (255, False), (1, True)])
    def test_too_many_or_too_few(self, count: int, complete: bool) -> None:
        with pytest.raises(DataError, match="2 to 255 can be told apart"):
            self.table(" ".join(f"c{n}" for n in range(count)), complete=complete)


class TestSplits:
    def test_a_fraction_is_drawn_where_there_is_no_val(self) -> None:
        names = [f"n{n}" for n in range(20)]
        drawn = complete_splits([None] * 20, names, 0.25)
        assert Counter(drawn) == {"train": 15, "val": 5}
        shuffled = dict(zip(names[::-1], complete_splits([None] * 20, names[::-1], 0.25), strict=True))
        assert [shuffled[name] for name in names] == drawn

    def test_of_the_images_that_are_not_test(self) -> None:
        splits = complete_splits(["test", "train", "train", None], list("abcd"), 0.5)
        assert Counter(splits) == {"test": 1, "train": 2, "val": 1}

    def test_nothing_is_drawn_where_there_is_a_val(self) -> None:
        assert complete_splits(["val", None, "train"], list("abc"), 0.9) == ["val", "train", "train"]

    def test_or_where_nothing_is_wanted(self) -> None:
        assert complete_splits([None, None], list("ab"), 0.0) == ["train", "train"]

    def test_at_least_one_is_drawn_of_two(self) -> None:
        assert Counter(complete_splits([None, None], list("ab"), 0.1)) == {"train": 1, "val": 1}
        assert complete_splits([None], ["a"], 0.5) == ["train"]

    def test_folders_are_splits(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save("train/a.png", "valid/b.png", "test/c.png"))
        assert imported.splits == {"a": "train", "b": "val", "c": "test"}


class TestNames:
    def test_of_one_name_get_their_folders_in_front(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save("x/a.png", "y/a.png", "y/b.png", "A.png"), val=0)
        assert set(imported.labels) == {"x-a", "y-a", "b", "A-png"}
        assert imported.noted("longer names").count == 3

    def test_of_several_endings_get_them(self, save: Callable, import_from: Callable) -> None:
        assert set(import_from(save("a.png", "a.jpg"), val=0).labels) == {"a-png", "a-jpg"}

    def test_that_come_together_are_numbered(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save("x-y/a.png", "x/y-a.png", "z/a.png", "z/y-a.png"), val=0)
        assert len(imported.labels) == 4

    def test_in_other_splits_are_kept(self, save: Callable, import_from: Callable) -> None:
        imported = import_from(save("train/a.png", "val/a.png"))
        assert imported.totals.images == {"train": 1, "val": 1}
        assert not [what for what in imported.notes.chosen if "names" in what]


class TestWriting:
    def test_images_are_copied_as_they_are(self, save: Callable, import_from: Callable) -> None:
        source = save("a.png", "b.JPG")
        imported = import_from(source, val=0)
        for name in ("a.png", "b.JPG"):
            written = imported.out / "images" / "train" / name
            assert written.read_bytes() == (source / name).read_bytes()
            assert not written.is_symlink()

    def test_or_linked(
        self, save: Callable, import_from: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save("a.png", "b.png")
        monkeypatch.chdir(tmp_path)
        imported = import_from(Path("source"), link=True)
        links = list(imported.out.glob("images/*/*.png"))
        assert sorted(link.resolve() for link in links) == [tmp_path / "source" / f"{n}.png" for n in "ab"]

    def test_a_background_that_no_pixel_has_goes_away(self, save: Callable, import_from: Callable) -> None:
        source = save("a.png", points="[[0, 0], [6, 0], [6, 4], [0, 4]]")
        text = (source / "a.png.json").read_text()
        wheel = ', {"label": "wheel", "points": [[0, 0], [2, 0], [2, 4], [0, 4]]}]'
        (source / "a.png.json").write_text(text.replace("}]", "}" + wheel))
        imported = import_from(source)
        assert imported.classes == ("car", "wheel")
        assert imported.labels["a"].tolist() == [[1, 1, 0, 0, 0, 0]] * 4
        assert imported.totals.pixels[:2].tolist() == [16, 8]

    def test_unlabelled_pixels_are_ignored(self, save: Callable, import_from: Callable, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("car\ntree\n")
        imported = import_from(save("a.png"), unlabelled="ignore", classes=tmp_path / "list.txt")
        assert imported.labels["a"].tolist() == [[0] * 6] * 2 + [[255] * 6] * 2

    def test_what_stops_leaves_nothing(self, save: Callable, tmp_path: Path) -> None:
        plan = plan_import(save("a.png", "b.png", "c.png"), ImportOptions())
        events = write_import(plan, tmp_path / "out", ImportTotals())
        next(events)
        assert list((tmp_path / "out").rglob("*.png"))
        events.close()
        assert not list((tmp_path / "out").iterdir())

    def test_no_space(self, save: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(source: Path, target: Path) -> None:
            raise OSError(28, "No space left on device", str(target))

        plan = plan_import(save("a.png"), ImportOptions())
        monkeypatch.setattr(writing.shutil, "copyfile", full)
        with pytest.raises(OutputError, match=r"a.png cannot be written: No space left"):
            list(write_import(plan, tmp_path / "out", ImportTotals()))
        assert not list((tmp_path / "out").iterdir())


class TestFormats:
    def test_nothing_that_is_known(self, tmp_path: Path, save_image: Callable) -> None:
        save_image(tmp_path / "a.png")
        with pytest.raises(DataError, match=r"has no annotations that are known \(coco, labelme, cvat"):
            plan_import(tmp_path, ImportOptions())

    def test_two_at_once(self, save: Callable) -> None:
        source = save("a.png")
        (source / "annotations.xml").write_text("<annotations/>")
        with pytest.raises(DataError, match="has annotations as labelme and as cvat: choose one with --format"):
            plan_import(source, ImportOptions())

    def test_boxes_alone(self, tmp_path: Path, save_image: Callable) -> None:
        save_image(tmp_path / "a.png")
        boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]
        document = {
            "images": [{"id": 1, "file_name": "a.png"}], "annotations": boxes,
            "categories": [{"id": 1, "name": "a"}],
        }  # fmt: skip
        (tmp_path / "boxes.json").write_text(json.dumps(document))
        with pytest.raises(DataError, match="has no outlines with labels"):
            plan_import(tmp_path, ImportOptions())

    def test_one_document_of_a_folder(self, save: Callable) -> None:
        source = save("a.png", "b.png")
        plan = plan_import(source / "b.png.json", ImportOptions())
        assert [each.name for each in plan.images] == ["b"]
        assert np.array_equal(plan.images[0].image.paint(plan.rules).label, [[1] * 6] * 2 + [[0] * 6] * 2)
