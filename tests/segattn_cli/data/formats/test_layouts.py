"""Each layout, in miniature: recognised, read, and its usual mistakes named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data import open_dataset, splits_of
from segattn_cli.data.formats.cityscapes import IDS
from segattn_cli.data.formats.class_lists import KNOWN, guess_classes, known_classes
from segattn_cli.data.formats.coco_stuff import _VALUES
from segattn_cli.data.formats.recognition import LAYOUTS, mistakes_of, recognised
from segattn_cli.data.inspect import inspect, summarise_split
from segattn_cli.errors import DataError

from . import layouts

MAKERS: dict[str, Callable[[Path], Path]] = {
    "camvid": layouts.camvid, "cityscapes": layouts.cityscapes, "person-part": layouts.person_part,
    "voc": layouts.voc, "ade20k": layouts.ade20k, "coco-stuff": layouts.coco_stuff, "folder": layouts.folder,
}  # fmt: skip


def values(label: np.ndarray) -> set[int]:
    return set(np.unique(label).tolist())


def test_every_layout_has_a_miniature() -> None:
    assert set(MAKERS) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_auto_recognises_it_and_nothing_is_wrong(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "data")
    assert recognised(root) == name
    for split in ("train", "val"):
        dataset = open_dataset(root, split=split)
        assert (dataset.format, dataset.split) == (name, split)
        report = summarise_split(dataset, list(inspect(dataset)))
        assert report.problems == report.mistakes == ()
        assert dataset.load(0).image.shape == (*layouts.SIZE, 3)


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_level_too_high_is_said(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "downloads" / "inner")
    for root in (tmp_path, tmp_path / "downloads"):
        with pytest.raises(DataError, match=rf"but .*inner is \({name}\): give that folder"):
            open_dataset(root)


def test_a_level_too_high_is_said_for_a_format_too(tmp_path: Path) -> None:
    layouts.voc(tmp_path / "VOCdevkit" / "VOC2012")
    layouts.ade20k(tmp_path / "VOCdevkit" / "ADEChallengeData2016")
    with pytest.raises(DataError, match=r"is not laid out as voc, but .*VOC2012 is \(voc\): give that folder"):
        open_dataset(tmp_path / "VOCdevkit", format="voc")
    with pytest.raises(DataError, match=r"2016 is \(ade20k\) and .*2012 is \(voc\): give one of them"):
        open_dataset(tmp_path / "VOCdevkit")


@pytest.mark.parametrize(
    ("name", "inner"), [("cityscapes", "gtFine"), ("voc", "JPEGImages"), ("ade20k", "images"), ("folder", "masks")]
)
def test_one_level_too_deep_is_said(name: str, inner: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "data")
    for format in ("auto", name):
        with pytest.raises(DataError, match=rf"{inner} is .*, but .*data is \({name}\): give that folder"):
            open_dataset(root / inner, format=format)


def test_folders_of_others_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.camvid(tmp_path / "shut")
    layouts.voc(tmp_path / "VOC2012")

    def recognise(root: Path) -> bool:
        if root.name == "shut":
            raise PermissionError(13, "Permission denied")
        return False

    monkeypatch.setattr(LAYOUTS["camvid"], "recognise", recognise)
    with pytest.raises(DataError, match=r"but .*VOC2012 is \(voc\): give that folder"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"shut cannot be read: Permission denied\."):
        open_dataset(tmp_path / "shut")


@pytest.mark.parametrize("split", ["training", "train2017"])
def test_plain_folders_may_call_their_splits_as_others_do(split: str, tmp_path: Path) -> None:
    layouts.image(tmp_path / "images" / split / "a.jpg")
    layouts.mask(tmp_path / "masks" / split / "a.png", 0, 1)
    layouts.text(tmp_path / "classes.txt", "sky", "road")
    assert open_dataset(tmp_path, split=split).format == "folder"


@pytest.mark.parametrize("name", KNOWN)
def test_classes_have_names_and_colours(name: str) -> None:
    classes, palette = known_classes(name).names, known_classes(name).palette
    assert len(set(classes)) == len(classes)
    assert palette.shape == (len(classes), 3)
    assert guess_classes(len(classes)) == name
    assert not palette.flags.writeable


def test_class_counts() -> None:
    assert {name: len(known_classes(name).names) for name in KNOWN} == {
        "ade20k": 150, "camvid": 11, "cityscapes": 19, "coco-stuff": 171, "person-part": 7, "voc": 21,
    }  # fmt: skip


class TestCityscapes:
    def test_ids_become_train_ids(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.cityscapes(tmp_path), split="train")
        names = [f"{city}_000001_000019_leftImg8bit" for city in ("aachen", "ulm")]
        assert [dataset.name_of(n) for n in range(2)] == names
        row = dataset.load(0).label.ravel()[:5]
        np.testing.assert_array_equal(row, [0, 1, 18, 255, 255])
        assert dict(zip(dataset.classes, IDS, strict=True))["traffic light"] == 19

    def test_train_ids_are_taken_as_they_are(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.cityscapes(tmp_path, "labelTrainIds", (0, 18, 255)), split="val")
        assert values(dataset.load(0).label) == {0, 18, 255}

    def test_train_ids_in_files_called_label_ids(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.cityscapes(tmp_path, values=(0, 5, 13, 18, 255)), split="val")
        (mistake,) = mistakes_of(dataset)
        assert "hold train ids" in mistake

    def test_missing_masks(self, tmp_path: Path) -> None:
        root = layouts.cityscapes(tmp_path, "polygons")
        with pytest.raises(DataError, match=r"has no \*_gtFine_labelIds.png: unpack gtFine_trainvaltest.zip"):
            open_dataset(root)
        (root / "gtFine").rename(root / "elsewhere")
        with pytest.raises(DataError, match=r"gtFine/train is missing: unpack gtFine_trainvaltest.zip"):
            open_dataset(root)

    def test_a_missing_mask_is_named_as_it_should_be(self, tmp_path: Path) -> None:
        root = layouts.cityscapes(tmp_path)
        name = "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"
        (root / name).unlink()
        with pytest.raises(DataError, match=rf"has no mask .*/{name}: add it or take"):
            open_dataset(root)

    def test_an_archive_unpacked_into_a_folder_of_its_name(self, tmp_path: Path) -> None:
        whole = layouts.cityscapes(tmp_path / "whole")
        (tmp_path / "data" / "leftImg8bit").mkdir(parents=True)
        (whole / "leftImg8bit").rename(tmp_path / "data" / "leftImg8bit" / "leftImg8bit")
        with pytest.raises(DataError, match=r"but .*data/leftImg8bit is \(cityscapes\): give that folder"):
            open_dataset(tmp_path / "data")
        with pytest.raises(DataError, match=r"gtFine/train is missing: unpack gtFine_trainvaltest.zip into"):
            open_dataset(tmp_path / "data" / "leftImg8bit")

    def test_coarse_masks(self, tmp_path: Path) -> None:
        name = "train_extra/bayreuth/bayreuth_000000_000001"
        root = layouts.cityscapes(tmp_path)
        layouts.image(root / "leftImg8bit" / f"{name}_leftImg8bit.png")
        assert splits_of(root) == ("train", "val", "test", "train_extra")
        with pytest.raises(DataError, match=r"gtCoarse/train_extra is missing: unpack gtCoarse.zip"):
            open_dataset(root, split="train_extra")
        layouts.mask(root / "gtCoarse" / f"{name}_gtCoarse_labelIds.png", 0, 26)
        assert values(open_dataset(root, split="train_extra").load(0).label) == {13, 255}

    def test_the_masks_of_test_are_dummies(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.cityscapes(tmp_path), split="test")
        assert "dummies" in mistakes_of(dataset)[0]


class TestADE20K:
    def test_numbers_begin_with_1(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.ade20k(tmp_path), split="validation")
        assert dataset.split == "val"
        np.testing.assert_array_equal(dataset.load(0).label.ravel()[:4], [255, 0, 1, 149])
        assert (dataset.classes[0], dataset.classes[149]) == ("wall", "flag")

    def test_masks_that_were_shifted(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.ade20k(tmp_path, (0, 149, 255)), split="train")
        assert "shifted" in mistakes_of(dataset)[0]

    def test_the_full_data_set(self, tmp_path: Path) -> None:
        layouts.image(tmp_path / "images" / "training" / "a" / "abbey" / "ADE_train_00000970.jpg")
        with pytest.raises(DataError, match=r"the full ADE20K, .*, is another data set"):
            open_dataset(tmp_path)

    def test_missing_masks(self, tmp_path: Path) -> None:
        root = layouts.ade20k(tmp_path)
        (root / "annotations" / "training").rename(root / "gone")
        with pytest.raises(DataError, match=r"annotations/training is missing"):
            open_dataset(root)


class TestVOC:
    def test_the_augmented_list(self, tmp_path: Path) -> None:
        root = layouts.voc(tmp_path)
        assert splits_of(root) == ("train", "trainaug", "val")
        dataset = open_dataset(root, split="trainaug")
        assert len(dataset) == 2
        assert values(dataset.load(1).label) == {0, 3}
        assert values(open_dataset(root, split="train").load(0).label) == {0, 20, 255}
        assert mistakes_of(dataset) == []

    def test_what_the_augmented_masks_lack_is_in_the_original_ones(self, tmp_path: Path) -> None:
        root = layouts.voc(tmp_path)
        (root / "SegmentationClassAug" / "2007_000032.png").unlink()
        assert values(open_dataset(root, split="trainaug").load(1).label) == {0, 20, 255}
        (root / "SegmentationClassAug" / "2008_000006.png").unlink()
        with pytest.raises(DataError, match=r"names 2008_000006, but there is no mask SegmentationClassAug/2008_0"):
            open_dataset(root, split="trainaug")

    def test_no_augmented_list(self, tmp_path: Path) -> None:
        root = layouts.voc(tmp_path)
        (root / "ImageSets" / "Segmentation" / "trainaug.txt").unlink()
        with pytest.raises(DataError, match=r"trainaug.txt is missing: .* a download of its own"):
            open_dataset(root, split="trainaug")

    def test_masks_that_lost_their_border(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.voc(tmp_path, (0, 20)), split="train")
        assert "border" in mistakes_of(dataset)[0]

    def test_masks_that_were_not_converted(self, tmp_path: Path) -> None:
        root = layouts.voc(tmp_path)
        (root / "SegmentationClassAug").rename(root / "cls")
        with pytest.raises(DataError, match=r"SegmentationClassAug is missing, where the masks of trainaug"):
            open_dataset(root, split="trainaug")


class TestPersonPart:
    def test_lists_of_names_and_of_pairs(self, tmp_path: Path) -> None:
        root = layouts.person_part(tmp_path)
        for split, name in (("train", "2008_000026"), ("val", "2008_000041")):
            dataset = open_dataset(root, split=split)
            assert [dataset.name_of(n) for n in range(len(dataset))] == [name]
        assert values(dataset.load(0).label) == {0, 1, 6, 255}
        assert dataset.classes[1:3] == ("head", "torso")

    def test_it_is_no_voc_though_it_has_its_images_and_lists(self, tmp_path: Path) -> None:
        layouts.voc(layouts.person_part(tmp_path))
        assert recognised(tmp_path) == "person-part"
        assert open_dataset(tmp_path, format="voc").format == "voc"

    def test_no_images(self, tmp_path: Path) -> None:
        root = layouts.person_part(tmp_path)
        (root / "JPEGImages").rename(root / "pictures")
        with pytest.raises(DataError, match=r"JPEGImages is missing: link or move the folder of that name"):
            open_dataset(root)

    def test_parts_in_another_order(self, tmp_path: Path) -> None:
        root = layouts.person_part(tmp_path)
        layouts.text(root / "classes.txt", *"abcdefg")
        assert open_dataset(root).classes == tuple("abcdefg")

    def test_a_value_too_many(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.person_part(tmp_path, (0, 7)))
        with pytest.raises(DataError, match=r"holds the value 7 but there are 7 classes"):
            dataset.load(0)


class TestCOCOStuff:
    def test_gaps_are_closed(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.coco_stuff(tmp_path), split="train2017")
        assert dataset.split == "train"
        np.testing.assert_array_equal(dataset.load(0).label.ravel()[:5], [0, 10, 11, 170, 255])
        assert len(_VALUES) == len(dataset.classes) == 171
        assert dict(zip(dataset.classes, _VALUES, strict=True))["stop sign"] == 12
        assert dict(zip(dataset.classes, _VALUES, strict=True))["banner"] == 91
        assert dict(zip(dataset.classes, _VALUES, strict=True))["toothbrush"] == 89

    def test_converted_masks(self, tmp_path: Path) -> None:
        root = layouts.coco_stuff(tmp_path, (0, 170, 255), "_labelTrainIds")
        assert values(open_dataset(root, split="val").load(0).label) == {0, 170, 255}
        (root / "annotations" / "val2017" / "000000000139_labelTrainIds.png").rename(
            root / "annotations" / "val2017" / "000000000140_labelTrainIds.png"
        )
        with pytest.raises(DataError, match=r"has no mask .*val2017/000000000139_labelTrainIds.png"):
            open_dataset(root, split="val")

    def test_official_masks_count_where_there_are_both(self, tmp_path: Path) -> None:
        root = layouts.coco_stuff(layouts.coco_stuff(tmp_path), (1,), "_labelTrainIds")
        assert values(open_dataset(root, split="val").load(0).label) == {0, 10, 11, 170, 255}

    @pytest.mark.parametrize("strange", [182, 11, 90])
    def test_ids_of_categories(self, strange: int, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.coco_stuff(tmp_path, (1, 92, strange)), split="val")
        assert f"holds {strange}, which no official map does" in mistakes_of(dataset)[0]

    def test_things_alone(self, tmp_path: Path) -> None:
        dataset = open_dataset(layouts.coco_stuff(tmp_path, (0, 89, 255)), split="val")
        assert "things alone" in mistakes_of(dataset)[0]

    def test_missing_masks(self, tmp_path: Path) -> None:
        root = layouts.coco_stuff(tmp_path)
        (root / "annotations" / "train2017").rename(root / "gone")
        with pytest.raises(DataError, match=r"unpack stuffthingmaps_trainval2017.zip"):
            open_dataset(root)
