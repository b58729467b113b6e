from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.data.images import read_image
from segattn_cli.errors import ExitCode
from segattn_cli.exporting.onnx_model import DEFAULT_OPSET, OPSETS
from segattn_cli.exporting.onnx_ops import OnnxOps

onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install '.[onnx]'")


@pytest.fixture
def onnxruntime() -> Any:
    return pytest.importorskip("onnxruntime", reason="ONNX is not installed: pip install '.[onnx]'")


def test_it_says_what_was_written_and_how_far_it_is_from_ours(
    cli: Callable, run: Path, tmp_path: Path, onnxruntime: Any
) -> None:
    out = tmp_path / "net.onnx"
    done = cli("export", run, "--out", out, "--labels", "--check", "--backend", "reference")
    assert (done.code, done.err) == (ExitCode.OK, "")
    written, *ports, first, second, third = done.out.splitlines()
    assert written == f"written   {out}, {out.stat().st_size / 1e6:.1f} MB, opset 17"
    assert ports == [
        "input     image: float32 (batch, 3, height, width)",
        f"output    scores: float32 (batch, {len(CLASSES)}, height, width)",
        "output    label: uint8 (batch, height, width)",
        "output    scale_weights: float32 (batch, 2, rows, columns)",
    ]
    for line, size in zip((first, second, third), ("1×97×131", "2×65×49", "1×128×96"), strict=True):
        said = rf"check +{size}: scores differ by (\S+), (\S+) of the largest; (\S+) % of the labels are the same"
        found = re.fullmatch(said, line)
        assert found
        assert 0 < float(found[2]) < 1e-5  # no two libraries add up in the same order
        assert float(found[3]) > 99.9


def test_it_sees_what_the_tool_sees(
    cli: Callable, run: Path, photos: Path, tmp_path: Path, onnxruntime: Any
) -> None:
    """The same picture through `segattn infer` and through an exported model that takes pictures as they are."""
    out = tmp_path / "net.onnx"
    assert cli("export", run, "--out", out, "--input", "uint8", "--labels").code == ExitCode.OK
    assert cli("infer", run, photos, "--out", tmp_path, "--scores", "--backend", "reference").code == ExitCode.OK
    session = onnxruntime.InferenceSession(out)
    for name in ("a.jpg", "b.png", "c.bmp"):
        scores, label, _ = session.run(None, {"image": read_image(photos / name)[None]})
        wanted = np.load(tmp_path / f"{name[0]}.npy")
        np.testing.assert_allclose(scores[0].transpose(1, 2, 0), wanted, atol=1e-5 * np.abs(wanted).max())
        with Image.open(tmp_path / f"{name[0]}.png") as image:
            assert (label[0] == np.asarray(image)).mean() > 0.999


def test_a_model_that_says_something_else_is_found(
    monkeypatch: pytest.MonkeyPatch, cli: Callable, run: Path, tmp_path: Path, onnxruntime: Any
) -> None:
    monkeypatch.setattr(OnnxOps, "relu", lambda self, x: (x, None))
    done = cli("export", run, "--out", tmp_path / "net.onnx", "--check")
    assert done.code == ExitCode.DISAGREE
    assert done.out.count("check ") == 3


