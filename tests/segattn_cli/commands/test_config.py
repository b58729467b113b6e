from __future__ import annotations

import json
from typing import Any

import pytest

from segattn_cli.config import keys
from segattn_cli.errors import ExitCode


def test_all_keys_are_listed_and_those_of_a_table(cli: Any) -> None:
    listed = cli("config")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == [key.path for key in keys()]
    table = cli("config", "data").out.splitlines()[1:]
    assert [line.split()[0] for line in table] == [key.path for key in keys() if key.table.startswith("data")]
    assert "not set" in next(line for line in table if line.startswith("data.size"))


def test_a_key_is_explained(cli: Any) -> None:
    assert cli("config", "training.epochs").out.splitlines()[:6] == [
        "training.epochs",
        "  Number of passes over the data set.",
        "type      integer, at least 1",
        "default   24",
        "preset    tiny-scenes: 10",
        "preset    fcn-resnet18-camvid: 96",
    ]


@pytest.mark.parametrize(
    ("key", "type", "default"),
    [
        ("schedule.kind", '"poly", "step", "cosine" or "one-cycle"', "poly"),
        ("data.size", 'array of 2 integers, each at least 1 and at most 65536, or "none"', None),
        ("augmentation.flip", "number, at least 0 and at most 1", 0.5),
        ("network.deep_stem", "true or false", False),
        (
            "loss.class_weights", '"median-frequency" or "log", or array of numbers, each at least 0, or "none"',
            None,
        ),
        ("evaluation.scales", "array of numbers, each greater than 0 and at most 16", [1.0]),
    ],
)
def test_types_limits_and_defaults(cli: Any, key: str, type: str, default: Any) -> None:
    found = json.loads(cli("config", key, "--json").out)
    assert (found["key"], found["type"], found["default"]) == (key, type, default)


def test_as_json_with_what_presets_set(cli: Any) -> None:
    everything = json.loads(cli("config", "--json").out)
    assert [each["key"] for each in everything] == [key.path for key in keys()]
    rates = next(each for each in everything if each["key"] == "optimiser.learning_rate")["presets"]
    assert rates["danet-resnet101-cityscapes"] == 0.003
    assert not any(each["presets"] for each in everything if each["key"] == "training.patience")


@pytest.mark.parametrize("near", ["training.epoch", "epochs", "trainin.epochs"])
def test_a_near_miss_is_answered(cli: Any, near: str) -> None:
    done = cli("config", near)
    assert (done.code, done.out) == (ExitCode.CONFIG, "")
    assert done.err == (
        f"segattn: {near} is no key (did you mean training.epochs?): `segattn config` lists all keys.\n"
    )
