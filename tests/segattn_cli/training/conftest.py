"""A network and data so small that a step takes milliseconds."""

from __future__ import annotations

import pytest

from segattn_cli.config import load_config

TINY = (
    "data.scenes={size=[24, 32], train=13, val=2}",
    "data.workers=1",
    "network.head_channels=8",
    "network.scale_attention_channels=8",
    "augmentation.crop=[24, 32]",
    "training.batch_size=2",
    "training.backend=reference",
    "training.log_every=1",
    "schedule.warmup_steps=2",
)


@pytest.fixture(scope="session")
def tiny():
    """``tiny(*overrides)``: both papers' network on 13 pictures in batches of 2, so 6 steps an epoch."""
    return lambda *overrides: load_config("tiny-scenes", [*TINY, *overrides])
