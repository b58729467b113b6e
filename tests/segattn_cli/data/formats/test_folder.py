from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data import SceneOptions, default_palette, open_dataset, splits_of
from segattn_cli.data.class_files import read_class_file
from segattn_cli.data.dataset import FileDataset
from segattn_cli.data.formats.plain_folder import write_folder
from segattn_cli.data.listing import NO_SPLIT
from segattn_cli.errors import DataError, OutputError


@pytest.fixture
def root(tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray) -> Path:
    """Two images to train, one to validate."""
    for split, name in (("train", "b.jpg"), ("train", "a.png"), ("val", "c.png")):
        image = tmp_path / "images" / split / name
        save_pair(image, tmp_path / "masks" / split / f"{image.stem}.png", label)
    (tmp_path / "classes.txt").write_text("sky\nthe road 128 64 128\ntree\n")
    return tmp_path


@pytest.fixture
def flat(tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray) -> Path:
    """Eleven images without folders for splits."""
    for index in range(11):
        save_pair(tmp_path / "images" / f"{index}.png", tmp_path / "masks" / f"{index}.png", label)
    (tmp_path / "classes.txt").write_text("sky\nroad\ntree\n")
    return tmp_path


class TestWithSplits:
    def test_images_in_the_order_of_their_names(self, root: Path, label: np.ndarray) -> None:
        dataset = open_dataset(root)
        assert (dataset.format, dataset.name, dataset.split) == ("folder", root.name, "train")
        assert [dataset.name_of(i) for i in range(len(dataset))] == ["a", "b"]
        np.testing.assert_array_equal(dataset.load(1).label, label)

    def test_splits_are_the_folders(self, root: Path) -> None:
        assert splits_of(root) == ("train", "val")
        assert len(open_dataset(root, split="val")) == 1

    def test_a_split_that_does_not_exist(self, root: Path) -> None:
        with pytest.raises(DataError, match=r"has no split 'test': it has train, val\."):
            open_dataset(root, split="test")

    def test_a_split_that_is_empty(self, root: Path) -> None:
        for folder in ("images", "masks"):
            (root / folder / "test").mkdir()
        with pytest.raises(DataError, match=r"split 'test' of \S+ is empty: it needs at least one image"):
            open_dataset(root, split="test")

    def test_a_missing_mask(self, root: Path) -> None:
        (root / "masks" / "train" / "b.png").unlink()
        with pytest.raises(DataError, match=r"b.jpg has no mask \S+masks/train/b.png: add it or"):
            open_dataset(root)

    def test_missing_masks(self, root: Path) -> None:
        (root / "masks").rename(root / "truth")
        with pytest.raises(DataError, match=r"has images, but the folder \S+masks/train of their masks is"):
            open_dataset(root)

    def test_more_masks_than_images_do_no_harm(self, root: Path) -> None:
        (root / "images" / "train" / "b.jpg").unlink()
        assert len(open_dataset(root)) == 1

    def test_a_mask_with_more_classes_than_are_named(self, root: Path) -> None:
        (root / "classes.txt").write_text("sky\nroad\n")
        with pytest.raises(DataError, match=r"a.png holds the value 2 but there are 2 classes"):
            open_dataset(root).load(0)


class TestWithoutSplits:
    def test_a_fifth_is_held_out_and_nothing_is_lost(self, flat: Path) -> None:
        names = {}
        for split in splits_of(flat):
            dataset = open_dataset(flat, split=split)
            names[split] = [dataset.name_of(i) for i in range(len(dataset))]
        assert len(names["val"]) == 2
        assert sorted(names["train"] + names["val"]) == sorted(names["all"]) == sorted(map(str, range(11)))

    def test_the_rule_stays_what_it_is(self, flat: Path) -> None:
        """A run that is taken up after an update must find the same images held out."""
        dataset = open_dataset(flat, split="val")
        assert [dataset.name_of(i) for i in range(2)] == ["2", "6"]

    def test_two_images_are_enough(self, flat: Path) -> None:
        for path in [*flat.glob("images/*"), *flat.glob("masks/*")]:
            if path.stem not in "01":
                path.unlink()
        assert [len(open_dataset(flat, split=split)) for split in ("train", "val", "all")] == [1, 1, 2]

    def test_one_is_not(self, flat: Path) -> None:
        for path in [*flat.glob("images/*"), *flat.glob("masks/*")]:
            if path.stem != "0":
                path.unlink()
        with pytest.raises(DataError, match=r"split 'train' of \S+ is empty"):
            open_dataset(flat)


