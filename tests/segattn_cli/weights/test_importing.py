"""What is made of a file: matched, missing, reset, unused; nothing by half. Without PyTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from reference.networks import NetworkConfig, build_network
from segattn_cli.config import config_from
from segattn_cli.errors import CheckpointError, UsageError
from segattn_cli.exporting.state_dict import write_state_dict
from segattn_cli.runs import open_model
from segattn_cli.runs.checkpoint import save_checkpoint
from segattn_cli.weights import import_weights, naming_of, read_weights, weights_for

DUAL = {"backbone": "resnet18", "head": "dual"}
CLASSES = 21
Exported = Callable[..., Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """``exported(folder, network, layout, classes)``: a file with the names of ``layout``, of a network with random
    weights; no other metadata than PyTorch's. Each is made once, and then copied."""

    @cache
    def made(network: str, layout: str, classes: int) -> Path:
        folder = tmp_path_factory.mktemp("exported")
        config = config_from({"name": "t", "network": json.loads(network)})
        params = build_network(config.network_config(classes)).initialise(3)
        metadata = {
            "kind": "model", "config": config.model_dump(mode="json", exclude_none=True),
            "classes": [f"thing {index}" for index in range(classes)],
            "palette": [[index, 2, 3] for index in range(classes)],
        }  # fmt: skip
        save_checkpoint(folder / "model.safetensors", params, metadata)
        write_state_dict(open_model(folder / "model.safetensors"), folder / "exported.safetensors", layout)
        return folder

    def copied(folder: Path, network: dict[str, Any], layout: str = "auto", classes: int = CLASSES) -> Path:
        original = made(json.dumps(network), layout, classes)
        shutil.copy(original / "model.safetensors", folder)
        return Path(shutil.copy(original / "exported.safetensors", folder))

    return copied


def without_metadata(path: Path, **changes: np.ndarray | None) -> Path:
    """The tensors alone, some replaced or, with None, left out."""
    arrays = {name: array for name, array in (load(path.read_bytes()) | changes).items() if array is not None}
    path.write_bytes(save(arrays))
    return path


@pytest.mark.parametrize(
    ("network", "layout"),
    [
        (DUAL, "danet"),
        (DUAL | {"deep_stem": True}, "danet"),
        (DUAL | {"backbone": "resnet50", "deep_stem": True, "stem_channels": 32, "auxiliary_head": True}, "mmseg"),
        ({"backbone": "resnet18", "head": "position", "multi_grid": [4, 8]}, "pytorch"),
        ({"backbone": "tiny", "head": "dual", "scales": [1.0, 0.5], "scale_classifier": "attached"}, "pytorch"),
        ({"backbone": "vgg16", "head": "largefov", "head_channels": 32, "scales": [1.0, 0.5]}, "pytorch"),
    ],
)
def test_the_round_trip_is_exact(
    exported: Exported, tmp_path: Path, network: dict[str, Any], layout: str
) -> None:
    path = exported(tmp_path, network, layout)
    before = open_model(tmp_path / "model.safetensors")
    imported = import_weights(path)
    assert imported.match.naming.layout == layout
    assert imported.match.missing == imported.match.reset == imported.match.unused == ()
    save_checkpoint(tmp_path / "again.safetensors", imported.arrays, imported.metadata)
    after = open_model(tmp_path / "again.safetensors")
    assert after.config.network == before.config.network
    assert after.classes == before.classes
    np.testing.assert_array_equal(after.palette, before.palette)
    assert after.params.keys() == before.params.keys()
    for name, array in before.params.items():
        np.testing.assert_array_equal(after.params[name], array, name)


