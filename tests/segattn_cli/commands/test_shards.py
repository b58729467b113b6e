"""Shares of the inputs: together they are the whole, whatever the inputs are called."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import Scenes
from segattn_cli.errors import ExitCode
from segattn_cli.prediction.input_files import read_list
from segattn_cli.prediction.saved_evaluation import load_evaluation, save_evaluation

INFER, EVAL = ("infer", "--backend", "numpy"), ("eval", "--backend", "numpy")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.fixture
def clashing(photos: Path) -> Path:
    """Names that clash across shards, so that each shard has to know of all inputs."""
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())  # beside a.jpg
    (photos / "more").mkdir()
    (photos / "more" / "b.png").write_bytes((photos / "b.png").read_bytes())
    return photos


def test_all_shards_together_write_what_one_process_does(
    cli: Any, run: Path, clashing: Path, tmp_path: Path
) -> None:
    whole = cli(*INFER, run, clashing, "--out", tmp_path / "whole", "--json")
    lines, said = [], []
    for number in (1, 2, 3):
        part = cli(*INFER, run, clashing, "--out", tmp_path / "parts", "--json", "--shard", f"{number}/3")
        assert part.code == ExitCode.OK
        *own, summary = map(json.loads, part.out.splitlines())
        assert summary["summary"]["shard"] == f"{number}/3"
        lines += [Path(each["input"]) for each in own]
        said.append(part.err.splitlines()[0])
    assert said == ["Shard 1 of 3: 2 of 5 inputs.", "Shard 2 of 3: 2 of 5 inputs.", "Shard 3 of 3: 1 of 5 inputs."]
    assert files_in(tmp_path / "parts") == files_in(tmp_path / "whole")
    assert {name.removesuffix(".png") for name in files_in(tmp_path / "whole")} == {
        "a.jpg", "a.png", "photos/b", "c", "more/b",
    }  # fmt: skip
    assert sorted(lines) == sorted(Path(json.loads(line)["input"]) for line in whole.out.splitlines()[:-1])


def test_a_shard_that_was_cut_goes_on(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    first = (*INFER, run, photos, "--out", tmp_path / "out", "--shard", "1/2")
    assert cli(*first).code == ExitCode.OK
    assert cli(*INFER, run, photos, "--out", tmp_path / "out", "--shard", "2/2").code == ExitCode.OK
    again = cli(*first)
    assert again.code == ExitCode.OUTPUT
    assert "(as do 2 of 2 outputs)" in again.err
    (tmp_path / "out" / "a.png").unlink()
    assert cli(*first, "--resume").err.splitlines()[-1] == "1 segmented, 1 skipped"


def test_the_task_of_a_job_array_has_its_shard(
    cli: Any, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ID", 5), ("MIN", 5), ("MAX", 6), ("COUNT", 2)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert "Shard 1 of 2: 2 of 3 inputs." in cli(*INFER, run, photos, "--out", tmp_path / "half").err
    everything = cli(*INFER, run, photos, "--out", tmp_path / "all", "--shard", "1/1")
    assert everything.err.splitlines()[-1] == "3 segmented"
    alone = cli(*INFER, run, photos / "c.bmp", "--out", tmp_path / "one")
    assert alone.err.splitlines()[-1] == "1 segmented"  # an image of the task's own


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shard", "0/3"], "--shard must be K/N"),
        (["--shard", "4/3"], "--shard must be K/N"),
        (["--shard", "1/2", "--video", "x.mp4"], "--video makes one file"),
        (["--shard", "1/2", "--polygons", "coco"], "--polygons coco makes one file"),
    ],
)
def test_what_cannot_be_divided(
    cli: Any, run: Path, photos: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    done = cli(*INFER, run, photos, "--out", tmp_path / "out", *options)
    assert done.code == ExitCode.USAGE
    assert words in done.err
    assert not (tmp_path / "out").exists()


def test_a_job_array_with_gaps_is_refused(
    cli: Any, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ID", 5), ("MIN", 1), ("MAX", 9), ("COUNT", 3)):  # sbatch --array=1,7,9 or the like
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    wanted = {"SLURM_ARRAY_TASK_ID": "7"}
    monkeypatch.setenv(*next(iter(wanted.items())))
    assert "unevenly" in cli(*INFER, run, photos, "--out", tmp_path / "out").err
    monkeypatch.delenv("SLURM_ARRAY_TASK_MIN")
    assert "give --shard K/N" in cli(*INFER, run, photos, "--out", tmp_path / "out").err


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_names_the_inputs(cli: Any, run: Path, photos: Path, tmp_path: Path, separator: bytes) -> None:
    odd = photos / "two words.png"
    odd.write_bytes((photos / "b.png").read_bytes())
    names = ("c.bmp", "two words.png", "c.bmp", "none.png")
    content = separator.join(str(photos / name).encode() for name in names)
    done = cli(*INFER, run, "--from", "-", "--out", tmp_path / "out", "--json", stdin=content)
    assert done.code == ExitCode.PARTIAL
    statuses = {Path(line["input"]).name: line["status"] for line in map(json.loads, done.out.splitlines()[:-1])}
    assert statuses == {"c.bmp": "segmented", "two words.png": "segmented", "none.png": "failed"}
    file = tmp_path / "list"
    file.write_bytes(content)
    both = cli(*INFER, run, photos / "a.jpg", "--from", file, "--out", tmp_path / "both")
    assert both.err.splitlines()[-1] == "3 segmented, 1 failed"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
def test_a_list_with_a_byte_order_mark(encoding: str) -> None:
    names = [f"Straße {number}.png" for number in range(9000)]
    mark = "\ufeff" if encoding.startswith("utf-16") else ""
    file = io.BytesIO((mark + "\r\n".join(names)).encode(encoding))
    assert list(read_list(file, "list")) == names


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["--from", "-"], b"\xff\xfea\0\n", "- is no list of paths: it is not text in UTF-16"),
        (["--from", "nothing"], b"", "The list nothing cannot be read: No such file or directory."),
        (["--from", "-"], b"\n\n", "Standard input names no file."),
        (["--from", "-"], b"x" * 3_000_000, "- is no list of paths: a million bytes in it, one after the other,"),
        (["--from", "-"], bytes(3_000_000), "- is no list of paths: a million bytes in it"),  # as /dev/zero has
        (["--from", "-"], b"x\n" * 50_000 + b"\0", "- is no list of paths: it has both lines and NUL bytes."),
        (["-", "--from", "-"], b"", "Standard input can be one image, or one list"),
    ],
)
def test_what_is_no_list(
    cli: Any, run: Path, tmp_path: Path, arguments: list[str], stdin: bytes, words: str
) -> None:
    done = cli(*INFER, run, *arguments, "--out", tmp_path / "out", stdin=stdin)
    assert done.code in (ExitCode.DATA, ExitCode.USAGE)
    assert words in done.err


def test_merged_shards_are_the_whole_evaluation(cli: Any, run: Path, tmp_path: Path) -> None:
    whole, first, second, merged = (tmp_path / f"{name}.npz" for name in ("whole", "first", "second", "merged"))
    expected = json.loads(cli(*EVAL, run, "--save", whole, "--json", "-").out)
    for number, part in enumerate((first, second), 1):
        assert cli(*EVAL, run, "--shard", f"{number}/2", "--save", part).code == ExitCode.OK
    found = json.loads(cli("merge", second, first, "--save", merged, "--json", "-").out)
    for key in ("miou", "miou_interval", "per_class_iou", "per_class_precision", "confusion", "images", "size"):
        assert found[key] == expected[key], key
    assert found["scale_weights"] == pytest.approx(expected["scale_weights"], abs=1e-6)
    one, other = load_evaluation(whole).matrices, load_evaluation(merged).matrices
    assert one.names == other.names
    np.testing.assert_array_equal(one.right, other.right)
    assert "from 2 shards" in cli("merge", first, second).out


def test_shards_that_are_not_one_whole_are_refused(cli: Any, run: Path, tmp_path: Path) -> None:
    for name, options in {
        "1": ["--shard", "1/2"], "2": ["--shard", "2/2"], "flipped": ["--shard", "2/2", "--flip"],
        "third": ["--shard", "2/3"],
    }.items():  # fmt: skip
        assert cli(*EVAL, run, *options, "--save", tmp_path / f"{name}.npz").code == ExitCode.OK

    def merge(*names: str) -> str:
        done = cli("merge", *(tmp_path / f"{name}.npz" for name in names))
        assert done.code == ExitCode.DATA
        return done.err

    assert "Of 2 shards, 2 is missing." in merge("1")
    assert "is shard 1/2, which another file is, too." in merge("1", "1", "2")
    assert "they differ in settings" in merge("1", "flipped")
    assert "is shard 2/3" in merge("1", "third")
    longer = load_evaluation(tmp_path / "2.npz")
    longer = replace(longer, matrices=longer.matrices.in_order([0, 0, 0]))
    save_evaluation(tmp_path / "longer.npz", longer)
    assert "they are not of one list of images" in merge("1", "longer")
    for options, words in ((["--save", "x.npz", "--limit", "1"], "leave out --limit"), ([], "give --save FILE")):
        assert words in cli(*EVAL, run, "--shard", "1/2", *options).err


def test_scale_weights_count_by_the_images_of_a_shard(cli: Any, run: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.npz" for number in (1, 2)]
    for number, (path, weights) in enumerate(zip(paths, ((0.2, 0.8), (0.5, 0.5)), strict=True), 1):
        assert cli(*EVAL, run, "--shard", f"{number}/2", "--save", path).code == ExitCode.OK
        save_evaluation(path, replace(load_evaluation(path), scale_weights=weights))
    merged = json.loads(cli("merge", *paths, "--json", "-").out)
    assert merged["scale_weights"] == pytest.approx([0.3, 0.7])  # of two images, and of one


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """Four images, of which the second and the fourth have no label."""
    root, rng = tmp_path / "street", np.random.default_rng(0)
    for folder in ("images/val", "masks/val"):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        image = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
        image.save(root / "images" / "val" / f"{number}.png")
        mask = np.full((24, 32), 255 if number % 2 else number, np.uint8)
        Image.fromarray(mask).save(root / "masks" / "val" / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(Scenes.classes) + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("count", [2, 5])
def test_a_shard_without_labels_and_one_without_images_are_merged(
    cli: Any, run: Path, unlabelled: Path, tmp_path: Path, count: int
) -> None:
    options = (*EVAL, run, "--data", unlabelled, "--split", "val")
    whole = json.loads(cli(*options, "--json", "-").out)
    paths = [tmp_path / f"{number}.npz" for number in range(1, count + 1)]
    for number, path in enumerate(paths, 1):
        done = cli(*options, "--shard", f"{number}/{count}", "--save", path)
        assert done.code == ExitCode.OK, done.err
        assert ("No pixel of this shard is labelled." in done.out) == (number not in (1, 3))
    found = json.loads(cli("merge", *paths, "--json", "-").out)
    assert (found["images"], found["confusion"]) == (4, whole["confusion"])
    copy = tmp_path / "copy.npz"
    copy.write_bytes(paths[1].read_bytes())
    empty = cli("compare", paths[1], copy)
    assert (empty.code, "has no labelled pixel" in empty.err) == (ExitCode.DATA, True)


def test_what_no_shard_has_labelled_is_refused(cli: Any, run: Path, unlabelled: Path, tmp_path: Path) -> None:
    for number in (0, 2):
        (unlabelled / "masks" / "val" / f"{number}.png").write_bytes(
            (unlabelled / "masks" / "val" / "1.png").read_bytes()
        )
    paths = [tmp_path / f"{number}.npz" for number in (1, 2)]
    for number, path in enumerate(paths, 1):
        done = cli(*EVAL, run, "--data", unlabelled, "--shard", f"{number}/2", "--save", path, "--json", "-")
        assert json.loads(done.out)["miou"] is None
    for done in (cli(*EVAL, run, "--data", unlabelled), cli("merge", *paths)):
        assert done.code == ExitCode.DATA
        assert "Nothing to evaluate: no pixel of street (val) is labelled." in done.err
