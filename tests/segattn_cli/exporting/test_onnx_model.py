"""Whole networks as ONNX models, at sizes that no model was made for, against the reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference.ops as oracle
from backends import BackendError
from reference.layers import Context
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import OutputError, UsageError
from segattn_cli.exporting.onnx_model import OPSETS, Port, onnx_model, smallest_size, write_onnx
from segattn_cli.exporting.verify import SIZES
from segattn_cli.runs import Model

onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install '.[onnx]'")

#: (batch, height, width): no stride divides them.
PICTURES = [(1, 24, 33), (2, 17, 29), (1, 41, 10)]
HEADS = [
    {"head": "fcn"},
    {"head": "position"},
    {"head": "channel", "channel_form": "released"},
    {"head": "channel", "channel_form": "paper"},
    {"head": "dual", "align_corners": True},
    {"head": "largefov"},
]
FUSIONS = [
    {"head": "dual", "fusion": "attention", "scales": [0.5, 1.0]},
    {"head": "largefov", "fusion": "attention", "scales": [1.0, 0.75, 0.5], "align_corners": True},
    {"head": "position", "fusion": "max", "scales": [1.0, 0.5]},
    {"head": "fcn", "fusion": "max", "scales": [0.75, 1.0, 1.25]},
    {"head": "channel", "fusion": "mean", "scales": [1.0, 0.75, 0.5]},
    {"head": "fcn", "fusion": "mean", "scales": [1.0, 0.5], "align_corners": True, "scale_classifier": "attached"},
]
LARGE = [
    {"backbone": "resnet18", "head": "dual", "multi_grid": [4, 8]},
    {"backbone": "resnet18", "head": "channel", "output_stride": 16, "deep_stem": True},
    {"backbone": "resnet50", "head": "position"},
    {"backbone": "vgg16", "head": "largefov", "scales": [1.0, 0.5]},
]


def name(parts: dict[str, Any]) -> str:
    return "-".join(str(value).replace(" ", "") for value in parts.values())


def wanted(model: Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores at the size of ``images`` and scale weights, by the reference in float64, norms and all."""
    params = {key: value.astype(np.float64) for key, value in model.params.items()}
    maps, weights = model.network.predict_with_weights(images.astype(np.float64), Context(oracle, params))
    align_corners = model.network.config.align_corners
    scores, _ = oracle.resize_bilinear(maps, images.shape[1:3], align_corners=align_corners)
    return scores, weights


def pictures(size: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (*size, 3), np.uint8)