class TestArrangements:
    """Folders as tools write them: the pairs that each split has."""

    CLASSES = "sky\nroad\ntree\n"

    def make(self, root: Path, save_pair: Callable[..., None], label: np.ndarray, *pairs: tuple[str, str]) -> None:
        for image, mask in pairs:
            save_pair(root / image, root / mask, label)
        (root / "classes.txt").write_text(self.CLASSES)

    def pairs(self, root: Path, split: str) -> list[tuple[str, str]]:
        dataset = open_dataset(root, split=split)
        assert isinstance(dataset, FileDataset)
        return [(str(pair.image.relative_to(root)), str(pair.mask.relative_to(root))) for pair in dataset.pairs]

    @pytest.mark.parametrize(
        ("train", "val"),
        [
            (("img_dir/train/a.jpg", "ann_dir/train/a.png"), ("img_dir/val/b.jpg", "ann_dir/val/b.png")),
            (("train/images/a.png", "train/masks/a.png"), ("valid/images/b.png", "valid/masks/b.png")),
            (("images/train/a.jpg", "masks/train/a_mask.png"), ("images/val/b.jpg", "masks/val/b_mask.png")),
            (("images/train/a.jpg", "labels/train/a.png"), ("images/val/b.jpg", "labels/val/b.png")),
            (("train/a.jpg", "train/a_mask.png"), ("valid/b.jpg", "valid/b_mask.png")),  # Roboflow
            (("train/img/a.jpg", "train/masks_machine/a.jpg.png"), ("val/img/b.jpg", "val/masks_machine/b.png")),
            (("images/training/a.png", "masks/training/a.png"), ("images/val/b.png", "masks/val/b.png")),
        ],
    )
    def test_folders_of_splits(
        self, tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray, train: tuple[str, str],
        val: tuple[str, str],
    ) -> None:
        self.make(tmp_path, save_pair, label, train, val)
        assert splits_of(tmp_path) == ("train", "val")
        assert [self.pairs(tmp_path, split) for split in ("train", "val")] == [[train], [val]]

    @pytest.mark.parametrize(
        "names",
        [("X.jpg", "X_mask.png"), ("images/X.jpg", "images/X_mask.png"), ("d/img/X.jpg", "d/masks_machine/X.png")],
    )
    def test_splits_are_drawn_where_there_are_none(
        self, tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray, names: tuple[str, str]
    ) -> None:
        pairs = [(names[0].replace("X", str(i)), names[1].replace("X", str(i))) for i in range(5)]
        self.make(tmp_path, save_pair, label, *pairs)
        assert splits_of(tmp_path) == ("train", "val", "all")
        assert self.pairs(tmp_path, "all") == pairs

    def test_lists_beside_a_flat_folder_decide(self, flat: Path) -> None:
        (flat / "train.txt").write_text("images/3.png\n1\n")
        (flat / "valid.txt").write_bytes("image\tmask\r\n2.png\t2.png\r\n".encode("utf-16"))
        assert splits_of(flat) == ("train", "val")
        assert self.pairs(flat, "train") == [("images/3.png", "masks/3.png"), ("images/1.png", "masks/1.png")]
        assert self.pairs(flat, "val") == [("images/2.png", "masks/2.png")]
        dataset = open_dataset(flat)
        assert isinstance(dataset, FileDataset)
        assert {each.path.stem for each in dataset.files.left_out} == set("0456789") | {"10"}

    def test_a_list_that_is_called_like_no_split_is_left_out_and_counted(self, flat: Path) -> None:
        (flat / "splits.csv").write_text("image,split\n0.png,train\n1.png,val\n")
        (flat / "readme.txt").write_text("Images of streets.\n")
        left_out = open_dataset(flat).files.left_out
        assert [(each.path.name, each.reason) for each in left_out] == [("splits.csv", NO_SPLIT)]

    @pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", "@eaDir"])
    def test_folders_of_systems_are_no_splits(self, flat: Path, name: str) -> None:
        (flat / "images" / name).mkdir()
        assert splits_of(flat) == ("train", "val", "all")
        assert len(open_dataset(flat, split="all")) == 11

    def test_roboflows_own_list_of_classes(
        self, tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray
    ) -> None:
        self.make(tmp_path, save_pair, label, ("train/a.jpg", "train/a_mask.png"))
        (tmp_path / "classes.txt").unlink()
        (tmp_path / "train" / "_classes.csv").write_text("Pixel Value, Class\n0, sky\n1, road\n2, car\n")
        assert open_dataset(tmp_path).classes == ("sky", "road", "car")

    def test_composed_and_decomposed_names(
        self, tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray
    ) -> None:
        self.make(tmp_path, save_pair, label, ("images/all/Cafe\u0301.png", "masks/all/Caf\u00e9.png"))
        assert len(open_dataset(tmp_path, split="all")) == 1


