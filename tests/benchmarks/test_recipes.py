"""The recipes that the scripts are run with: each is a configuration, and PyTorch's training follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segattn_cli.config import load_config

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from benchmarks import torch_augmentation, torch_training

RECIPES = sorted((Path(torch_training.__file__).parent / "recipes").glob("*.toml"))
pytestmark = pytest.mark.torch


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_both_trainings_follow_it(path):
    config = load_config(path)
    torch_training.require_followed(config)
    config.network_config(classes=11)


def test_the_plain_recipe_is_followed_by_pytorchs_own_augmentation():
    config = load_config(next(path for path in RECIPES if path.stem.startswith("plain-")))
    torch_training.require_followed(config, {"augmentation": torch_augmentation.AUGMENTATION})
    torch_augmentation.require_plain(config.augmentation)
