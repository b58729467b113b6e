"""A network and data so small that a step takes milliseconds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from segattn_cli.config import load_config

#: Both papers' network on 13 pictures in batches of 2: 6 steps an epoch.
TINY = (
    "data.scenes={size=[24, 32], train=13, val=2}",
    "data.workers=1",
    "network.head_channels=8",
    "network.scale_attention_channels=8",
    "augmentation.crop=[24, 32]",
    "schedule.warmup_steps=2",
    "training.batch_size=2",
    "training.epochs=2",
    "training.backend=reference",
    "training.log_every=1",
    "evaluation.every=1",
)


@pytest.fixture(scope="session")
def tiny_overrides():
    return TINY


@pytest.fixture(scope="session")
def tiny():
    """``tiny(*overrides)``: the configuration of a run that takes a second."""
    return lambda *overrides: load_config("tiny-scenes", [*TINY, *overrides])


@pytest.fixture(scope="session")
def read_events():
    """``read_events(run, kind)``: what events.jsonl says of one kind."""

    def read(run, kind):
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        return [event for event in events if event["event"] == kind]

    return read


@pytest.fixture
def folder(tmp_path, rng):
    """``folder(name, masks)``: a data set of plain folders, with one random picture for each mask of a split."""

    def make(name, masks):
        root = tmp_path / name
        for split, labels in masks.items():
            (root / "images" / split).mkdir(parents=True)
            (root / "masks" / split).mkdir(parents=True)
            for index, label in enumerate(labels):
                image = rng.integers(0, 256, (*label.shape, 3)).astype(np.uint8)
                Image.fromarray(image).save(root / "images" / split / f"{index}.png")
                Image.fromarray(label.astype(np.uint8)).save(root / "masks" / split / f"{index}.png")
        (root / "classes.txt").write_text("sky\nroad\ntree\n")
        return root

    return make