def agree(run: Any, model: Model, exported: Any, size: tuple[int, int, int]) -> None:
    images = normalise(pictures(size))  # (B, H, W, 3)
    scores, weights = wanted(model, images)
    got = run(exported, {"image": np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
    maps = got["scores"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(maps, scores, rtol=0, atol=1e-5 * np.abs(scores).max())
    assert ("scale_weights" in got) == (weights is not None)
    if weights is not None:
        assert np.ptp(weights, axis=(0, 1, 2)).max() > 0.01, "equal weights prove nothing"
        np.testing.assert_allclose(got["scale_weights"].transpose(0, 2, 3, 1), weights, rtol=0, atol=1e-5)
    if size in PICTURES:
        assert np.ptp(scores, axis=(1, 2)).max() > 0.005 * np.abs(scores).max(), "equal pixels prove nothing"


@pytest.mark.parametrize("parts", HEADS + FUSIONS, ids=name)
def test_scores_are_those_of_the_reference(run: Any, model_of: Callable[..., Model], parts: dict) -> None:
    model = model_of(**parts)
    exported = onnx_model(model)
    for size in PICTURES:
        agree(run, model, exported, size)


@pytest.mark.parametrize("parts", LARGE, ids=name)
def test_other_backbones(onnxruntime: Any, model_of: Callable[..., Model], parts: dict) -> None:
    model = model_of(**parts)
    agree(onnxruntime, model, onnx_model(model), (2, 41, 35))


@pytest.mark.parametrize("scales", [[1.0], [1.0, 0.5], [0.3, 1.0]])
def test_the_smallest_pictures(onnxruntime: Any, model_of: Callable[..., Model], scales: list[float]) -> None:
    model = model_of(head="dual", scales=scales, fusion="mean")
    n = smallest_size(scales)
    agree(onnxruntime, model, onnx_model(model), (1, n, n))


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(onnxruntime: Any, model_of: Callable[..., Model], opset: int) -> None:
    model = model_of(head="dual", scales=[1.0, 0.5], fusion="max")
    exported = onnx_model(model, opset=opset, input="float32", labels=True)
    assert [each.version for each in exported.opset_import] == [opset]
    agree(onnxruntime, model, exported, (1, 17, 29))


@pytest.mark.parametrize("opset", [OPSETS[0] - 1, OPSETS[-1] + 1])
def test_other_opsets_are_refused(model_of: Callable[..., Model], opset: int) -> None:
    with pytest.raises(UsageError, match=f"from 13 to 21, got {opset}"):
        onnx_model(model_of(head="fcn"), opset=opset)


def test_pictures_as_they_are(run: Any, model_of: Callable[..., Model]) -> None:
    model = model_of(head="fcn", scales=[1.0, 0.5])
    exported = onnx_model(model, input="uint8")
    for size in PICTURES:
        scores, _ = wanted(model, normalise(pictures(size)))
        got = run(exported, {"image": pictures(size)})["scores"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(got, scores, rtol=0, atol=1e-5 * np.abs(scores).max())


def test_labels_are_the_first_of_the_highest_scores(run: Any, model_of: Callable[..., Model]) -> None:
    model = model_of(head="position")
    images = np.ascontiguousarray(normalise(pictures((2, 17, 29))).transpose(0, 3, 1, 2))
    got = run(onnx_model(model, labels=True), {"image": images})
    assert got["label"].dtype == np.uint8
    assert len(np.unique(got["label"])) > 1
    np.testing.assert_array_equal(got["label"], got["scores"].argmax(1))

    tied = {key: np.zeros_like(value) if "classifier" in key else value for key, value in model.params.items()}
    got = run(onnx_model(Model(**{**vars(model), "params": tied}), labels=True), {"image": images})
    assert not got["label"].any()


def test_what_goes_in_and_comes_out(model_of: Callable[..., Model], tmp_path: Any) -> None:
    model = model_of(head="dual", scales=[1.0, 0.5])
    inputs, outputs = write_onnx(model, tmp_path / "net.onnx", labels=True)
    assert inputs == [Port("image", "float32", ("batch", 3, "height", "width"))]
    assert outputs == [
        Port("scores", "float32", ("batch", 5, "height", "width")),
        Port("label", "uint8", ("batch", "height", "width")),
        Port("scale_weights", "float32", ("batch", 2, "rows", "columns")),
    ]
    inputs, outputs = write_onnx(model_of(head="fcn"), tmp_path / "net.onnx", input="uint8")
    assert inputs == [Port("image", "uint8", ("batch", "height", "width", 3))]
    assert [port.name for port in outputs] == ["scores"]


def test_metadata_says_what_a_program_needs(model_of: Callable[..., Model]) -> None:
    model = model_of(head="dual", scales=[1.0, 0.5])
    exported = onnx_model(model)
    said = {each.key: json.loads(each.value) for each in exported.metadata_props}
    assert exported.producer_name == "segattn"
    assert said["mean"] == [0.485, 0.456, 0.406]
    assert said["std"] == [0.229, 0.224, 0.225]
    assert said["classes"] == list(model.classes)
    assert said["palette"] == model.palette.tolist()
    assert said["ignore_label"] == 255
    assert said["size"] is None
    assert said["smallest_size"] == 2
    assert said["network"] == json.loads(json.dumps(model.config.network.parts()))
    image = pictures((1, 3, 3))
    by_hand = (image / 255 - said["mean"]) / said["std"]
    np.testing.assert_allclose(by_hand, normalise(image), atol=1e-5)


def test_a_reader_finds_the_layers(model_of: Callable[..., Model]) -> None:
    graph = onnx_model(model_of(head="dual", scales=[1.0, 0.5])).graph
    made = {name for node in graph.node for name in node.output}
    assert {
        "scale_1/backbone.bn5", "scale_0.5/head.position.attended", "scale_0.5/head.classifier",
        "main_scale_0.5.on_grid", "scale_attention.conv2", "fused", "scores", "scale_weights",
    } <= made  # fmt: skip
    stored = [each.name for each in graph.initializer]
    assert len(set(stored)) == len(stored)
    assert stored.count("backbone.conv1.weight") == 1  # both scales share it
    assert not any("classifier" in each for each in stored if each.startswith(("head.position", "head.channel")))
    assert [node.name for node in graph.node] == [node.output[0] for node in graph.node]


def test_nothing_is_transposed_around_convolutions(model_of: Callable[..., Model]) -> None:
    kinds = [node.op_type for node in onnx_model(model_of(head="fcn", scales=[1.0, 0.5])).graph.node]
    assert kinds.count("Transpose") == 1  # of the scale weights


def test_a_place_that_cannot_be_written(model_of: Callable[..., Model], tmp_path: Any) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_onnx(model_of(head="fcn"), tmp_path / "missing" / "net.onnx")


def test_without_onnx_a_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, model_of: Callable[..., Model]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"pip install 'segattn\[onnx\]'"):
        onnx_model(model_of(head="fcn"))


def test_what_is_verified_is_odd_and_more_than_one_picture() -> None:
    assert any(batch > 1 for batch, _, _ in SIZES)
    assert any(height % 2 and width % 2 for _, height, width in SIZES)
