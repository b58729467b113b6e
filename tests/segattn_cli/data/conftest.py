"""Small data sets in every layout, and a data set in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import IGNORE_LABEL, Sample


@dataclass
class Memory:
    """Images in memory that count how often they were loaded."""

    samples: list[Sample]
    before: Callable[[int], None] = lambda index: None
    loaded: list[int] = field(default_factory=list)
    name: str = "memory"
    format: str = "memory"
    split: str = "train"
    classes: tuple[str, ...] = ("a", "b", "c")
    ignore_label: int = IGNORE_LABEL

    @property
    def palette(self) -> np.ndarray:
        return np.zeros((3, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.samples)

    def name_of(self, index: int) -> str:
        return self.samples[index].name

    def load(self, index: int) -> Sample:
        self.before(index)
        self.loaded.append(index)
        return self.samples[index]


@pytest.fixture
def memory() -> Callable[..., Memory]:
    """``memory(count, size=…)``: random images with labels 0, 1, 2 and 255."""

    def make(
        count: int, size: tuple[int, int] = (20, 30), before: Callable[[int], None] = lambda index: None
    ) -> Memory:
        rng = np.random.default_rng(count)
        samples = [
            Sample(
                rng.integers(0, 256, (*size, 3), np.uint8),
                rng.choice(np.array([0, 1, 2, IGNORE_LABEL], np.uint8), size),
                f"image {index}",
            )
            for index in range(count)
        ]
        return Memory(samples, before)

    return make


@pytest.fixture
def save_pair() -> Callable[..., None]:
    """``save_pair(image path, mask path, label)``: an image that shows its label, and the mask."""

    def save(image: Path, mask: Path, label: np.ndarray) -> None:
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(label[..., None] * np.uint8(10), 3, axis=2)).save(image)
        Image.fromarray(label).save(mask)

    return save


@pytest.fixture
def label() -> np.ndarray:
    """Labels 0, 1 and 2, and void."""
    return np.array([[0, 1, 2, 255], [0, 1, 2, 255], [0, 0, 1, 1]], np.uint8)
