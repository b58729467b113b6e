from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import SceneOptions, open_dataset
from segattn_cli.errors import ExitCode


class TestSample:
    def test_what_is_drawn_reads_back_identically(self, cli: Callable, tmp_path: Path) -> None:
        out = tmp_path / "new" / "samples"
        options = ("--count", 5, "--size", "24,32", "--seed", 3, "--split", "val")
        done = cli("data", "sample", "scenes", "--out", out, *options)
        assert (done.code, done.out) == (0, f"{out}: 5 images, 8 classes\n")
        assert sorted(path.name for path in out.iterdir()) == ["classes.txt", "images", "masks"]
        scenes = open_dataset("scenes", split="val", scenes=SceneOptions(count=5, size=(24, 32), seed=3))
        back = open_dataset(out, split="all")
        assert len(back) == 5
        for index in range(5):
            for ours, theirs in zip(scenes.load(index), back.load(index), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    def test_a_folder_that_is_not_empty_is_left_alone(self, cli: Callable, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("results")
        done = cli("data", "sample", "scenes", "--count", 1, "--out", tmp_path)
        assert done.code == ExitCode.OUTPUT
        assert done.err == (
            f"segattn: {tmp_path} is not empty: replace files in it with --force, or choose another --out.\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
        assert cli("data", "sample", "scenes", "--count", 1, "--out", tmp_path, "--force").code == 0
        assert (tmp_path / "thesis.txt").read_text() == "results"

    def test_an_empty_folder_will_do(self, cli: Callable, tmp_path: Path) -> None:
        assert cli("data", "sample", "scenes", "--count", 1, "--out", tmp_path).code == 0

    def test_a_file_in_the_way(self, cli: Callable, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        for out in (tmp_path / "x", tmp_path / "x" / "y"):
            for force in ([], ["--force"]):
                done = cli("data", "sample", "scenes", "--count", 1, "--out", out, *force)
                assert done.code == ExitCode.OUTPUT
                assert done.err.startswith(f"segattn: --out {tmp_path / 'x'}")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
    def test_a_disk_that_is_full(self, cli: Callable, tmp_path: Path) -> None:
        (tmp_path / "masks").mkdir()
        (tmp_path / "masks" / "train-00000.png").symlink_to("/dev/full")
        done = cli("data", "sample", "scenes", "--count", 2, "--out", tmp_path, "--force")
        assert done.code == ExitCode.OUTPUT
        assert "train-00000.png cannot be written (No space left on device)" in done.err
        assert not (tmp_path / "classes.txt").exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: run the tests as another user")
    def test_a_folder_that_cannot_be_written(self, cli: Callable, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        assert cli("data", "sample", "scenes", "--count", 1, "--out", tmp_path / "x").code == ExitCode.OUTPUT

    @pytest.mark.parametrize(
        ("arguments", "code", "sentence"),
        [
            (["camvid", "--out", "x"], ExitCode.USAGE, "Only 'scenes' can be drawn, not 'camvid'."),
            (["scenes", "--out", "x", "--size", "96"], ExitCode.USAGE, "--size"),
            (["scenes", "--out", "x", "--size", "0,3"], ExitCode.USAGE, "--size"),
            (["scenes", "--out", "x", "--count", 0], ExitCode.USAGE, "--count"),
            (["scenes", "--out", "x", "--count", 10**20], ExitCode.USAGE, "--count"),
            (["scenes", "--out", "x", "--seed", 10**20], ExitCode.USAGE, "--seed"),
            (["scenes", "--out", "x", "--split", "all"], ExitCode.DATA, "scenes have no split 'all'"),
            (["scenes"], ExitCode.USAGE, "--out"),
        ],
    )
    def test_what_cannot_be_meant(
        self,
        cli: Callable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list,
        code: int,
        sentence: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        done = cli("data", "sample", *arguments)
        assert done.code == code
        assert sentence in done.err
        assert not any(tmp_path.iterdir())


@pytest.fixture
def root(cli: Callable, tmp_path: Path) -> Path:
    """Ten pictures in plain folders: eight to train, two to validate."""
    out = tmp_path / "streets"
    assert cli("data", "sample", "scenes", "--count", 10, "--out", out, "--size", "24,32").code == 0
    return out


class TestCheck:
    def test_a_good_data_set(self, cli: Callable, root: Path) -> None:
        done = cli("data", "check", root)
        assert done.code == 0
        assert f"{root} (folder)" in done.out
        assert "8 of 24×32" in done.out
        assert "All 10 images and their masks can be used." in done.out
        for name in ("sky", "building", "plaza"):
            assert name in done.out
        assert "val/" in done.err  # progress

    def test_json(self, cli: Callable, root: Path, tmp_path: Path) -> None:
        file = tmp_path / "report.json"
        assert cli("data", "check", root, "--json", file).code == 0
        report = json.loads(file.read_text())
        assert (report["format"], report["passed"], len(report["classes"])) == ("folder", True, 8)
        assert report["splits"]["train"]["pictures"] == 8
        assert report["splits"]["val"]["sizes"] == [{"height": 24, "width": 32, "pictures": 2}]
        assert sum(report["splits"]["train"]["class_pixels"].values()) == 8 * 24 * 32
        done = cli("data", "check", root, "--json", "-")
        assert json.loads(done.out) == report

    def test_the_weights_are_those_of_the_training(self, cli: Callable, root: Path) -> None:
        from segattn_cli.training.class_weights import median_frequency

        report = json.loads(cli("data", "check", root, "--json", "-").out)
        assert report["class_weights"]["median-frequency"] == list(median_frequency(open_dataset(root)))

    def test_every_bad_file_is_named(self, cli: Callable, root: Path) -> None:
        val = open_dataset(root, split="val")
        train = open_dataset(root)
        (root / "images" / f"{val.name_of(0)}.png").write_bytes(b"no picture")
        Image.new("RGB", (32, 24), (9, 8, 7)).save(root / "masks" / f"{val.name_of(1)}.png")
        Image.new("L", (32, 24), 9).save(root / "masks" / f"{train.name_of(3)}.png")
        done = cli("data", "check", root)
        assert done.code == ExitCode.DATA
        for wanted in ("damaged or no image", "is in colour", "holds the value 9 but there are"):
            assert wanted in done.out
        assert "3 problems: training would fail." in done.out
        report = json.loads(cli("data", "check", root, "--json", "-").out)
        assert not report["passed"]
        assert [len(split["problems"]) for split in report["splits"].values()] == [1, 2]

    def test_every_missing_mask_is_named(self, cli: Callable, root: Path) -> None:
        train = open_dataset(root)
        missing = [root / "masks" / f"{train.name_of(index)}.png" for index in (1, 4)]
        for mask in missing:
            mask.unlink()
        done = cli("data", "check", root)
        assert done.code == ExitCode.DATA
        assert str(missing[0]) in done.out
        report = json.loads(cli("data", "check", root, "--json", "-").out)
        assert all(str(mask) in str(report["splits"]["train"]["problems"]) for mask in missing)
        assert report["splits"]["train"]["readable"] == 6  # the rest is read as well

    def test_many_problems_are_cut_short(self, cli: Callable, root: Path, tmp_path: Path) -> None:
        assert cli("data", "sample", "scenes", "--count", 40, "--out", root, "--size", "8,8", "--force").code == 0
        for image in (root / "images").iterdir():
            image.write_bytes(b"")
        done = cli("data", "check", root, "--json", tmp_path / "all.json")
        assert done.code == ExitCode.DATA
        assert done.out.count("is empty") == 2
        assert "The same holds for 31 more: " in done.out
        assert len(json.loads((tmp_path / "all.json").read_text())["splits"]["train"]["problems"]) == 32

    def test_what_is_odd_but_no_error(self, cli: Callable, root: Path) -> None:
        train = open_dataset(root)
        for index in range(len(train)):
            Image.new("L", (32, 24), 255 if index == 0 else 3).save(root / "masks" / f"{train.name_of(index)}.png")
        done = cli("data", "check", root)
        assert done.code == 0
        assert "No labelled pixel in 1 of the 8 images of train." in done.out
        assert "Never in train: sky, building, pavement, plaza, tree, car, person." in done.out

    def test_mistakes(self, cli: Callable, tmp_path: Path) -> None:
        for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
            for folder, mode, ending in (("images", "RGB", "jpg"), ("annotations", "L", "png")):
                path = tmp_path / folder / split / f"{name}.{ending}"
                path.parent.mkdir(parents=True)
                picture = Image.new(mode, (32, 24), "white")  # 255 is void in masks that were shifted
                picture.paste("grey", (0, 0, 9, 9))  # 128: a class
                picture.save(path)
        done = cli("data", "check", tmp_path)
        assert done.code == 0
        assert "! train: The masks have 255, which the original ones have not" in done.out
        assert "! All 2 images and their masks can be read; are they the right ones?" in done.out
        assert "Never in train: wall, " in done.out
        assert ", cabinet, " in done.out
        assert "and 129 more. A network cannot learn" in done.out

    def test_a_test_split_without_truth_is_no_mistake(self, cli: Callable, tmp_path: Path) -> None:
        for split, value in (("train", 26), ("val", 7), ("test", 3)):
            for folder, mode, ending in (("leftImg8bit", "RGB", "leftImg8bit"), ("gtFine", "L", "gtFine_labelIds")):
                path = tmp_path / folder / split / "ulm" / f"ulm_000000_000019_{ending}.png"
                path.parent.mkdir(parents=True)
                Image.new(mode, (8, 6), value if mode == "L" else "grey").save(path)
        done = cli("data", "check", tmp_path)
        assert "! test: The masks of test are dummies" in done.out
        assert "✓ All 3 images and their masks can be used.\n\nNext:\n  segattn data check " in done.out

    def test_one_split(self, cli: Callable, root: Path) -> None:
        report = json.loads(cli("data", "check", root, "--split", "val", "--json", "-").out)
        assert list(report["splits"]) == ["val"]
        done = cli("data", "check", root, "--split", "test")
        assert done.code == ExitCode.DATA
        assert "has no split 'test'" in done.out

    def test_void_is_counted(self, cli: Callable, root: Path) -> None:
        for mask in (root / "masks").iterdir():
            label = np.array(Image.open(mask))
            label[:6] = 255
            Image.fromarray(label).save(mask)
        report = json.loads(cli("data", "check", root, "--json", "-").out)
        assert report["splits"]["train"]["void_share"] == 0.25

    @pytest.mark.parametrize(
        ("arguments", "code", "sentence"),
        [
            (["nowhere"], ExitCode.DATA, "nowhere does not exist"),
            (["."], ExitCode.DATA, "is in no known layout"),
            ([".", "--format", "vox"], ExitCode.CONFIG, "did you mean voc?"),
            ([".", "--format", "voc"], ExitCode.DATA, "has no split of the format voc"),
            (["scenes", "--json", "missing/x.json"], ExitCode.OUTPUT, "There is no folder missing"),
        ],
    )
    def test_what_cannot_be_meant(
        self,
        cli: Callable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list,
        code: int,
        sentence: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        done = cli("data", "check", *arguments)
        assert done.code == code
        assert sentence in done.err

    def test_the_real_one(self, cli: Callable, camvid: Path) -> None:
        report = json.loads(cli("data", "check", camvid, "--split", "val", "--json", "-").out)
        assert report["passed"]
        assert report["splits"]["val"]["pictures"] == 101
        assert report["splits"]["val"]["void_share"] == pytest.approx(0.017, abs=0.001)


@pytest.mark.parametrize("command", [[], ["sample"], ["check"]])
def test_help(cli: Callable, command: list[str]) -> None:
    done = cli("data", *command, "--help")
    assert done.code == 0
    assert command == [] or "Examples" in done.out
