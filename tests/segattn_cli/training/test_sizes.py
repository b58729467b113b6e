"""Whether images are validated at the size that they are trained at, and what is said where they are not."""

from __future__ import annotations

import pytest

from backends import get_backend
from segattn_cli.commands.train_display import milestone
from segattn_cli.config import PRESETS, load_config
from segattn_cli.data import SceneOptions, Scenes, open_dataset
from segattn_cli.exporting.onnx_model import metadata
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.reporting import RunReport, read_history
from segattn_cli.reporting.report_page import page_data
from segattn_cli.runs import open_model
from segattn_cli.training import RunStarted, train
from segattn_cli.training.sizes import size_warnings

IMAGES = Scenes("val", SceneOptions(3, (360, 480)))


def said(*overrides: str) -> str:
    """The one sentence, or nothing."""
    return "".join(size_warnings(load_config("fcn-resnet18-camvid", overrides), IMAGES))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_validate_at_the_size_that_they_train_at(preset: str) -> None:
    assert not size_warnings(load_config(preset), IMAGES)


@pytest.mark.parametrize(
    "overrides",
    [
        ["augmentation.scale=[0.5,2.0]"],
        ["augmentation.scale=[0.75,1.0]"],  # at its end, but hardly larger than the mean
        ["augmentation.scale=[1.0,1.0]"],
        ["augmentation.scale=[0.5,1.0]", "evaluation.size=[270,360]"],
        ["augmentation.scale=[0.5,1.0]", "evaluation.scales=[0.75]"],
        ["augmentation.scale=[0.5,1.0]", "augmentation.enlarge=0.2"],  # reaches 1.25
        ["augmentation.scale=[0.5,1.25]", "data.size=[180,240]"],  # both are resized to it
        ["augmentation.scale=[0.75,1.5]", "evaluation.scales=[0.8,1.0,1.25]"],
        ["augmentation.scale=[0.75,1.5]", "data.size=[180,240]", "evaluation.size=[225,300]"],
    ],
)
def test_nothing_is_said_where_the_sizes_agree(overrides: list[str]) -> None:
    assert said(*overrides) == ""


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["augmentation.scale=[0.5,1.0]"],
            "The validation sees images at 1 times their size, and the training at 0.5 to 1 times: objects are "
            "larger in the validation than what the network learns. Set augmentation.scale = [0.667, 1.33], or "
            "evaluation.size = [270, 360].",
        ),
        (
            ["augmentation.scale=[2.0,2.0]"],
            "The validation sees images at 1 times their size, and the training at 2 times: objects are smaller in "
            "the validation than what the network learns. Set augmentation.scale = [1, 1], or "
            "evaluation.size = [720, 960].",
        ),
        (
            ["augmentation.scale=[0.75,1.5]", "evaluation.scales=[0.5,1.0]"],
            "The validation sees images at 0.5 times their size, and the training at 0.75 to 1.5 times: objects "
            "are smaller in the validation than what the network learns. Set augmentation.scale = [0.333, 0.667], "
            "or evaluation.scales without 0.5.",
        ),
        (
            ["augmentation.scale=[0.5,1.0]", "evaluation.scales=[2.0,4.0]", "evaluation.size=[180,240]"],
            "The validation sees images at 1 times their size, and the training at 0.5 to 1 times: objects are "
            "larger in the validation than what the network learns. Set augmentation.scale = [0.667, 1.33], or "
            "evaluation.scales = [1.5].",
        ),
        (
            ["data.size=[180,240]", "evaluation.size=[360,480]", "augmentation.scale=[0.8,1.2]"],
            "The validation sees images at 2 times their size, and the training at 0.8 to 1.2 times: objects are "
            "larger in the validation than what the network learns. Set augmentation.scale = [1.6, 2.4], or "
            "evaluation.size = [180, 240].",
        ),
    ],
)
def test_a_difference_is_said_with_the_ways_out(overrides: list[str], sentence: str) -> None:
    assert said(*overrides) == sentence


@pytest.mark.parametrize(
    "overrides",
    [["augmentation.scale=[0.5,1.0]"], ["augmentation.scale=[2.0,3.0]"], ["augmentation.scale=[0.1,0.2]"]],
)
def test_the_ways_out_lead_out(overrides: list[str]) -> None:
    for way in said(*overrides).rstrip(".").partition(" Set ")[2].split(", or "):
        assert said(*overrides, way.replace(" ", "")) == ""


def test_of_files_the_sizes_are_read(folder, rng) -> None:
    masks = [rng.integers(0, 3, (40, 60)), rng.integers(0, 3, (20, 30)), rng.integers(0, 3, (40, 60))]
    validation = open_dataset(folder("images", {"train": masks, "val": masks}), split="val")
    config = load_config("fcn-resnet18-camvid", ["augmentation.scale=[0.5,1.0]"])
    assert "evaluation.size = [30, 45]" in size_warnings(config, validation)[0]


def test_a_run_validates_at_its_size_and_records_the_warning(tiny, tmp_path) -> None:
    config = tiny(
        "evaluation.size=[48, 64]", "augmentation.scale=[0.5, 1.0]", "training.max_steps=1"
    )
    events = list(train(config, tmp_path / "run"))
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert started.warnings[0].startswith("The validation sees images at 2 times their size")
    assert f"! {started.warnings[0]}" in milestone(started)
    model = open_model(tmp_path / "run")
    assert Predictor.of(model, get_backend("reference")).size == (48, 64)
    assert metadata(model)["size"] == (48, 64)
    (run,) = page_data([RunReport(read_history(tmp_path / "run"))])["runs"]
    assert run["warnings"] == list(started.warnings)