def test_a_backbone_goes_to_torchvision_and_back(exported: Exported, tmp_path: Path) -> None:
    for network in (DUAL, {"backbone": "vgg16", "head": "fcn"}):
        path = exported(tmp_path, network, "torchvision")
        names = set(read_weights(path).tensors)
        assert names & {"conv1.weight", "features.28.bias"}
        imported = import_weights(path)
        assert imported.kind == "backbone"
        before = open_model(tmp_path / "model.safetensors").params
        for name, array in imported.arrays.items():
            np.testing.assert_array_equal(array, before[name])
        assert {name for name in before if name.startswith("backbone.")} == set(imported.arrays)


def test_a_foreign_danet_notes_the_settings_that_the_file_does_not_contain(
    exported: Exported, tmp_path: Path
) -> None:
    path = without_metadata(exported(tmp_path, {"backbone": "resnet34", "head": "dual"}, "danet"))
    imported = import_weights(path)
    config = imported.metadata["config"]["network"]
    assert (config["multi_grid"], config["align_corners"], config["channel_form"]) == ([4, 8, 16], True, "released")
    assert imported.metadata["classes"][:2] == ["background", "aeroplane"]
    assert any("multi_grid" in note for note in imported.notes)
    assert any("taken for those of voc" in note for note in imported.notes)
    settings = ["network.multi_grid=none", "network.align_corners=false"]
    other = import_weights(imported.match.file.path, settings=settings)
    assert "multi_grid" not in other.metadata["config"]["network"]
    assert not any("multi_grid" in note for note in other.notes)


def test_classes_by_name_by_file_and_by_number(exported: Exported, tmp_path: Path) -> None:
    path = without_metadata(exported(tmp_path, DUAL, "danet", classes=3))
    assert import_weights(path).metadata["classes"] == ["class 0", "class 1", "class 2"]
    (tmp_path / "classes.txt").write_text("cat\ndog 1 2 3\nmouse\n")
    named = import_weights(path, names=str(tmp_path / "classes.txt")).metadata
    assert named["classes"] == ["cat", "dog", "mouse"]
    assert named["palette"][1] == [1, 2, 3]
    with pytest.raises(UsageError, match="has 3 classes, and camvid has 11"):
        import_weights(path, names="camvid")
    with pytest.raises(UsageError, match="is neither"):
        import_weights(path, names="nothing")


def test_classifiers_start_anew(exported: Exported, tmp_path: Path) -> None:
    path = without_metadata(exported(tmp_path, DUAL, "danet", classes=3))
    with pytest.raises(UsageError, match="name the new classes"):
        import_weights(path, reset_classes=True)
    imported = import_weights(path, names="camvid", reset_classes=True)
    assert set(imported.match.reset) == {
        f"head.{branch}classifier.{part}" for branch in ("", "position.", "channel.") for part in ("weight", "bias")
    }
    assert imported.arrays["head.classifier.weight"].shape == (128, 11)
    (tmp_path / "same.txt").write_text("a\nb\nc\n")
    same = import_weights(path, names=str(tmp_path / "same.txt"), reset_classes=True)
    assert len(same.match.reset) == 6
    before = import_weights(path).arrays["head.classifier.weight"]
    assert not np.array_equal(same.arrays["head.classifier.weight"], before)


def matched(path: Path, classes: int = CLASSES, **network: Any) -> Any:
    return weights_for(build_network(NetworkConfig(classes=classes, **network)), path)


def test_a_network_gives_what_another_can_use(exported: Exported, tmp_path: Path) -> None:
    danet = without_metadata(exported(tmp_path, DUAL, "danet"))
    whole = matched(danet, **DUAL)
    assert (whole.missing, whole.reset) == ((), ())
    assert matched(danet, 5, **DUAL).reset == tuple(name for name in whole.params if "classifier" in name)
    assert matched(danet, **DUAL, scales=(1.0, 0.5)).missing_parts == ("scale_attention",)
    plain = matched(danet, backbone="resnet18", head="fcn")
    assert plain.missing_parts == ("head.classifier", "head.reduce")
    branch = matched(danet, backbone="resnet18", head="position")
    assert branch.missing == ()
    of_the_branch = whole.params["head.position.classifier.bias"]
    np.testing.assert_array_equal(branch.params["head.classifier.bias"], of_the_branch)


