"""segattn and PyTorch learn the same from the same batches: losses step by step, and the weights after them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from segattn_cli.config import load_config
from segattn_cli.training.batches import batches_from
from segattn_cli.training.setup import open_run

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from benchmarks import loss_curve
from benchmarks.torch_training import load

pytestmark = pytest.mark.torch

#: Small images in small batches: 10 steps an epoch.
SMALL = (
    "data.scenes={size=[48, 64], train=40, val=2}",
    "augmentation.crop=[48, 64]",
    "network.head_channels=16",
    "network.scale_attention_channels=16",
    "network.scale_classifier=none",
    "training.batch_size=4",
    "training.backend=numpy",
    "schedule.warmup_steps=5",
)
NETWORKS = {
    "fcn": ("network.head=fcn", "network.scales=[1.0]"),
    "dual": ("network.head=dual", "network.scales=[1.0]"),
    "two scales with attention and extra supervision": ("network.head=dual", "network.scales=[1.0, 0.5]"),
}


def configured(*settings):
    return load_config("tiny-scenes", [*SMALL, *settings, "training.max_steps=50"])


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_fifty_steps_in_float64_have_the_same_losses(network):
    curves = loss_curve.loss_curves(configured(*network), 50, float64=True)
    assert len(curves["segattn"]) == len(curves["torch"]) == 50
    assert curves["segattn"][-1] < 0.9 * curves["segattn"][0]  # something was learnt
    difference, step = loss_curve.largest_difference(curves, "segattn", "torch")
    assert difference < 1e-9, f"at step {step}"


def test_fifty_steps_in_float32_have_the_same_losses():
    """At a small rate: each ReLU whose input rounds to another sign parts the two, in proportion to the rate."""
    config = configured(*NETWORKS["fcn"], "optimiser.learning_rate=0.002")
    curves = loss_curve.loss_curves(config, 50)
    difference, step = loss_curve.largest_difference(curves, "segattn", "torch")
    assert 0 < difference < 1e-3, f"at step {step}"


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_each_of_fifty_steps_in_float32_from_the_same_weights(tmp_path, network):
    """PyTorch takes segattn's weights before every step, so that roundings do not multiply."""
    opened = open_run(configured(*network), tmp_path / "run", resume=False)
    opened.event_log.close()
    ours, theirs = loss_curve.SegattnTraining(opened), loss_curve.torch_training(opened)
    for batches in batches_from(opened, 0):
        load(theirs.network, ours.run.state.params)
        assert ours.step(batches) == pytest.approx(theirs.step(batches), abs=2e-5)


def test_a_fault_would_be_seen():
    """A weight decay that is wrong by a tenth parts the curves by more than the bound in float64."""
    ours = loss_curve.loss_curves(configured(*NETWORKS["fcn"]), 5, float64=True)["segattn"]
    other = configured(*NETWORKS["fcn"], "optimiser.weight_decay=0.00055")
    theirs = loss_curve.loss_curves(other, 5, float64=True)["torch"]
    assert loss_curve.largest_difference({"ours": ours, "theirs": theirs}, "ours", "theirs")[0] > 1e-7


