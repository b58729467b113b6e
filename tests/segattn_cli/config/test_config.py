"""Configurations: what they inherit, what they refuse, and that the page about them is true."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from reference.networks import Architecture, LossTerms, LossWeights
from segattn_cli.config import PRESETS, config_from, keys, load_config
from segattn_cli.config.docs import rewritten
from segattn_cli.data import AugmentationConfig
from segattn_cli.data.formats.recognition import LAYOUTS
from segattn_cli.errors import ConfigError, ExitCode

LIST = "`segattn config` lists all keys."


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_whole_and_survives_its_own_file(name):
    config = load_config(name)
    assert config.name == name
    assert config_from(tomllib.loads(config.as_toml())) == config
    assert config.network_config(classes=19).classes == 19


def test_presets_are_the_files_in_the_package():
    folder = files("segattn_cli.config").joinpath("presets")
    assert {file.name for file in folder.iterdir()} == {f"{name}.toml" for name in PRESETS}


def test_the_default_is_tiny_scenes():
    assert load_config().name == "tiny-scenes"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.epoch=3", f"training.epoch is no key (did you mean training.epochs?): {LIST}"),
        ("trainig.epochs=3", f"trainig is no key (did you mean training?): {LIST}"),
        ("epochs=3", f"epochs is no key (did you mean training.epochs?): {LIST}"),
        ("xyzzy=3", f"xyzzy is no key: {LIST}"),
        ("training=3", "training must be a table, got 3."),
        ("training.epochs.x=3", 'training.epochs must be a valid integer, got {"x": 3}.'),
        ("training.epochs=0", "training.epochs must be greater than or equal to 1, got 0."),
        ("training.epochs=1.5", "training.epochs must be a valid integer, got 1.5."),
        ("training.epochs='3'", 'training.epochs must be a valid integer, got "3".'),
        ("training.ema=1.0", "training.ema must be less than 1, got 1.0."),
        ("optimiser.learning_rate=true", "optimiser.learning_rate must be a valid number, got true."),
        ("optimiser.learning_rate=nan", "optimiser.learning_rate must be a finite number, got NaN."),
        ("optimiser.learning_rate=1979-05-27", 'optimiser.learning_rate must be a valid number, got "1979-05-27".'),
        ("data.size=[3]", "data.size must have more values, got [3]."),
        ("data.scenes.size=none", 'data.scenes.size must be an array, got "none".'),
        ("network.scales=[0.5]", "network.scales must hold 1.0, got (0.5,)."),
        ("network.scales=[1.0,0.5", 'network.scales must be an array, got "[1.0,0.5".'),
        ("network.head=dua", "network.head must be one of fcn, position, channel, dual, largefov, got dua."),
        ("network.multi_grid=[4,8]", "network.multi_grid is for ResNets with output_stride 8 only."),
        ("network.auxiliary_head=true", "network.auxiliary_head is for ResNets, not for tiny."),
        ("network.stem_channels=32", "network.stem_channels is the width of a deep_stem."),
        (
            "augmentation.scale=[2,1]",
            "augmentation.scale must go from the smallest to the largest factor, got [2.0, 1.0].",
        ),
        ("network.weights=3", "network.weights must be a valid string, got 3."),
        ("network.scales=[1,inf]", "network.scales must be a finite number, got Infinity."),
        ("network.head_channels=0", "network.head_channels must be 1 to 65536."),
        ("network.scale_attention_channels=65537", "network.scale_attention_channels must be 1 to 65536."),
        (f"data.scenes.val={10**20}", f"data.scenes.val must be less than or equal to 1000000000, got {10**20}."),
        ("augmentation.flip=2", "augmentation.flip must be less than or equal to 1, got 2."),
        ("augmentation.crop=[0,8]", "augmentation.crop must be greater than or equal to 1, got 0."),
        ("loss.auxiliary=-1", "loss.auxiliary must be at least 0, got -1.0."),
        ("loss.class_weights=3", "loss.class_weights must be 'median-frequency' or 'log' or be an array, got 3."),
        (
            "loss.hard_pixel_threshold=1.5",
            "loss.hard_pixel_threshold must be a number from 0 to 1, got 1.5.",
        ),
        ("loss.focal=-1", "loss.focal must be at least 0, got -1.0."),
        ("loss.focal_gamma=-1", "loss.focal_gamma must be at least 0, got -1.0."),
        (
            "loss.cross_entropy=0",
            "loss.cross_entropy, focal, dice and lovasz are all 0: one of these weights must be larger.",
        ),
        (
            "loss.hard_pixel_fraction=0",
            "loss.hard_pixel_fraction must be greater than 0 and at most 1, got 0.0.",
        ),
        ("loss.class_weight_offset=1", "loss.class_weight_offset must be greater than 1, got 1."),
        ("training.epochs", "--set wants key=value, such as training.epochs=3; got 'training.epochs'."),
        ("training..epochs=3", "--set wants key=value, such as training.epochs=3; got 'training..epochs=3'."),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(override, sentence):
    with pytest.raises(ConfigError) as error:
        load_config("tiny-scenes", [override])
    assert str(error.value) == sentence
    assert error.value.exit_code == ExitCode.CONFIG


def test_several_mistakes_are_all_named():
    with pytest.raises(ConfigError, match=r"^training\.batch_size must .*; training\.epochs must .*\.$"):
        load_config("tiny-scenes", ["training.epochs=0", "training.batch_size=0"])


def test_overrides_are_toml_values_and_the_last_wins():
    overrides = ["network.scales=[1, 0.75]", "network.head=fcn", "training.epochs=5", "training.epochs=7"]
    config = load_config("tiny-scenes", [*overrides, 'name="a = b"'])
    assert config.network.scales == (1.0, 0.75)
    assert config.network.head == "fcn"
    assert config.training.epochs == 7
    assert config.name == "a = b"


def test_none_unsets_what_a_preset_has_set():
    assert load_config("danet-resnet50-cityscapes").network.multi_grid == (4, 8, 16)
    assert load_config("danet-resnet50-cityscapes", ["network.multi_grid=none"]).network.multi_grid is None
    assert load_config("fcn-resnet18-camvid").training.ema == 0.998
    assert load_config("fcn-resnet18-camvid", ["training.ema=none"]).training.ema is None


@pytest.mark.parametrize("key", [key.path for key in keys() if key.default is None])
def test_every_key_that_is_not_set_can_be_none(key):
    assert load_config("fcn-resnet18-camvid", [f"{key}=none"])


def test_a_file_inherits_from_a_preset_and_is_named_after_itself(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "danet-resnet18-camvid"\n[network]\nhead = "fcn"\n')
    config = load_config(file)
    assert config.name == "mine"
    assert (config.network.backbone, config.network.head) == ("resnet18", "fcn")
    assert config.schedule.warmup_steps == 200
    assert load_config(file, preset="tiny-scenes").network.backbone == "tiny"


def test_a_file_without_preset_starts_from_the_defaults(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nepochs = 2\n")
    assert load_config(file).training.batch_size == 8


def test_where_a_data_path_starts(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "configs" / "mine.toml"
    file.write_text('[data]\nsource = "pictures"\n')
    monkeypatch.chdir(tmp_path / "here")
    assert load_config(file).data.source == str(tmp_path / "configs" / "pictures")
    assert load_config(file, ["data.source=pictures"]).data.source == str(tmp_path / "here" / "pictures")
    assert load_config(file, ["data.source=/pictures"]).data.source == "/pictures"
    assert load_config(file, ["data.source=scenes"]).data.source == "scenes"
    assert load_config(file, ["data.source=./scenes"]).data.source == str(tmp_path / "here" / "scenes")
    file.write_text('[data]\nsource = "scenes"\n')
    assert load_config(file).data.source == "scenes"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[training\n", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b'preset = "tiny-scens"\n', r"no preset 'tiny-scens' \(did you mean tiny-scenes\?\)"),
        (b"preset = 3\n", "no preset '3'"),
        (b"data = 3\n", "data must be a table, got 3"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, content, message):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(file)


def test_a_section_is_the_dataclass_that_the_engine_takes():
    config = load_config("tiny-scenes", ["loss.position=0.5", "augmentation.flip=0.25", "network.head=fcn"])
    assert isinstance(config.loss, LossWeights)
    assert isinstance(config.loss, LossTerms)
    assert isinstance(config.augmentation, AugmentationConfig)
    assert isinstance(config.network, Architecture)
    assert (config.loss.position, config.augmentation.flip, config.network_config(7).head) == (0.5, 0.25, "fcn")
    defaults = {key.path: key.default for key in keys()}
    engines = {"network": [Architecture], "loss": [LossWeights, LossTerms], "augmentation": [AugmentationConfig]}
    for table, engine in ((table, engine) for table, each in engines.items() for engine in each):
        for field in fields(engine):
            assert defaults[f"{table}.{field.name}"] == field.default


def test_every_layout_can_be_configured():
    (key,) = (key for key in keys() if key.path == "data.format")
    assert get_args(key.type) == ("auto", *LAYOUTS)


def test_files_and_presets_that_do_not_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"no configuration file .*nor a preset .*did you mean tiny-scenes"):
        load_config("tiny-scens")
    with pytest.raises(ConfigError, match="no configuration file"):
        load_config(tmp_path / "mine.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"no preset 'x': choose from tiny-scenes, "):
        load_config(preset="x")


def test_every_key_is_documented(repository):
    assert [key.path for key in keys() if not key.meaning] == []
    page = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert rewritten(page) == page, "run `python -m segattn_cli.config.docs`"
    assert all(f"`{name}`" in page for name in PRESETS)
    assert "| `learning_rate` | `0.01` | largest learning rate of the schedule; AdamW" in page


@pytest.mark.parametrize("value", ["[" * 2000, "{a=" * 2000])
def test_a_value_that_is_nested_too_deeply(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set data\.size has a value that is nested too deeply\.$"):
        load_config("tiny-scenes", [f"data.size={value}"])


def test_keys_that_are_nested_too_deeply() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config("tiny-scenes", [f"{'a.' * 5000}b=1", f"{'a.' * 5000}c=1"])


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, f"{'a.' * 5000}b = 1"])
def test_a_file_that_is_nested_too_deeply(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"pipe is a pipe, and nobody writes a configuration to it\."):
        load_config(pipe)
    reader, writer = os.pipe()  # as `segattn train <(…)` has it
    os.write(writer, b"training.epochs = 7\n")
    os.close(writer)
    assert load_config(Path(f"/dev/fd/{reader}")).training.epochs == 7
    os.close(reader)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="/dev/zero is POSIX's")
def test_a_file_without_an_end() -> None:
    with pytest.raises(ConfigError, match=r"/dev/zero is no configuration: it is longer than 1,000,000 bytes\."):
        load_config(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.scales=[1, 9223372036854775807]", "scales must be positive and at most 16"),
        ("evaluation.scales=[1e300]", "less than or equal to 16"),
        ("training.batch_size=9223372036854775807", "less than or equal to 65536"),
        ("augmentation.crop=[1000000, 8]", "less than or equal to 65536"),
        ("data.size=[8, 1000000]", "less than or equal to 65536"),
    ],
)
def test_what_no_machine_can_hold(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("tiny-scenes", [setting]).network_config(3)


def test_a_value_that_is_long_is_cut_in_the_sentence() -> None:
    """A file of 64 KB made a sentence of 64 KB."""
    with pytest.raises(ConfigError, match=r"training\.epochs must be .*, got \[1, 1, .* …\.$") as caught:
        load_config(None, [f"training.epochs={[1] * 9999}"])
    assert len(str(caught.value)) < 300