def test_what_does_not_fit_is_refused(exported: Exported, tmp_path: Path) -> None:
    danet = without_metadata(exported(tmp_path, DUAL, "danet"))
    with pytest.raises(CheckpointError, match=r"network.backbone = resnet18, and the network has resnet34"):
        matched(danet, backbone="resnet34", head="dual")
    with pytest.raises(CheckpointError, match=r"deep_stem = False, and the network has True"):
        matched(danet, backbone="resnet18", deep_stem=True)
    with pytest.raises(CheckpointError, match=r"does not fit head.position.reduce.norm.weight of shape \(64,\)"):
        matched(danet, **DUAL, head_channels=64)
    with pytest.raises(UsageError, match="--as backbone"):
        import_weights(exported(tmp_path, DUAL, "torchvision"), kind="network")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("pretrained.layer3.1.bn2.bias", None, "only a part of backbone: pretrained.layer3.1.bn2.bias is missing"),
        ("head.conv51.1.weight", None, "only a part of head.position"),
        ("head.conv51.1.weight", np.full(128, np.nan, np.float32), "NaN"),
        ("head.conv51.1.weight", np.ones(64, np.float32), "does not fit"),
        ("pretrained.layer4.2.conv1.weight", np.ones(3, np.float32), "is none of resnet18"),
        ("head.sa.query_conv.weight", np.ones(3, np.float32), "the names of danet, but not the shapes"),
        ("head.conv8.1.weight", np.ones((1, 128, 1, 1), np.float32), "has 1 class, and a mask can hold"),
        ("head.conv51.0.weight", np.array(1, np.float32), "does not fit"),
        ("head.conv8.1.bias", np.ones((0, 3), np.float32), "a tensor without numbers, head.conv8.1.bias"),
        ("head.conv51.1.running_var", np.full(128, -1, np.float32), "a negative variance"),
        ("pretrained.layer2.0.se.fc1.weight", np.ones(3, np.float32), "whose blocks hold se"),
        ("pretrained.layer2.0.downsample.2.weight", np.ones(3, np.float32), "shortcuts pool before they project"),
        ("pretrained.layer1.0.conv2.weight", np.ones((128, 64, 3, 3), np.float32), "another width"),
    ],
)
def test_nothing_is_taken_by_half(exported: Exported, tmp_path: Path, name: str, value: Any, says: str) -> None:
    path = without_metadata(exported(tmp_path, DUAL, "danet"), **{name: value})
    with pytest.raises(CheckpointError, match=says):
        import_weights(path)


def test_prefixes_are_looked_through(exported: Exported, tmp_path: Path) -> None:
    arrays = load(exported(tmp_path, DUAL, "torchvision").read_bytes())
    for prefix in ("", "module.", "backbone.", "module.backbone.", "pretrained.", "encoder.net."):
        path = tmp_path / "prefixed.safetensors"
        path.write_bytes(save({prefix + name: array for name, array in arrays.items()}))
        assert len(import_weights(path).arrays) == len(arrays)


def test_unknown_names_and_wrong_layouts(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"blocks.0.attn.qkv.weight": np.ones(3, np.float32)}))
    with pytest.raises(CheckpointError, match=r"not of a known layout .*blocks.0.attn"):
        import_weights(path)
    with pytest.raises(CheckpointError, match="not those of mmseg"):
        import_weights(exported(tmp_path, DUAL, "danet"), layout="mmseg")
    bn = {f"features.{index}.weight": np.ones((2, 2, 3, 3), np.float32) for index in (0, 1, 3)}
    path.write_bytes(save(bn))
    with pytest.raises(CheckpointError, match="VGG that is not VGG-16"):
        import_weights(path)


