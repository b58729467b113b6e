"""What these tests share: images to annotate, and an import of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import open_dataset
from segattn_cli.data.annotations.model import Noted, Notes
from segattn_cli.data.annotations.planning import ImportOptions, ImportPlan, plan_import
from segattn_cli.data.annotations.writing import ImportTotals, write_import


@dataclass
class Imported:
    """A data set that was imported."""

    out: Path
    plan: ImportPlan
    totals: ImportTotals
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]  # by name, (H, W) as training reads them
    splits: dict[str, str]  # by name

    @property
    def notes(self) -> Notes:
        return self.plan.notes

    def noted(self, part: str) -> Noted:
        """The one note whose text has this part."""
        everything = {**self.notes.chosen, **self.notes.left_out}
        (found,) = [noted for what, noted in everything.items() if part in what]
        return found


@pytest.fixture
def import_from(tmp_path: Path) -> Callable[..., Imported]:
    """``import_from(source, link=…, **options)``: import into ``out``, and read what is there."""

    def run(source: Path, *, link: bool = False, **options: Any) -> Imported:
        plan = plan_import(source, ImportOptions(**options))
        totals = ImportTotals()
        out = tmp_path / "out"
        list(write_import(plan, out, totals, link=link))
        labels, splits = {}, {}
        for split in totals.images:
            dataset = open_dataset(out, format="folder", split=split)
            for index in range(len(dataset)):
                _, label, name = dataset.load(index)
                labels[name], splits[name] = label, split
        return Imported(out, plan, totals, dataset.classes, labels, splits)

    return run


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """``save_image(path, (H, W), orientation=6)``: an image of which no two are alike."""

    def save(path: Path, size: tuple[int, int] = (4, 6), orientation: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(str(path))).integers(0, 256, (*size, 3), np.uint8)
        exif = Image.Exif()
        if orientation != 1:
            exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, exif=exif)
        return path

    return save
