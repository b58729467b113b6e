"""Trained models are opened, and what is none is refused."""

from __future__ import annotations

import numpy as np
import pytest

from reference.networks import build_network
from segattn_cli.config import load_config
from segattn_cli.errors import CheckpointError, NonFiniteError
from segattn_cli.runs import open_model
from segattn_cli.runs.checkpoint import load_checkpoint, save_checkpoint

CLASSES = ("sky", "road", "tree")


@pytest.fixture
def arrays():
    network = build_network(load_config("tiny-scenes").network_config(len(CLASSES)))
    return network.initialise(seed=4)


@pytest.fixture
def metadata():
    config = load_config("tiny-scenes").model_dump(mode="json", exclude_none=True)
    return {"config": config, "classes": list(CLASSES), "palette": [[1, 2, 3]] * 3, "more": 1}


def test_a_model_comes_back_with_all_that_describes_it(tmp_path, arrays, metadata):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, arrays, metadata)
    model = open_model(path)
    assert model.classes == CLASSES
    assert model.config == load_config("tiny-scenes")
    assert model.network.config == model.config.network_config(3)
    assert model.palette.dtype == np.uint8
    assert model.palette.shape == (3, 3)
    assert model.metadata["more"] == 1
    assert model.path == path
    assert model.params.keys() == arrays.keys()
    np.testing.assert_array_equal(model.params["backbone.conv1.weight"], arrays["backbone.conv1.weight"])


def test_a_checkpoint_from_before_a_key_takes_its_default(tmp_path, arrays, metadata):
    for section, key in (("network", "auxiliary_head"), ("network", "stem_channels"), ("loss", "auxiliary")):
        del metadata["config"][section][key]
    save_checkpoint(tmp_path / "old.safetensors", arrays, metadata)
    assert open_model(tmp_path / "old.safetensors").config == load_config("tiny-scenes")


def test_the_best_checkpoint_of_a_folder_is_preferred(tmp_path, arrays, metadata):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is not the folder of a run: give the folder that"):
        open_model(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(CheckpointError, match=r"config\.toml is a configuration, not a trained network"):
        open_model(tmp_path / "config.toml")
    with pytest.raises(CheckpointError, match=f"There is no checkpoint in {tmp_path}: train there first"):
        open_model(tmp_path)
    save_checkpoint(tmp_path / "last.safetensors", arrays, metadata)
    assert open_model(tmp_path).path.name == "last.safetensors"
    save_checkpoint(tmp_path / "best.safetensors", arrays, metadata)
    assert open_model(tmp_path).path.name == "best.safetensors"
    assert open_model(tmp_path / "last.safetensors").path.name == "last.safetensors"
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        open_model(tmp_path / "elsewhere")


def test_an_average_is_taken_before_the_weights_and_momentum_never(tmp_path, arrays, metadata):
    path = tmp_path / "last.safetensors"
    momentum = {f"momentum.{name}": value + 1 for name, value in arrays.items()}
    average = {f"ema.{name}": value + 2 for name, value in arrays.items()}
    name = "head.classifier.bias"
    save_checkpoint(path, arrays | momentum, metadata)
    np.testing.assert_array_equal(open_model(path).params[name], arrays[name])
    save_checkpoint(path, arrays | momentum | average, metadata)
    np.testing.assert_array_equal(open_model(path).params[name], arrays[name] + 2)


def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, metadata):
    path = tmp_path / "model.safetensors"
    name = "head.classifier.weight"
    missing = {key: value for key, value in arrays.items() if key != name}
    for changed, message in (
        (missing, f"another network: it has no {name}"),
        (missing | {name: arrays[name][..., :2]}, rf"another network: {name} has shape .*2\) there and .*3\) here"),
        (arrays | {"tail.weight": arrays[name]}, "another network: it has tail.weight, which is nowhere"),
    ):
        save_checkpoint(path, changed, metadata)
        with pytest.raises(CheckpointError, match=message):
            open_model(path)


@pytest.mark.parametrize(
    "change", [{"classes": None}, {"config": None}, {"config": {"network": {"heads": "dual"}}}]
)
def test_a_description_that_is_not_ours(tmp_path, arrays, metadata, change):
    path = tmp_path / "model.safetensors"
    described = {key: value for key, value in (metadata | change).items() if value is not None}
    save_checkpoint(path, arrays, described)
    assert "version" in load_checkpoint(path).metadata
    with pytest.raises(CheckpointError, match="does not describe its network as this segattn expects"):
        open_model(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": [1]},
        {"classes": None},
        {"classes": ["sky"], "palette": [[1, 2, 3]]},
        {"palette": [[300, 0, 0]] * 3},
        {"palette": "abc"},
        {"palette": [[1, 2, 3]] * 2},
    ],
    ids=str,
)
def test_a_checkpoint_that_describes_itself_wrongly_is_refused(tmp_path, arrays, metadata, wrong):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, arrays, metadata | wrong)
    with pytest.raises(CheckpointError, match="does not describe its network as this segattn expects"):
        open_model(path)


def test_weights_of_another_precision_are_refused(tmp_path, arrays, metadata):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, {name: array.astype(np.float64) for name, array in arrays.items()}, metadata)
    with pytest.raises(CheckpointError, match="in float64, wants float32"):
        open_model(path)


def test_weights_that_are_not_finite_are_refused(tmp_path, arrays, metadata):
    arrays["head.classifier.bias"] = np.full_like(arrays["head.classifier.bias"], np.nan)
    save_checkpoint(tmp_path / "model.safetensors", arrays, metadata)
    with pytest.raises(NonFiniteError, match=r"a NaN or an infinity in head\.classifier\.bias"):
        open_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize("odd", [1, None, [], {"a": 1}, True])
def test_classes_without_names_are_refused(tmp_path, arrays, metadata, odd):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, arrays, {**metadata, "classes": [odd, *metadata["classes"][1:]]})
    with pytest.raises(CheckpointError, match="the classes are no names"):
        open_model(path)


def test_half_a_character_is_no_name_of_a_class(tmp_path, arrays, metadata):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, arrays, {**metadata, "classes": ["\ud800", *metadata["classes"][1:]]})
    with pytest.raises(CheckpointError, match="surrogates not allowed"):
        open_model(path)
