"""The training in PyTorch: what it writes, that segattn reads it, its own augmentation, and its refusals."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from backends import get_backend
from segattn_cli.config import keys, load_config
from segattn_cli.data import AugmentationConfig
from segattn_cli.errors import ConfigError, ExitCode, OutputError, UsageError
from segattn_cli.prediction.evaluation import evaluate
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import open_model
from segattn_cli.runs.checkpoint import save_checkpoint
from segattn_cli.training.batches import batches_from
from segattn_cli.training.schedule import learning_rate
from segattn_cli.training.setup import open_run, open_splits
from segattn_cli.weights import import_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from benchmarks import command_line, torch_augmentation, torch_training  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = (
    "data.scenes={size=[24, 32], train=13, val=3}",
    "augmentation.crop=[24, 32]",
    "network.head_channels=8",
    "network.scale_attention_channels=8",
    "schedule.warmup_steps=2",
    "training.batch_size=2",
    "training.backend=numpy",
    "training.max_steps=5",
)


#: The colours that its own augmentation has.
PLAIN = ("augmentation.saturation=0.0", "augmentation.hue=0.0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training of five steps, and its result."""
    out = tmp_path_factory.mktemp("torch") / "run"
    return out, torch_training.train(load_config("tiny-scenes", SMALL), out)


def test_log_and_result(trained):
    out, result = trained
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 5]
    assert all(np.isfinite(line["loss"]) for line in lines[:5])
    assert lines[-1]["miou"] == result["miou"] == result["best_miou"]
    assert json.loads((out / "result.json").read_text())["steps"] == 5


def test_segattn_imports_the_weights_and_measures_the_same(trained, tmp_path):
    out, result = trained
    imported = import_weights(out / "weights.safetensors")
    save_checkpoint(tmp_path / "imported.safetensors", imported.arrays, imported.metadata)
    model = open_model(tmp_path / "imported.safetensors")
    _, validation = open_splits(load_config("tiny-scenes", SMALL))
    *_, again = evaluate(Predictor.of(model, get_backend("numpy")), validation)
    np.testing.assert_array_equal(again.confusion, result["confusion"])
    assert again.scale_weights == pytest.approx(result["scale_weights"], abs=1e-5)


def test_its_batches_are_segattns(tmp_path):
    config = load_config("tiny-scenes", [*SMALL, "optimiser.accumulate=2"])
    opened = open_run(config, tmp_path / "run", resume=False)
    wanted = [batch for batches in batches_from(opened, 0) for batch in batches]
    opened.event_log.close()
    got = torch_training.segattn_batches(config, opened.training)
    for batch in wanted:
        other = next(got)
        np.testing.assert_array_equal(other.images, batch.images)
        np.testing.assert_array_equal(other.labels, batch.labels)


@pytest.mark.parametrize("kind", ["poly", "step", "cosine", "one-cycle"])
def test_its_learning_rates_are_segattns(kind):
    schedule = load_config(
        "tiny-scenes", [f"schedule.kind={kind}", "schedule.milestones=[3, 7]", "schedule.minimum=0.001"]
    ).schedule
    for step in range(10):
        got = torch_training.learning_rate(schedule, 0.1, step, 10)
        assert got == pytest.approx(learning_rate(schedule, 0.1, step, 10), rel=1e-9)


def test_with_its_own_augmentation(tmp_path):
    result = torch_training.train(load_config("tiny-scenes", [*SMALL, *PLAIN]), tmp_path / "run", "torch")
    assert result["augmentation"] == "torch"
    assert result["steps"] == 5


def test_own_batches_are_of_the_crops_size_and_depend_on_the_seed(tmp_path):
    config = load_config("tiny-scenes", SMALL)
    training, _ = open_splits(config)
    first, again = (next(torch_augmentation.torch_batches(config, training)) for _ in range(2))
    assert first.images.shape == (2, 24, 32, 3)
    assert first.labels.shape == (2, 24, 32)
    np.testing.assert_array_equal(first.images, again.images)
    other = next(torch_augmentation.torch_batches(torch_training.with_seed(config, 1), training))
    assert first.names != other.names or not np.array_equal(first.images, other.images)


def test_augmentation_moves_image_and_label_together():
    """Where nothing but the crop and the flip is drawn, a pixel of the label belongs to its pixel of the image."""
    config = AugmentationConfig(scale=(1.0, 1.0), crop=(8, 8), flip=0.5, photometric=0)
    label = torch.arange(16 * 12, dtype=torch.uint8).reshape(12, 16)
    image = label[:, :, None].expand(-1, -1, 3)
    random = torch.Generator().manual_seed(0)
    flips = set()
    for _ in range(20):
        x, y = torch_augmentation.augment(image, label, config, random)
        wanted = (y / 255 - torch_augmentation.MEAN) / torch_augmentation.STD
        torch.testing.assert_close(x, wanted)
        flips.add(int(y[0, 1]) > int(y[0, 0]))
    assert flips == {False, True}