ONE_SCALE = ("network.scales=[1.0]",)
CASES = {
    "resnet18": (*ONE_SCALE, "network.backbone=resnet18"),
    "resnet34 at output stride 16": (*ONE_SCALE, "network.backbone=resnet34", "network.output_stride=16"),
    "resnet50 at output stride 32": (  # whose norms see few pixels, and multiply roundings at a larger rate
        *ONE_SCALE, "network.backbone=resnet50", "network.output_stride=32", "optimiser.learning_rate=0.002",
    ),
    "a decoder": (*ONE_SCALE, "network.backbone=resnet18", "network.output_stride=16", "network.decoder=true"),
    "a decoder at two scales": (
        "network.scales=[1.0, 0.5]", "network.backbone=resnet18", "network.output_stride=32",
        "network.decoder=true",
    ),
    "resnet50 with multi-grid": (*ONE_SCALE, "network.backbone=resnet50", "network.multi_grid=[4, 8, 16]"),
    "vgg16": (
        *ONE_SCALE, "network.backbone=vgg16", "network.head=largefov", "optimiser.bias_multiplier=2.0",
        "optimiser.decay_biases_and_norms=false", "optimiser.classifier_multiplier=10.0",
        "network.align_corners=true",
    ),
    "position": (*ONE_SCALE, "network.head=position", "optimiser.head_multiplier=3.0"),
    "channel in the paper's form": (*ONE_SCALE, "network.head=channel", 'network.channel_form="paper"'),
    "fusion by the maximum": ("network.scales=[1.0, 0.75]", "network.fusion=max", "network.align_corners=true"),
    "fusion by the mean": ("network.scales=[0.5, 1.0]", "network.fusion=mean", "loss.extra_supervision=0.0"),
    "an attached scale classifier": ("network.scale_classifier=attached", "loss.position=0.5"),
    "a detached scale classifier": ("network.scale_classifier=detached", "optimiser.clip_norm=0.5"),
    "three batches a step, weighted classes": (
        *ONE_SCALE, "optimiser.accumulate=3", "loss.class_weights=[1, 2, 3, 4, 5, 6, 7, 8]",
    ),
    "frozen norms": (*ONE_SCALE, "training.batch_norm=frozen", "optimiser.learning_rate=0.001"),
    "an average of the weights": (*ONE_SCALE, "training.ema=0.9", "training.batch_norm_momentum=0.3"),
    "AdamW": (
        *ONE_SCALE, "optimiser.kind=adamw", "optimiser.learning_rate=0.001", "optimiser.betas=[0.8, 0.99]",
        "optimiser.epsilon=1e-6", "optimiser.weight_decay=0.1", "optimiser.decay_biases_and_norms=false",
        "schedule.kind=cosine",
    ),
    "one cycle, and a rate that decays towards the image": (
        *ONE_SCALE, "schedule.kind=one-cycle", "schedule.warmup_steps=0", "optimiser.layer_decay=0.5",
        "optimiser.learning_rate=0.002",
    ),
    "hard pixels, weighted classes": (
        *ONE_SCALE, "loss.hard_pixel_threshold=0.5", "loss.hard_pixel_fraction=0.25", "loss.class_weights=log",
    ),
    "focal and Dice losses": (
        *ONE_SCALE, "loss.cross_entropy=0.0", "loss.focal=1.0", "loss.dice=0.5", "loss.class_weights=log",
    ),
    "a Lovász loss, three batches a step": (*ONE_SCALE, "loss.lovasz=0.5", "optimiser.accumulate=3"),
    "milestones": (*ONE_SCALE, "schedule.kind=step", "schedule.milestones=[1, 2]", "schedule.warmup_steps=2"),
}  # fmt: skip


def _slow_if_deep(name):
    return pytest.param(CASES[name], id=name, marks=[pytest.mark.slow] if "resnet50" in name else [])


@pytest.mark.parametrize("settings", [*map(_slow_if_deep, CASES)])
def test_three_steps_end_in_the_same_weights(tmp_path, settings):
    """Every parameter or, where there is one, its average, and at one scale running statistics; in float64."""
    opened = open_run(configured(*settings), tmp_path / "run", resume=False)
    opened.event_log.close()
    ours = loss_curve.SegattnTraining(opened, float64=True)
    theirs = loss_curve.torch_training(opened, float64=True)
    for batches in islice(batches_from(opened, 0), 3):
        assert ours.step(batches) == pytest.approx(theirs.step(batches), abs=1e-9)
    model = theirs.model(opened.validation.classes, opened.validation.palette, tmp_path)
    weights = ours.run.state.weights
    assert model.params.keys() == weights.keys()
    for name, value in weights.items():
        if ".running_" in name and len(opened.network.scopes) > 1:
            continue  # segattn pools the scales, and PyTorch moves its averages at each of them
        bound = 1e-6 * max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(model.params[name], value, rtol=0, atol=bound, err_msg=name)


def test_a_difference_of_curves():
    assert loss_curve.largest_difference({"a": [1.0, 2.0], "b": [1.5, 2.0]}, "b", "a") == (0.5, 1)
