from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reference.ops as ops
from segattn_cli.data.formats.scenes import CLASSES, PALETTE
from segattn_cli.data.images import read_image
from segattn_cli.errors import ExitCode
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import open_model


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_becomes_label_maps_overlays_and_scores(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    done = cli("infer", run, photos, "--out", out, "--overlay", "--scores", "--backend", "reference")
    assert done.code == ExitCode.OK
    assert written(out) == sorted(f"{n}{kind}" for n in "abc" for kind in (".png", ".overlay.png", ".npy"))
    model = open_model(run)
    predictor = Predictor(model.network, model.params, ops)
    for name in ("a.jpg", "b.png", "c.bmp"):
        image = read_image(photos / name)
        expected = predictor.scores(image)
        scores = np.load(out / f"{name[0]}.npy")
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, expected)
        with Image.open(out / f"{name[0]}.png") as label:
            assert label.mode == "P"
            assert label.getpalette()[: 3 * len(CLASSES)] == PALETTE.ravel().tolist()
            np.testing.assert_array_equal(np.asarray(label), expected.argmax(-1))
        assert read_image(out / f"{name[0]}.overlay.png").shape[1] >= 360
    assert [line.split("  ")[0] for line in done.out.splitlines()] == [str(out / f"{n}.png") for n in "abc"]
    assert done.err.splitlines()[-1] == "3 segmented"