def test_augmentation_ignores_what_lies_outside():
    config = AugmentationConfig(scale=(0.5, 0.5), crop=(8, 8), flip=0, photometric=1)
    image, label = torch.full((10, 12, 3), 200, dtype=torch.uint8), torch.ones(10, 12, dtype=torch.uint8)
    x, y = torch_augmentation.augment(image, label, config, torch.Generator())
    assert (y[:5, :6] == 1).all()
    assert (y[5:] == 255).all()
    assert (y[:, 6:] == 255).all()
    assert (x[:, 5:] == 0).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["training.precision=tf32"], "training.precision, which is tf32"),
        (["training.patience=3"], "training.patience"),
        (["network.backbone=resnet18", "network.auxiliary_head=true"], "network.auxiliary_head"),
        (["network.backbone=resnet18", "network.deep_stem=true"], "network.deep_stem"),
    ],
)
def test_what_it_does_not_have_is_refused_before_anything_is_written(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        torch_training.train(load_config("tiny-scenes", [*SMALL, *settings]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_key_that_is_followed_exists():
    """And a key that is added to a table is refused here until it is followed."""
    paths = {key.path for key in keys()}
    assert {f"{table}.{name}" for table, names in torch_training.FOLLOWED.items() for name in names} <= paths
    assert {f"augmentation.{name}" for name in torch_augmentation.AUGMENTATION} <= paths


@pytest.mark.parametrize("key", ["cat_max_ratio=0.75", "saturation=0.5", "hue=1.0", "rotation=5.0", "blur=0.5"])
def test_its_own_augmentation_refuses_what_only_segattns_has(tmp_path, key):
    config = load_config("tiny-scenes", [*SMALL, *PLAIN, f"augmentation.{key}"])
    with pytest.raises(ConfigError, match=key.partition("=")[0]):
        torch_training.train(config, tmp_path / "run", "torch")
    assert not (tmp_path / "run").exists()


def test_augmentation_changes_brightness_and_contrast_within_their_limits():
    config = AugmentationConfig(scale=(1.0, 1.0), crop=(2, 2), flip=0, brightness=25.5, contrast=0.2)
    image = torch.tensor([100, 150], dtype=torch.uint8)[:, None, None].expand(2, 2, 3)
    label, random = torch.zeros(2, 2, dtype=torch.uint8), torch.Generator().manual_seed(1)
    seen = []
    for _ in range(200):
        x, _ = torch_augmentation.augment(image, label, config, random)
        x = x * torch_augmentation.STD + torch_augmentation.MEAN
        contrast = float(x[0, 1, 0] - x[0, 0, 0]) * 255 / 50
        mean = float(torch_augmentation.MEAN[0])
        seen.append((contrast, float(x[0, 0, 0]) - (100 / 255 - mean) * contrast - mean))
    contrasts, brightnesses = zip(*seen, strict=True)
    assert 0.8 <= min(contrasts) < 0.82
    assert 1.18 < max(contrasts) <= 1.2
    assert -0.1 <= min(brightnesses) < -0.095
    assert 0.095 < max(brightnesses) <= 0.1


def test_one_crop_in_five_is_a_quarter_larger():
    config = AugmentationConfig(scale=(0.5, 0.5), enlarge=0.2, crop=(10, 10), flip=0, photometric=0)
    image, label = torch.zeros(16, 16, 3, dtype=torch.uint8), torch.zeros(16, 16, dtype=torch.uint8)
    random = torch.Generator().manual_seed(0)
    heights = [
        int((torch_augmentation.augment(image, label, config, random)[1][:, 0] == 0).sum()) for _ in range(300)
    ]
    assert set(heights) == {8, 10}
    assert 0.13 < heights.count(10) / 300 < 0.27


def test_a_folder_that_exists_is_refused(trained):
    with pytest.raises(OutputError, match="is not empty"):
        torch_training.train(load_config("tiny-scenes", SMALL), trained[0])


def test_the_command(tmp_path, monkeypatch, capsys):
    settings = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["tiny-scenes", *settings, "--seeds", "3,4", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["torch_training", *arguments])
    with pytest.raises(SystemExit) as end:
        command_line.run(torch_training.main)
    assert end.value.code == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["seed 3", "seed 4"]
    assert {path.name for path in tmp_path.iterdir()} == {"3", "4"}


def test_an_error_is_one_sentence_and_its_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["torch_training", "tiny-scenes", "--set", "network.head=no", "--out", "x"])
    with pytest.raises(SystemExit) as end:
        command_line.run(torch_training.main)
    assert end.value.code == ExitCode.CONFIG
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("text", ["1,1", "a", "1,,2", "-1"])
def test_seeds_that_are_refused(text):
    with pytest.raises(UsageError, match="--seeds"):
        torch_training.seeds_of(text, load_config("tiny-scenes"))
