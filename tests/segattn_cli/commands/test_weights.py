"""``segattn weights`` and ``train --weights``, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from reference.networks import build_network
from segattn_cli.config import config_from
from segattn_cli.exporting.state_dict import write_state_dict
from segattn_cli.runs import open_model
from segattn_cli.runs.checkpoint import save_checkpoint


@pytest.fixture
def danet(tmp_path: Path) -> Path:
    """A DANet with its authors' names, and no more than PyTorch would say."""
    config = config_from({"name": "t", "network": {"backbone": "resnet18", "head": "dual"}})
    params = build_network(config.network_config(3)).initialise(3)
    metadata = {
        "kind": "model", "config": config.model_dump(mode="json", exclude_none=True), "classes": ["a", "b", "c"],
        "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]],
    }  # fmt: skip
    save_checkpoint(tmp_path / "model.safetensors", params, metadata)
    write_state_dict(open_model(tmp_path / "model.safetensors"), tmp_path / "danet.safetensors")
    arrays = load((tmp_path / "danet.safetensors").read_bytes())
    arrays["pretrained.fc.weight"] = np.ones((10, 512), np.float32)
    (tmp_path / "danet.safetensors").write_bytes(save(arrays))
    return tmp_path / "danet.safetensors"


def test_import_says_what_became_of_everything(cli: Any, danet: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.safetensors"
    result = cli("weights", "import", danet, "--out", out)
    assert result.code == 0, result.err
    for line in ("layout    danet: resnet18, head dual", "missing   nothing", "unused    pretrained.fc.weight"):
        assert line in result.out
    assert "matched   134 parameters" in result.out
    assert f"segattn infer {out}" in result.out
    again = cli("weights", "import", danet, "--out", out)
    assert again.code == 7
    assert "--force" in again.err
    assert cli("weights", "import", danet, "--out", out, "--force").code == 0


def test_what_was_imported_segments_pictures(cli: Any, danet: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.safetensors"
    assert cli("weights", "import", danet, "--out", out).code == 0
    assert cli("data", "sample", "scenes", "--count", "1", "--out", tmp_path / "scenes").code == 0
    result = cli("infer", out, tmp_path / "scenes" / "images", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert "class " in result.out


def test_a_backbone_is_something_to_train_from(cli: Any, danet: Path, tmp_path: Path) -> None:
    out = tmp_path / "backbone.safetensors"
    result = cli("weights", "import", danet, "--as", "backbone", "--out", out)
    assert result.code == 0, result.err
    assert f"--weights {out}" in result.out
    result = cli("infer", out, "picture.png", "--out", tmp_path / "out")
    assert result.code == 5
    assert "holds a backbone and no whole network" in result.err


def train(cli: Any, out: Path, *more: object) -> Any:
    small = ("network.backbone=resnet18", "data.scenes.train=8", "data.scenes.val=2", "training.batch_size=2",
             "augmentation.crop=[33,33]", "data.scenes.size=[40,48]", "network.scales=[1.0]",
             "network.scale_classifier=none")  # fmt: skip
    return cli("train", "--out", out, "--max-steps", 1, *(part for key in small for part in ("--set", key)), *more)


@pytest.mark.slow
def test_training_starts_from_weights(cli: Any, danet: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(cli, out, "--weights", danet, "--set", "optimiser.learning_rate=1e-30")
    assert result.code == 0, result.err
    assert f"128 parameters from {danet} (danet)" in result.err
    assert "start at random" in result.err  # 8 classes in place of 3
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    loaded = next(event for event in events if event["event"] == "weights")
    assert (loaded["layout"], loaded["matched"], len(loaded["reset"])) == ("danet", 128, 6)
    before = load(danet.read_bytes())["pretrained.layer4.1.conv2.weight"]
    after = open_model(out).params["backbone.layer4.1.conv2.weight"]
    np.testing.assert_array_equal(after, before.transpose(2, 3, 1, 0))

    danet.unlink()  # a run that has begun does not need the file any more
    resumed = train(cli, out, "--weights", danet, "--resume", "--max-steps", 2)
    assert resumed.code == 0, resumed.err


def test_training_refuses_weights_of_another_network(cli: Any, danet: Path, tmp_path: Path) -> None:
    result = train(cli, tmp_path / "run", "--weights", danet, "--set", "network.backbone=resnet34")
    assert result.code == 5
    assert "has network.backbone = resnet18, and the network has resnet34" in result.err
    assert not (tmp_path / "run").exists()
    assert train(cli, tmp_path / "run", "--weights", tmp_path / "nothing.pth").code == 5
    assert train(cli, tmp_path / "run", "--weights", tmp_path / "nothing.pth", "--dry-run").code == 5
    plan = train(cli, tmp_path / "run", "--weights", danet, "--dry-run")
    assert f"# weights       128 parameters from {danet} (danet)" in plan.out


def test_show(cli: Any, danet: Path) -> None:
    result = cli("weights", "show", danet)
    assert result.code == 0
    assert "layout danet: backbone resnet18" in result.out
    assert "pretrained.layer4" in result.out
    assert "512×512×3×3" in cli("weights", "show", danet, "--all").out
    said = json.loads(cli("weights", "show", danet, "--json").out)
    assert said["network"]["classes"] == 3
    assert said["tensors"]["head.sa.gamma"] == {"shape": [1], "dtype": "float32"}


def test_show_of_names_that_nobody_knows(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"blocks.0.attn": np.ones(3, np.float32)}))
    result = cli("weights", "show", path)
    assert result.code == 0
    assert "blocks" in result.out
    assert "not of a known layout" in result.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--as", "head"), "--as must be backbone or network"),
        (("--layout", "keras"), "--layout must be auto or segattn or danet"),
        (("--classes", "drop"), "--classes must be keep or reset"),
        (("--fc", "drop"), "--fc must be decimate or reset"),
        (("--classes", "reset"), "name the new classes"),
        (("--as", "backbone", "--classes", "reset"), "are for a network"),
    ],
)
def test_wrong_options(cli: Any, danet: Path, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    result = cli("weights", "import", danet, "--out", tmp_path / "x.safetensors", *options)
    assert result.code == 2
    assert says in result.err