def test_json_is_one_object_for_each_picture_and_a_summary(
    cli: Any, run: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    done = cli("infer", run, photos, "--out", tmp_path / "out", "--json")
    *pictures, summary = map(json.loads, done.out.splitlines())
    assert [each["status"] for each in pictures] == ["segmented", "segmented", "failed", "segmented"]
    first = pictures[0]
    assert first["input"] == str(photos / "a.jpg")
    assert first["label"] == str(tmp_path / "out" / "a.png")
    assert first["size"] == [30, 41]
    assert sum(first["shares"].values()) == pytest.approx(1)
    assert list(first["shares"].values()) == sorted(first["shares"].values(), reverse=True)
    assert sum(first["scale_weights"]) == pytest.approx(1, abs=1e-5)
    assert summary["summary"]["segmented"] == 3
    assert summary["summary"]["failed"] == 1


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX's")
def test_a_reader_that_has_enough_leaves_whole_files(run: Path, photos: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = ["infer", str(run), str(photos), "--out", str(tmp_path / "out"), "--overlay", "--backend", "numpy"]
    done = subprocess.run(
        [sys.executable, "-m", "segattn_cli.app", *command], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.CLOSED_PIPE, b"")
    assert written(tmp_path / "out") == ["a.overlay.png", "a.png"]  # the images that were reported, and no more
    assert read_image(tmp_path / "out" / "a.png").shape[:2] == (30, 41)


def test_a_picture_on_standard_input(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    picture = (photos / "a.jpg").read_bytes()
    done = cli("infer", run, "-", "--out", tmp_path / "out", stdin=picture)
    assert done.code == ExitCode.OK
    assert written(tmp_path / "out") == ["stdin.png"]
    assert cli("infer", run, photos / "a.jpg", "--out", tmp_path / "out").code == ExitCode.OK
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "out" / "stdin.png").read_bytes()


def test_bad_pictures_are_reported_and_the_rest_goes_on(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    (photos / "cut.jpg").write_bytes((photos / "a.jpg").read_bytes()[:-200])
    (photos / "text.png").write_text("no picture")
    done = cli("infer", run, photos, photos / "missing.jpg", "--out", tmp_path / "out", "--backend", "numpy")
    assert done.code == ExitCode.PARTIAL
    assert written(tmp_path / "out") == ["a.png", "b.png", "c.png"]
    complaints = [line for line in done.err.splitlines() if line.startswith("segattn: ")]
    assert len(complaints) == 4
    for name in ("empty.png", "cut.jpg", "text.png", "missing.jpg"):
        assert any(name in line for line in complaints)
    assert done.err.splitlines()[-1] == "3 segmented, 4 failed"


def test_when_no_picture_can_be_used_the_exit_code_is_that_of_bad_data(cli: Any, run: Path, tmp_path: Path) -> None:
    done = cli("infer", run, tmp_path / "missing.jpg", "--out", tmp_path / "out")
    assert done.code == ExitCode.DATA
    assert f"segattn: {tmp_path / 'missing.jpg'} does not exist." in done.err


def test_existing_results_are_kept_or_replaced_as_told(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"precious")
    refused = cli("infer", run, photos, "--out", out)
    assert refused.code == ExitCode.OUTPUT
    assert f"{out / 'a.png'} exists already" in refused.err
    assert "--resume" in refused.err
    assert written(out) == ["a.png"]

    resumed = cli("infer", run, photos, "--out", out, "--resume")
    assert resumed.code == ExitCode.OK
    assert resumed.err.splitlines()[-1] == "2 segmented, 1 skipped"
    assert (out / "a.png").read_bytes() == b"precious"

    assert cli("infer", run, photos, "--out", out, "--resume", "--overlay").code == ExitCode.OK
    assert read_image(out / "a.png").shape[:2] == (30, 41)  # done again, as its overlay was not there

    (out / "a.png").write_bytes(b"precious")
    assert cli("infer", run, photos, "--out", out, "--force").code == ExitCode.OK
    assert read_image(out / "a.png").shape[:2] == (30, 41)
    assert cli("infer", run, photos, "--out", out, "--force", "--resume").code == ExitCode.USAGE


def test_pictures_of_the_same_name_do_not_meet(cli: Any, run: Path, tmp_path: Path) -> None:
    colours = {"a/x.png": 10, "a/x.bmp": 90, "b/x.png": 170, "b/y.png": 250}
    for name, colour in colours.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, colour // 10), (colour,) * 3).save(tmp_path / "in" / name)
    done = cli("infer", run, tmp_path / "in", "--out", tmp_path / "out")
    assert done.code == ExitCode.OK
    assert written(tmp_path / "out") == ["a/x.png", "b/x.png", "x.bmp.png", "y.png"]
    heights = {name: read_image(tmp_path / "out" / name).shape[0] for name in written(tmp_path / "out")}
    assert heights == {"a/x.png": 1, "x.bmp.png": 9, "b/x.png": 17, "y.png": 25}


def test_patterns_folders_and_files_give_each_picture_once(
    cli: Any, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (photos / ".hidden.png").write_bytes(b"")
    done = cli("infer", run, "photos/*.jpg", "photos", photos / "b.png", "--out", "photos/out")
    assert done.code == ExitCode.OK
    assert written(photos / "out") == ["a.png", "b.png", "c.png"]
    again = cli("infer", run, "photos", "--out", "photos/out", "--resume")  # outputs are no inputs
    assert again.err.splitlines()[-1] == "3 skipped"


@pytest.mark.parametrize(
    ("inputs", "code", "sentence"),
    [
        (["nothing/*.png"], ExitCode.DATA, "No file matches nothing/*.png."),
        (["empty"], ExitCode.DATA, "The folder empty holds no image"),
        (["photos", "--out", "photos"], ExitCode.USAGE, "photos is both an input and --out"),
        (["photos", ""], ExitCode.USAGE, "An input has an empty name"),
        (["photos/b.png", "--out", "photos", "--force"], ExitCode.USAGE, "photos/b.png is an input and would be"),
        (["photos", "--out", "photos/a.jpg"], ExitCode.OUTPUT, "photos/a.jpg is a file: give a folder"),
        (["photos", "--out", "photos/a.jpg/deep"], ExitCode.OUTPUT, "photos/a.jpg/deep cannot be written to"),
        (
            ["photos", "--window", "12"],
            ExitCode.USAGE,
            "--window must be height and width, such as 512,1024, got '12'",
        ),
        (["photos", "--window", "12,0"], ExitCode.USAGE, "--window must be at least one pixel"),
        (["photos", "--scales", "1;2"], ExitCode.USAGE, "--scales must be factors"),
        (["photos", "--stride", "4,4"], ExitCode.USAGE, "give the size of a window, too"),
        (["photos", "--backend", "numpi"], ExitCode.BACKEND, "did you mean numpy?"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    cli: Any, run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(photos.parent)
    (photos.parent / "empty").mkdir()
    done = cli("infer", run, *inputs, *([] if "--out" in inputs else ["--out", "out"]))
    assert done.code == code
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert sorted(os.listdir(photos)) == ["a.jpg", "b.png", "c.bmp"]


def test_a_disk_that_is_full_loses_nothing(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 50)).save(photos / "b.png")  # its scores are the first to pass the limit
    size = 30 * 41 * len(CLASSES) * 4 + 1000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        done = cli("infer", run, photos, "--out", tmp_path / "out", "--scores")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == ExitCode.OUTPUT
    assert f"{tmp_path / 'out'} cannot be written to (" in done.err
    assert written(tmp_path / "out") == ["a.npy", "a.png"]
    assert np.load(tmp_path / "out" / "a.npy").shape == (30, 41, len(CLASSES))
    assert cli("infer", run, photos, "--out", tmp_path / "out", "--scores", "--resume").code == ExitCode.OK
    assert len(written(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda whole: b"", "truncated"),
        (lambda whole: whole[: len(whole) // 2], "truncated"),
        (lambda whole: b"PK\x03\x04" + bytes(200), "no safetensors file"),
        (lambda whole: None, "There is no checkpoint at"),
    ],
)
def test_a_checkpoint_that_is_none(
    cli: Any, run: Path, photos: Path, tmp_path: Path, damage: Any, sentence: str
) -> None:
    content = damage((run / "best.safetensors").read_bytes())
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    done = cli("infer", tmp_path / "model.safetensors", photos, "--out", tmp_path / "out")
    assert done.code == ExitCode.CHECKPOINT
    assert sentence in done.err
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_network(cli: Any, model_of: Any, photos: Path, tmp_path: Path) -> None:
    from segattn_cli.runs.checkpoint import load_checkpoint, save_checkpoint

    model = load_checkpoint(model_of(tmp_path / "dual.safetensors"))
    fcn = load_checkpoint(model_of(tmp_path / "fcn.safetensors", "network.head=fcn"))
    save_checkpoint(tmp_path / "mixed.safetensors", fcn.arrays, model.metadata)
    done = cli("infer", tmp_path / "mixed.safetensors", photos, "--out", tmp_path / "out")
    assert done.code == ExitCode.CHECKPOINT
    assert "is of another network" in done.err


def test_options_of_the_run_hold_unless_others_are_given(
    cli: Any, model_of: Any, photos: Path, tmp_path: Path
) -> None:
    own = model_of(
        tmp_path / "own.safetensors", "data.size=[12, 16]", "evaluation.scales=[0.5, 1.0]", "evaluation.flip=true"
    )
    plain = model_of(tmp_path / "plain.safetensors")

    def scores(*arguments: Any) -> np.ndarray:
        out = tmp_path / "out"
        assert cli("infer", *arguments, photos / "a.jpg", "--out", out, "--scores", "--force").code == 0
        return np.load(out / "a.npy")

    same = scores(plain, "--size", "12,16", "--scales", "0.5,1", "--flip")
    np.testing.assert_array_equal(scores(own), same)
    unchanged = scores(own, "--size", "none", "--scales", "1", "--no-flip")
    np.testing.assert_array_equal(unchanged, scores(plain))
    assert np.abs(same - unchanged).max() > 0.01


def test_a_picture_that_does_not_fit_into_memory_is_reported(
    cli: Any, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = Predictor.maps

    def too_large(self: Predictor, image: np.ndarray, *output: Any, **asked: bool) -> Any:
        if image.shape[1] == 41:
            raise MemoryError
        return maps(self, image, *output, **asked)

    monkeypatch.setattr(Predictor, "maps", too_large)
    done = cli("infer", run, photos, "--out", tmp_path / "out")
    assert done.code == ExitCode.PARTIAL
    assert "a.jpg needs more memory than there is: try a --window." in done.err
    assert written(tmp_path / "out") == ["b.png", "c.png"]


def test_outputs_may_go_to_where_the_folder_of_pictures_lies(cli, run, photos):
    done = cli("infer", run, photos, "--out", photos.parent)
    assert done.code == 0, done.err
    assert (photos.parent / "a.png").exists()


@pytest.mark.parametrize("scales", ["nan", "inf", "0"])
def test_scales_that_are_no_factors(cli, run, photos, tmp_path, scales):
    done = cli("infer", run, photos, "--out", tmp_path / "out", "--scales", scales)
    assert done.code == ExitCode.USAGE
    assert "Traceback" not in done.err


def test_a_bomb_is_reported_and_the_rest_goes_on(cli, run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("segattn_cli.data.images.LARGEST", 1100)  # a.jpg has 1230
    done = cli("infer", run, photos, "--out", tmp_path / "out")
    assert done.code == ExitCode.PARTIAL
    assert "may be a decompression bomb" in done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.png", "c.png"}


def test_everything_at_once(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--overlay", "--scores", "--probabilities", "png", "--confidence", "--entropy", "--json"]
    done = cli("infer", run, photos / "a.jpg", "--out", out, *options)
    assert done.code == ExitCode.OK
    first, _ = map(json.loads, done.out.splitlines())
    kinds = ("overlay", "scores", "probabilities", "confidence", "entropy", "label")
    assert all(Path(first[kind]).exists() for kind in kinds)
    assert sorted(path.name for path in out.iterdir()) == [
        "a.confidence.png", "a.entropy.png", "a.npy", "a.overlay.png", "a.png", "a.probabilities",
    ]
    scores = np.load(out / "a.npy")
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    with Image.open(out / "a.confidence.png") as picture:
        np.testing.assert_allclose(np.asarray(picture) / 65535, p.max(-1), atol=1e-5)
    label = scores.argmax(-1)
    for name, mean in first["mean_confidence"].items():
        where = label == CLASSES.index(name)
        assert mean == pytest.approx(p.max(-1)[where].mean(), abs=1e-5)
        assert first["shares"][name] == pytest.approx(where.mean())


def test_folders_are_kept_or_replaced_like_files(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    again = ["infer", run, photos / "a.jpg", "--out", tmp_path, "--probabilities", "png"]
    assert cli(*again).code == ExitCode.OK
    (tmp_path / "a.probabilities" / "mine.txt").touch()
    assert cli(*again).code == ExitCode.OUTPUT
    assert cli(*again, "--resume").err.endswith("1 skipped\n")
    assert (tmp_path / "a.probabilities" / "mine.txt").exists()
    assert cli(*again, "--force").code == ExitCode.OK
    assert len(list((tmp_path / "a.probabilities").iterdir())) == len(CLASSES)


def test_a_file_does_not_replace_a_folder(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    (tmp_path / "out" / "a.png" / "precious.txt").touch()
    done = cli("infer", run, photos / "a.jpg", "--out", tmp_path / "out", "--force")
    assert done.code == ExitCode.OUTPUT
    assert "cannot be written to" in done.err
    assert (tmp_path / "out" / "a.png" / "precious.txt").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take text alone")
def test_names_that_are_no_text(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    """Names of files are bytes, and a terminal obeys some of them."""
    for name in (b"caf\xe9.jpg", b"\x1b[31mred\n.jpg"):
        (photos / "a.jpg").rename(photos / os.fsdecode(name))
        done = cli("infer", run, photos, "--out", tmp_path / "out", "--force")
        assert done.code == ExitCode.OK
        assert (tmp_path / "out" / os.fsdecode(name.replace(b".jpg", b".png"))).exists()
        assert (done.out + done.err).replace("\n", "").isprintable()
        assert len(done.out.splitlines()) == 3
        (photos / os.fsdecode(name)).rename(photos / "a.jpg")


def test_the_maps_of_attention(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    done = cli("infer", run, photos / "a.jpg", "--out", tmp_path, "--attention", "--json")
    assert done.code == ExitCode.OK
    folder = Path(json.loads(done.out.splitlines()[0])["attention"])
    assert folder == tmp_path / "a.attention"
    names = {path.stem for path in folder.iterdir()}
    assert {"position-received-scale-1", "channel-map-scale-0.5", "scale-weight-1", "scale-winner"} <= names


@pytest.mark.parametrize("option", [["--probabilities", "npy"], ["--confidence"], ["--entropy"], ["--attention"]])
def test_a_submission_is_label_maps_alone(cli: Any, run: Path, photos: Path, tmp_path: Path, option: list) -> None:
    done = cli("infer", run, photos, "--out", tmp_path, "--submission", "voc", *option)
    assert done.code == ExitCode.USAGE
    assert f"leave out {option[0]}" in done.err


def test_probabilities_have_two_forms(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    done = cli("infer", run, photos, "--out", tmp_path, "--probabilities", "jpg")
    assert (done.code, done.err) == (ExitCode.USAGE, "segattn: --probabilities must be png or npy, got 'jpg'.\n")


def test_links_and_what_is_left_out(cli: Any, run: Path, tmp_path: Path) -> None:
    """Two names are two images, a linked folder is read, and what is no image is counted."""
    photos = tmp_path / "linked"
    photos.mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "monday.png")
    for name in ("monday.png", "tuesday.png"):
        (photos / name).symlink_to("../monday.png")
    (tmp_path / "store").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "store" / "deep.JFIF", "JPEG")
    (photos / "more").symlink_to("../store")
    (photos / "raw.heic").touch()
    done = cli("infer", run, photos, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert written(tmp_path / "out") == ["deep.png", "monday.png", "tuesday.png"]
    assert "Left out: 1 with another ending than images have (raw.heic)." in done.err
    (paths,) = json.loads(done.out.splitlines()[-1])["summary"]["left_out"].values()
    assert paths == [str(photos / "raw.heic")]


def test_notes_on_how_images_were_read(cli: Any, run: Path, tmp_path: Path) -> None:
    photos = tmp_path / "deep"
    photos.mkdir()
    values = np.linspace(0, 4095, 40 * 48).reshape(40, 48).astype(np.uint16)
    for name in "abc":
        Image.fromarray(values).save(photos / f"{name}.png")
    done = cli("infer", run, photos, "--out", tmp_path / "depth", "--json")
    assert "16 grey levels" in json.loads(done.out.splitlines()[0])["notes"][0]
    done = cli("infer", run, photos, "--out", tmp_path / "again")
    assert "3 images (a.png, b.png, c.png): holds 16-bit values up to 4095" in done.err
    done = cli("infer", run, photos, "--out", tmp_path / "range", "--intensity", "range")
    assert "16-bit values" not in done.err
    done = cli("infer", run, photos, "--out", tmp_path / "other", "--intensity", "auto")
    assert (done.code, "--intensity must be depth or range" in done.err) == (ExitCode.USAGE, True)


def test_the_largest_image_is_an_option(cli: Any, run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "large.png")
    done = cli("infer", run, tmp_path / "large.png", "--out", tmp_path / "no", "--max-pixels", "3000")
    assert done.code == ExitCode.DATA
    assert "allow more with --max-pixels" in done.err
    arguments = ("--max-pixels", "3072", "--window", "24,24")
    assert cli("infer", run, tmp_path / "large.png", "--out", tmp_path / "yes", *arguments).code == 0
    done = cli("infer", run, tmp_path / "large.png", "--out", tmp_path / "yes", "--max-pixels", "many")
    assert (done.code, "such as 400e6" in done.err) == (ExitCode.USAGE, True)


def test_a_fifo_is_read(cli: Any, run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "image.png")
    os.mkfifo(tmp_path / "pipe")
    data = (tmp_path / "image.png").read_bytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
    writer.start()
    done = cli("infer", run, tmp_path / "pipe", "--out", tmp_path / "out")
    writer.join(timeout=10)
    assert (done.code, written(tmp_path / "out")) == (0, ["pipe.png"])


def test_without_out_the_results_go_beside_the_run(cli: Any, run: Path, photos: Path) -> None:
    done = cli("infer", run, photos / "b.png")
    assert done.code == 0
    assert f"The results go into {run / 'predictions'}." in done.err
    assert written(run / "predictions") == ["b.png"]
    done = cli("infer", run, photos / "b.png")
    assert done.code == ExitCode.OUTPUT
    (run / "predictions" / "b.png").unlink()
    (run / "predictions").rmdir()


def test_an_image_is_segmented_without_what_it_does_not_need(run: Path, photos: Path, tmp_path: Path) -> None:
    """The imports of these modules would take longer than the prediction."""
    backend = "numpy" if importlib.util.find_spec("cupy") else "auto"  # which asks CuPy for a GPU
    command = ["segattn", "infer", str(run), str(photos / "a.jpg"), "--out", str(tmp_path / "out")]
    command += ["--backend", backend]
    script = f"import sys; sys.argv = {command}\ntry:\n    from segattn_cli.app import main\n    main()\n"
    script += "finally:\n    print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "segattn_cli.prediction.segment" in loaded
    assert not loaded & {"av", "cupy", "matplotlib", "onnx", "scipy.linalg", "scipy.special", "torch"}
