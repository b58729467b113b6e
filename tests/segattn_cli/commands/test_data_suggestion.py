"""`segattn data check --suggest`: its output is a configuration that trains, or there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.config import load_config
from segattn_cli.errors import ExitCode
from segattn_cli.training.setup import open_splits
from segattn_cli.training.sizes import size_warnings

from ..aerial import write_aerial


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh folder of images from above."""
    return write_aerial(tmp_path_factory.mktemp("data") / "tiles", count=40, side=64)


@pytest.fixture
def file(tiles: Path, cli: Callable[..., Any], tmp_path: Path) -> Path:
    """What the command prints, saved."""
    done = cli("data", "check", tiles, "--suggest")
    assert done.code == 0
    path = tmp_path / "mine.toml"
    path.write_text(done.out)
    return path


def test_it_prints_a_configuration(file: Path, cli: Callable[..., Any]) -> None:
    config = load_config(file)
    assert (config.data.folds, config.augmentation.rotation) == (5, 180)
    training, validation = open_splits(config)
    assert (len(training), len(validation)) == (32, 8)
    assert size_warnings(config, validation) == ()
    assert "# images        32 to train, 8 to validate, 4 classes" in cli("train", file, "--dry-run").out


@pytest.mark.slow
def test_what_it_prints_trains_as_printed(file: Path, cli: Callable[..., Any], tmp_path: Path) -> None:
    done = cli("train", file, "--max-steps", 1, "--backend", "numpy", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_no_configuration_for_data_that_cannot_be_used(cli: Callable[..., Any], tmp_path: Path) -> None:
    broken = write_aerial(tmp_path / "broken", count=6, side=32)
    (broken / "masks" / "tile003.png").unlink()
    done = cli("data", "check", broken, "--suggest")
    assert done.code == ExitCode.DATA
    assert done.out == ""
    assert "tile003.png has no mask" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scenes"], "--suggest is for a folder of images; the preset tiny-scenes trains on scenes."),
        (["TILES", "--split", "train"], "--suggest prints a configuration for a whole data set: leave out --split"),
        (["TILES", "--json", "x.json"], "--suggest prints a configuration for a whole data set: leave out --split"),
    ],
)
def test_what_does_not_go_with_it(
    tiles: Path, cli: Callable[..., Any], arguments: list[str], sentence: str
) -> None:
    done = cli("data", "check", *(tiles if each == "TILES" else each for each in arguments), "--suggest")
    assert done.code == ExitCode.USAGE
    assert sentence in done.err
