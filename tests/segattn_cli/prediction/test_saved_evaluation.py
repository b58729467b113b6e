"""Evaluations as files: what is read is what was written, and what is no evaluation is one sentence."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reference.ops as ops
from segattn_cli.config import load_config
from segattn_cli.data import SceneOptions, Scenes, open_dataset
from segattn_cli.errors import DataError
from segattn_cli.prediction import saved_evaluation
from segattn_cli.prediction.image_matrices import ImageMatrices
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.saved_evaluation import (
    SavedEvaluation,
    keep_evaluation,
    load_evaluation,
    path_of,
    save_evaluation,
)

MATRICES = ImageMatrices(
    3, ["a", "b"], np.array([0, 0, 1], np.int32), np.array([0, 5, 8], np.int32), np.array([7, 1, 2], np.int64)
)
EVALUATION = SavedEvaluation(
    "runs/first/best.safetensors", load_config("tiny-scenes", ["training.seed=4"]), ("sky", "road", "tree"),
    "scenes", "val", {"size": None, "scales": [1.0]}, (0.25, 0.75), MATRICES,
)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "first.npz"
    save_evaluation(path, EVALUATION)
    read = load_evaluation(path)
    for name in ("checkpoint", "config", "classes", "data", "split", "settings", "scale_weights"):
        assert getattr(read, name) == getattr(EVALUATION, name)
    assert read.matrices.names == ("a", "b")
    for name in ("right", "truth", "predicted"):
        assert np.array_equal(getattr(read.matrices, name), getattr(MATRICES, name))


def changed(path: Path, **changes: object) -> None:
    with np.load(path) as arrays:
        content = dict(arrays)
    description = json.loads(str(content["description"]))
    for key, value in changes.items():
        if key in content:
            content[key] = value
        else:
            description[key] = value
    content["description"] = np.array(json.dumps(description))
    np.savez(path, **content)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "has version 2 of the format of evaluations, and this segattn reads version 1"),
        ({"cell": np.array([0, 5, 9], np.int32)}, "a class that it does not name"),
        ({"image": np.array([0, 0, 2], np.int32)}, "an image that it does not name"),
        ({"pixels": np.array([7, 1], np.int64)}, "differ in length"),
        ({"pixels": np.array([7, -1, 2], np.int64)}, "pixels that no image has"),
        ({"pixels": np.array([7, 1 << 62, 2], np.int64)}, "pixels that no image has"),
        ({"pixels": np.array([7.0, 1.0, 2.0])}, "it holds pixels.npy as float64, a type that it should not have"),
        ({"pixels": np.array(["7", "1", "2"])}, "do not hold integers"),
        ({"names": np.zeros(0, np.str_)}, "names no images"),
        ({"config": {"training": {"seed": -1}}}, "training.seed"),
        ({"classes": 3}, "is damaged"),
        ({"classes": [1, 2, 3]}, "should be a valid string"),
        ({"classes": []}, "names no classes"),
        ({"classes": [str(number) for number in range(256)]}, "names 256 classes, and 255 are possible"),
        ({"names": np.array([b"a", b"b"])}, "a type that it should not have"),
        ({"data": ["scenes"]}, "should be a valid string"),
        ({"settings": 1}, "should be an object"),
        ({"scale_weights": [0.5] * 7}, "weights of other scales than the network"),
    ],
)
def test_a_file_that_contradicts_itself(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    path = tmp_path / "first.npz"
    save_evaluation(path, EVALUATION)
    changed(path, **changes)
    with pytest.raises(DataError, match=sentence):
        load_evaluation(path)


def test_files_that_are_no_evaluations(tmp_path: Path) -> None:
    path = tmp_path / "first.npz"
    with pytest.raises(DataError, match="There is no evaluation"):
        load_evaluation(path)
    save_evaluation(path, EVALUATION)
    whole = path.read_bytes()
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    damaged = whole[:200] + bytes(40) + whole[240:]
    for content in (b"", b"no zip", whole[:100], whole[:-40], buffer.getvalue(), damaged):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is damaged, or no evaluation that segattn eval --save wrote \("):
            load_evaluation(path)
    with pytest.raises(DataError, match="is a folder, a pipe or a device"):
        load_evaluation(tmp_path)


def test_the_place_of_an_evaluation_says_all_that_it_depends_on(tmp_path: Path, model_of) -> None:
    model = model_of(head="fcn")
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.write_bytes(b"weights")
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind / "val").mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "set" / "images" / "val" / f"{name}.png")
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "set" / "masks" / "val" / f"{name}.png")
    (tmp_path / "set" / "classes.txt").write_text("sky\nroad\n")
    predictor = Predictor(model.network, model.params, ops)
    files = open_dataset(str(tmp_path / "set"), split="val")
    scenes = Scenes("val", SceneOptions(4, (24, 32)))

    def place(predictor=predictor, data=files, images=2) -> Path:
        return path_of(checkpoint, predictor, data, images)

    first = place()
    assert first == place()
    assert first.parent == tmp_path / "evaluations"
    places = {
        first, place(images=1), place(Predictor(model.network, model.params, ops, flip=True)),
        place(data=scenes), place(data=Scenes("val", SceneOptions(4, (24, 40)))),
    }
    mask = tmp_path / "set" / "masks" / "val" / "b.png"
    os.utime(mask, ns=(0, mask.stat().st_mtime_ns + 1))  # corrected since
    places.add(place())
    checkpoint.write_bytes(b"weights of a later step")
    places.add(place())
    assert len(places) == 7


def test_a_new_best_checkpoint_leaves_no_evaluation_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "evaluations"
    keep_evaluation(folder / "a.npz", EVALUATION)
    keep_evaluation(folder / "b.npz", EVALUATION)
    assert {each.name for each in folder.iterdir()} == {"a.npz", "b.npz"}
    keep_evaluation(folder / "c.npz", EVALUATION, only=True)
    assert {each.name for each in folder.iterdir()} == {"c.npz"}


def test_more_images_than_any_file_of_its_size_describes(tmp_path: Path) -> None:
    names = ["a"] * 100_000
    matrices = ImageMatrices(3, names, MATRICES.image, MATRICES.cell, MATRICES.pixels)
    save_evaluation(tmp_path / "x.npz", replace(EVALUATION, matrices=matrices))
    with pytest.raises(DataError, match="names more images than it has bytes"):
        load_evaluation(tmp_path / "x.npz")


def test_an_archive_that_would_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "first.npz"
    save_evaluation(path, EVALUATION)
    monkeypatch.setattr(saved_evaluation, "LARGEST", 1000)
    with pytest.raises(DataError, match="would unpack to more than 1,000 bytes"):
        load_evaluation(path)


def test_a_header_of_numpy_that_does_not_end(tmp_path: Path) -> None:
    """Its reader raises an error of Python's tokenizer."""
    header = b"{'descr': ('<f4', (L\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("description.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="is damaged, or no evaluation"):
        load_evaluation(tmp_path / "x.npz")
