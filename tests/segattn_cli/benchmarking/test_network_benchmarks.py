"""Whole networks: PyTorch's writing of them computes what the reference does, and a difference is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends import get_backend
from reference.networks import NetworkConfig
from segattn_cli.benchmarking.agreement import networks_difference
from segattn_cli.benchmarking.network_benchmarks import (
    NetworkSetup,
    memory_suite,
    network_benchmark,
    networks_suite,
)
from segattn_cli.benchmarking.timing import run_once

SMALL = {
    "resnet18": NetworkConfig(classes=5, backbone="resnet18", head="dual"),
    "resnet50": NetworkConfig(classes=5, backbone="resnet50", head="dual"),
    "two scales": NetworkConfig(classes=5, backbone="resnet18", head="dual", scales=(1.0, 0.5)),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", SMALL)
def test_every_way_of_pytorch_agrees(name: str, torch: Any) -> None:
    case = network_benchmark("networks", name, SMALL[name], (2, 49, 65))
    ours = case.ours(get_backend("numpy"))
    run_once(ours)
    results = ours.results()
    variants = dict(case.torch())
    assert list(variants) == ["contiguous", "contiguous sdpa", "channels-last", "channels-last sdpa"]
    theirs = variants["channels-last sdpa" if name == "two scales" else "contiguous"]()
    run_once(theirs)
    assert case.difference(results, theirs.results()) == ""
    gradients = {key for key in results if key.startswith("d ")}
    assert {"d head.position.gate", "d head.channel.gate", "d backbone.conv1.weight"} <= gradients
    assert ("d scale_attention.conv2.weight" in gradients) == (name == "two scales")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_of_exported_models_agree(runtime: str) -> None:
    pytest.importorskip("onnx", reason="ONNX is not installed: pip install onnx")
    pytest.importorskip(runtime, reason=f"{runtime} is not installed: pip install {runtime}")
    small = NetworkConfig(classes=5, backbone="tiny", head="dual", scales=(1.0, 0.5))
    case = network_benchmark("networks", "small", small, (2, 49, 65)).inference()
    ours = case.ours(get_backend("reference"))
    run_once(ours)
    assert case.runtime is not None
    variants = dict(case.runtime(runtime))
    assert list(variants) == ["fixed size", "any size"]
    for make in variants.values():
        theirs = make()
        run_once(theirs)
        assert theirs.results()["scores"].shape == (2, 49, 65, 5)
        assert case.difference(ours.results(), theirs.results()) == ""


def test_labels_that_differ_are_a_difference() -> None:
    scores = np.zeros((1, 10, 10, 2), np.float32)
    scores[..., 0] = 1.0
    scores[..., 1] = 1.0 - 1e-4  # within the tolerance of scores
    theirs = scores[..., ::-1].copy()
    problem = networks_difference({"scores": scores}, {"scores": theirs})
    assert problem == "the labels of 100.0 % of the pixels differ"
    theirs[:, 1:] = scores[:, 1:]
    assert networks_difference({"scores": scores}, {"scores": theirs}).startswith("the labels of 10.0 %")
    assert networks_difference({"scores": scores}, {"scores": scores}) == ""


@pytest.mark.torch
def test_both_implementations_step_alike(torch: Any) -> None:
    case = network_benchmark("networks", "small", SMALL["resnet18"], (2, 49, 65))
    ours, theirs = case.ours(get_backend("numpy")), dict(case.torch())["channels-last"]()
    losses = []
    for _ in range(2):
        run_once(ours)
        run_once(theirs)
        losses.append((float(ours.results()["loss"]), float(theirs.results()["loss"])))
    (first, same), (second, same_again) = losses
    assert first == pytest.approx(same, rel=1e-4)
    assert second == pytest.approx(same_again, rel=0.1 * abs(second - first) / first)


def test_the_weights_are_those_of_a_network_in_training() -> None:
    params = NetworkSetup(SMALL["two scales"], (1, 33, 33)).params()
    assert float(params["head.position.gate"]) == 0.5
    assert np.ptp(params["scale_attention.conv2.weight"]) > 0
    assert np.ptp(params["backbone.layer4.1.bn2.running_var"]) > 0
    assert (params["backbone.layer4.1.bn2.running_var"] > 0).all()


def test_a_step_is_three_times_an_inference() -> None:
    case = networks_suite()[0]
    operations = case.operations()
    assert operations["train"] == pytest.approx(3 * operations["infer"], rel=0.02)


def test_the_suites() -> None:
    assert [case.title for case in networks_suite()] == [
        "DANet-ResNet18 2×360×480", "DANet-ResNet50 2×240×240", "dual-scale DANet-ResNet18 1×360×480",
    ]  # fmt: skip
    assert [case.passes for case in networks_suite()] == [["train", "infer"]] * 3
    (large,) = memory_suite()
    assert (large.title, large.passes, large.once) == ("DANet-ResNet50 1×1024×2048", ["infer"], True)


def results(**changes: float) -> dict[str, np.ndarray]:
    values = {"loss": 2.0, "scores": 1.0, "d weight": 1.0, "d key.bias": 1e-9} | changes
    return {name.replace("_", " "): np.full(3, value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("ours", "problem"),
    [
        ({}, ""),
        ({"loss": 2.0001}, ""),
        ({"loss": 2.001}, "loss is off by 5.0e-04 of its largest value"),
        ({"loss": np.nan}, "loss is off by nan of its largest value"),
        ({"scores": 1.01}, "scores is off by 1.0e-02 of its largest value"),
        ({"d_weight": 1.04}, ""),
        ({"d weight": 1.2}, "d weight is off by 2.0e-01 of its norm"),
        ({"d key.bias": -1e-9}, ""),  # 0 but for rounding
        ({"d key.bias": 1e-3}, "d key.bias is off by 1.0e+02 of its norm"),
        ({"d more": 1.0}, "d more is missing on one side"),
    ],
)
def test_what_counts_as_a_difference(ours: dict[str, float], problem: str) -> None:
    assert networks_difference(results(**ours), results()) == problem