def test_what_is_there_is_replaced_only_when_told(cli: Callable, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    out.write_bytes(b"precious")
    done = cli("export", run, "--out", out)
    assert done.code == ExitCode.OUTPUT
    assert "--force" in done.err
    assert out.read_bytes() == b"precious"
    assert cli("export", run, "--out", out, "--force").code == ExitCode.OK
    onnx.checker.check_model(onnx.load(out))


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--out", "net.pb"], ExitCode.USAGE, "--out net.pb does not say what to write"),
        (["--out", "net.onnx", "--to", "tflite"], ExitCode.USAGE, "--to tflite does not say what to write"),
        (["--out", "net.onnx", "--opset", "9"], ExitCode.USAGE, "--opset must be from 13 to 21, got 9"),
        (["--out", "net.onnx", "--input", "float16"], ExitCode.USAGE, "float32 or uint8, got 'float16'"),
        (["--out", "net.onnx", "--layout", "danet"], ExitCode.USAGE, "--layout is for --to state-dict"),
        (["--out", "net.safetensors", "--check"], ExitCode.USAGE, "--check are for --to onnx"),
        (["--out", "net.safetensors", "--opset", "18"], ExitCode.USAGE, "--opset, --input, --labels and"),
        (["--out", "net.safetensors", "--layout", "caffe"], ExitCode.USAGE, "got 'caffe'"),
        (["--out", "missing/net.onnx"], ExitCode.OUTPUT, "There is no folder missing to write net.onnx to."),
        (["--out", "net.onnx", "--check", "--backend", "nunpy"], ExitCode.BACKEND, "did you mean numpy?"),
    ],
)
def test_what_cannot_be_done_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, cli: Callable, run: Path, tmp_path: Path, arguments: list, code: int,
    sentence: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = cli("export", run, *arguments)
    assert done.code == code
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_a_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, cli: Callable, run: Path, tmp_path: Path, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    checked = ["--check"] if missing == "onnxruntime" else []
    done = cli("export", run, "--out", tmp_path / "net.onnx", *checked)
    assert done.code == ExitCode.BACKEND
    assert done.err.endswith(f"needs the package {missing}: install it with pip install 'segattn[onnx]'.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["net.safetensors"], ["net", "--to", "state-dict"]])
def test_a_state_dict(cli: Callable, run: Path, tmp_path: Path, arguments: list[str]) -> None:
    name, *options = arguments
    done = cli("export", run, "--out", tmp_path / name, *options, "--layout", "pytorch")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert done.out.startswith(f"written   {tmp_path / name}, ")
    assert done.out.endswith(" tensors with the names of pytorch\n")
    assert load_file(tmp_path / name)["backbone.conv1.weight"].shape == (16, 3, 3, 3)


def test_it_explains_itself(cli: Callable) -> None:
    done = cli("export", "--help")
    assert done.code == ExitCode.OK
    assert "segattn export runs/first --out net.onnx --check" in done.out
    assert f"from {OPSETS[0]} to {OPSETS[-1]}" in done.out
    assert f"[default: {DEFAULT_OPSET}]" in done.out


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)).save(path, "JPEG", exif=exif)


def _of_xmp(path: Path) -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>'
    )
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 56, 3), np.uint8)).save(
        path, "JPEG", xmp=xmp.encode()
    )


def _transparent(path: Path) -> None:
    Image.fromarray(np.random.default_rng(2).integers(0, 255, (40, 56, 4), np.uint8)).save(path, "PNG")


def _deep(path: Path) -> None:
    Image.fromarray(np.random.default_rng(3).integers(0, 65535, (40, 56)).astype(np.uint16)).save(path, "PNG")


@pytest.mark.parametrize("save", [_turned, _of_xmp, _transparent, _deep])
def test_the_example_reads_images_as_infer_does(
    save: Callable[[Path], None], tmp_path: Path, repository: Path
) -> None:
    text = (repository / "docs" / "export.md").read_text(encoding="utf-8")
    function = re.search(r"def read\(path\):.*?\n\n\n", text, re.DOTALL)
    assert function
    names: dict[str, Any] = {"Image": Image, "np": np}
    exec(function[0], names)
    save(tmp_path / "image")
    np.testing.assert_array_equal(names["read"](tmp_path / "image"), read_image(tmp_path / "image"))


def test_the_example_of_the_documentation(
    monkeypatch: pytest.MonkeyPatch, cli: Callable, run: Path, photos: Path, tmp_path: Path, repository: Path,
    onnxruntime: Any,
) -> None:  # fmt: skip
    """What docs/export.md tells a program to do gives the label map that the tool writes."""
    monkeypatch.chdir(tmp_path)
    assert cli("infer", run, photos / "b.png", "--out", "ours").code == ExitCode.OK
    (photos / "b.png").rename("street.jpg")
    assert cli("export", run, "--out", "net.onnx").code == ExitCode.OK
    text = (repository / "docs" / "export.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example
    exec(example[1], {})
    with Image.open("ours/b.png") as ours, Image.open("street.png") as theirs:
        assert theirs.mode == "P"
        assert (np.asarray(ours) == np.asarray(theirs)).mean() > 0.999
        assert (np.asarray(ours.convert("RGB")) == np.asarray(theirs.convert("RGB"))).mean() > 0.999