class TestClasses:
    def test_names_and_colours(self, root: Path) -> None:
        dataset = open_dataset(root)
        assert dataset.classes == ("sky", "the road", "tree")
        assert dataset.palette[1].tolist() == [128, 64, 128]
        np.testing.assert_array_equal(dataset.palette[[0, 2]], default_palette(3)[[0, 2]])

    @pytest.mark.parametrize(
        "content", ["a,1,2,3\nb", "a 1 2 3\r\nb\r\n", "﻿a; 1; 2; 3\n\n# no class\nb\n", "a\t1\t2\t3\nb"]
    )
    def test_ways_to_write_them(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "classes.txt").write_bytes(content.encode())
        classes = read_class_file(tmp_path / "classes.txt")
        assert classes.names == ("a", "b")
        assert classes.palette[0].tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("", r"names 0 classes"),
            ("# nothing\n\n", r"names 0 classes"),
            ("\n".join(map(str, range(256))), r"names 256 classes: 2 to 255"),
            ("sky", r"names 1 class"),
            ("a\nb\na", r"names the class 'a' twice"),
            ("a 1 2 300\nb", r"gives 'a' the colour \[1, 2, 300\]: values go from 0 to 255"),
        ],
    )
    def test_what_cannot_be_meant(self, tmp_path: Path, content: str, sentence: str) -> None:
        (tmp_path / "classes.txt").write_text(content)
        with pytest.raises(DataError, match=rf"classes.txt {sentence}"):
            read_class_file(tmp_path / "classes.txt")

    def test_a_missing_file(self, root: Path) -> None:
        (root / "classes.txt").unlink()
        with pytest.raises(DataError, match=r"classes.txt is missing: write one class name per line"):
            open_dataset(root)

    def test_no_text(self, root: Path) -> None:
        (root / "classes.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DataError, match=r"classes.txt is not text"):
            open_dataset(root)


class TestWriting:
    def test_what_is_written_reads_back_identically(self, tmp_path: Path) -> None:
        scenes = open_dataset("scenes", split="val", scenes=SceneOptions(count=4, size=(24, 32)))
        names = list(write_folder(scenes, tmp_path))
        back = open_dataset(tmp_path, split="all")
        assert back.classes == scenes.classes
        np.testing.assert_array_equal(back.palette, scenes.palette)
        assert len(back) == len(names) == 4
        for index in range(4):
            ours, theirs = scenes.load(index), back.load(index)
            assert ours.name == theirs.name == names[index]
            np.testing.assert_array_equal(ours.image, theirs.image)
            np.testing.assert_array_equal(ours.label, theirs.label)

    def test_a_folder_cut_short_is_no_data_set(self, tmp_path: Path) -> None:
        scenes = open_dataset("scenes", scenes=SceneOptions(count=4, size=(24, 32)))
        written = write_folder(scenes, tmp_path)
        next(written)
        written.close()
        with pytest.raises(DataError, match=r"classes.txt is missing"):
            open_dataset(tmp_path)

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        scenes = open_dataset("scenes", scenes=SceneOptions(count=1, size=(24, 32)))
        with pytest.raises(OutputError, match=r"file/images cannot be written"):
            list(write_folder(scenes, tmp_path / "file"))