def test_every_length_of_a_header_is_read(tmp_path: Path) -> None:
    """The first byte of a safetensors file is the length of its header: it looks like a pickle, or like a zip."""
    path = tmp_path / "w.safetensors"
    for length in range(300):
        path.write_bytes(save({"a": np.ones(2, np.float32)}, {"padding": "x" * length}))
        assert list(read_weights(path).tensors) == ["a"]
    path.write_bytes(save({"a": np.ones(2, np.float32)}, {"padding": "x" * (0x4B50 - 88)}))
    assert path.read_bytes()[:2] == b"PK"
    assert list(read_weights(path).tensors) == ["a"]


def test_two_networks_side_by_side(exported: Exported, tmp_path: Path) -> None:
    arrays = load(exported(tmp_path, DUAL, "torchvision").read_bytes())
    both = {f"{side}.{name}": array for side in ("encoder_q", "encoder_k") for name, array in arrays.items()}
    (tmp_path / "w.safetensors").write_bytes(save(both))
    with pytest.raises(CheckpointError, match=r"holds several networks, encoder_k. and encoder_q."):
        import_weights(tmp_path / "w.safetensors")


def test_a_head_that_is_not_there_is_no_network(exported: Exported, tmp_path: Path) -> None:
    danet = without_metadata(exported(tmp_path, DUAL, "danet"))
    strangers = {"network.head=fcn": "head.classifier, head.reduce", "network.scales=[1.0,0.5]": "scale_attention"}
    for setting, part in strangers.items():
        with pytest.raises(CheckpointError, match=f"has nothing for {part}"):
            import_weights(danet, settings=[setting])
    for arguments in ({"names": "voc"}, {"settings": ["network.head=fcn"]}, {"reset_classes": True}):
        with pytest.raises(UsageError, match="are for a network"):
            import_weights(danet, kind="backbone", **arguments)
    with pytest.raises(UsageError, match="takes settings of the network here"):
        import_weights(danet, settings=["training.epochs=3"])
    assert import_weights(exported(tmp_path, DUAL, "torchvision")).kind == "backbone"


@pytest.mark.parametrize(
    "said",
    [
        {"backbone": "resnet18", "classes": 3.0}, {"backbone": "resnet18", "head_channels": 2.5}, {"classes": 3},
        {"backbone": "\x1b[31m"}, {"backbone": ["resnet18"]}, {"backbone": "resnet18", "scales": "all"}, [1, 2], 7,
    ],
)  # fmt: skip
def test_metadata_that_describe_no_network(tmp_path: Path, said: Any) -> None:
    path = tmp_path / "w.safetensors"
    for key, text in {"segattn": json.dumps({"weights": said}), "segattn.network": json.dumps(said)}.items():
        path.write_bytes(save({"backbone.conv1.weight": np.ones(3, np.float32)}, {key: text}))
        with pytest.raises(CheckpointError, match="does not describe its network") as caught:
            import_weights(path)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("classes", "palette", "kept"),
    [
        (["a", "b", "c"], [[1, 2, 3]] * 3, True),
        (["a", "b", "c"], [[1, 2, 300]] * 3, False),
        (["a", "b", "c"], [[1, 2], [3], []], False),
        (["a", "b", "c"], "red", False),
    ],
)
def test_colours_that_a_file_says(
    exported: Exported, tmp_path: Path, classes: Any, palette: Any, kept: bool
) -> None:
    path = exported(tmp_path, DUAL, "danet", classes=3)
    meta = {"meta": json.dumps({"classes": classes, "palette": palette})}
    path.write_bytes(save(load(path.read_bytes()), meta))
    metadata = import_weights(path).metadata
    assert metadata["classes"] == classes
    assert (metadata["palette"] == palette) == kept


@pytest.mark.parametrize("names", [["a", "a", "b"], ["a", "", "b"], ["a", "\x1b[31m", "b"], ["a", "b"], "abc"])
def test_class_names_that_a_file_should_not_say(exported: Exported, tmp_path: Path, names: Any) -> None:
    path = exported(tmp_path, DUAL, "danet", classes=3)
    path.write_bytes(save(load(path.read_bytes()), {"meta": json.dumps({"classes": names})}))
    assert import_weights(path).metadata["classes"] == ["class 0", "class 1", "class 2"]


def test_a_palette_of_lists_in_lists_costs_nothing() -> None:
    from segattn_cli.weights.importing import _is_colour

    deep: list[Any] = [0]
    for _ in range(60):
        deep = [deep, deep, deep]
    assert not _is_colour(deep)


def test_our_own_checkpoints_can_be_started_from(exported: Exported, tmp_path: Path) -> None:
    exported(tmp_path, DUAL, "danet")
    own = tmp_path / "model.safetensors"
    assert naming_of(read_weights(own)).layout == "segattn"
    assert matched(own, 5, **DUAL).reset
    averaged = dict(open_model(own).params)
    arrays = averaged | {f"ema.{name}": array + 1 for name, array in averaged.items()}
    save_checkpoint(own, arrays | {"momentum.head.classifier.bias": np.ones(21, np.float32)}, _metadata(own))
    found = matched(own, **DUAL)
    assert found.unused == ()
    np.testing.assert_array_equal(found.params["backbone.bn1.bias"], averaged["backbone.bn1.bias"] + 1)
    imported = import_weights(own, kind="backbone")
    assert all(name.startswith("backbone.") for name in imported.arrays)
    save_checkpoint(tmp_path / "backbone.safetensors", imported.arrays, imported.metadata)
    with pytest.raises(CheckpointError, match="holds a backbone and no whole network"):
        open_model(tmp_path / "backbone.safetensors")
    assert matched(tmp_path / "backbone.safetensors", **DUAL).missing_parts == (
        "head.channel", "head.classifier", "head.position",
    )  # fmt: skip


def _metadata(path: Path) -> dict[str, Any]:
    from segattn_cli.runs.checkpoint import load_checkpoint

    return {key: value for key, value in load_checkpoint(path).metadata.items() if key != "version"}


def test_the_fully_connected_layers_of_vgg(exported: Exported, tmp_path: Path, rng: np.random.Generator) -> None:
    path = exported(tmp_path, {"backbone": "vgg16", "head": "fcn"}, "torchvision")
    arrays = load(path.read_bytes())
    fc6, fc7 = rng.normal(size=(64, 512 * 49)), rng.normal(size=(64, 64))
    arrays |= {
        "classifier.0.weight": fc6.astype(np.float32), "classifier.0.bias": np.arange(64, dtype=np.float32),
        "classifier.3.weight": fc7.astype(np.float32), "classifier.3.bias": np.arange(64, dtype=np.float32),
    }  # fmt: skip
    path.write_bytes(save(arrays))
    thinner = matched(path, backbone="vgg16", head="largefov", head_channels=13)
    assert thinner.params["head.fc7.weight"].shape == (1, 1, 13, 13)
    found = matched(path, backbone="vgg16", head="largefov", head_channels=16)
    assert found.missing_parts == ("head.fc8",)
    weight = found.params["head.fc6.weight"]
    assert weight[1, 2, 5, 3] == np.float32(fc6[12, 5 * 49 + 3 * 7 + 6])  # unit 12, channel 5, row 3, column 6
    assert found.params["head.fc7.weight"][0, 0, 2, 3] == np.float32(fc7[12, 8])
    np.testing.assert_array_equal(found.params["head.fc6.bias"], np.arange(0, 64, 4))
    for name, wrong in (("classifier.0.weight", fc6[:, 1:]), ("classifier.3.bias", np.array(1.0))):
        path.write_bytes(save(arrays | {name: np.ascontiguousarray(wrong, np.float32).reshape(wrong.shape)}))
        with pytest.raises(CheckpointError, match=f"{name} of shape .* does not fit"):
            matched(path, backbone="vgg16", head="largefov", head_channels=16)
