"""Predictions as benchmarks want them: with their ids and file names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segattn_cli.data.formats.cityscapes import IDS
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.palettes import write_label_png
from segattn_cli.errors import DataError, OutputError, UsageError


@dataclass(frozen=True)
class Submission:
    """The form of a benchmark's predictions, one 8-bit PNG for each image.

    Args:
        benchmark: name of the benchmark, and of the data set whose classes the network must have.
        ids: the benchmark's ids of our classes, in their order.
        name: pattern of an image's name; its first group begins the name of the prediction.
        ending: end of the prediction's name.
        example: an image's name, for messages.
        coloured: whether the PNG has the colours of the classes as its palette, and is not grey.
    """

    benchmark: str
    ids: tuple[int, ...]
    name: str
    ending: str
    example: str
    coloured: bool = False

    def file_name(self, image: str) -> str:
        """The name of the prediction for ``image``. Raises :class:`DataError` for a name that the benchmark lacks.

        >>> SUBMISSIONS["cityscapes"].file_name("berlin_000000_000019_leftImg8bit.png")
        'berlin_000000_000019_pred_labelIds.png'
        """
        match = re.match(self.name, Path(image).stem)
        if match is None:
            raise DataError(
                f"{image} is not named like the images of {self.benchmark} ({self.example}), which could not "
                "assign its prediction."
            )
        return match[1] + self.ending

    def require_classes(self, classes: tuple[str, ...]) -> None:
        """Raise :class:`UsageError` for a network of other classes."""
        wanted = known_classes(self.benchmark).names
        if classes != wanted:
            raise UsageError(
                f"--submission {self.benchmark} wants a network of its {len(wanted)} classes "
                f"({', '.join(wanted[:3])}, …), and this one has {len(classes)} ({', '.join(classes[:3])}, …)."
            )

    def write(self, path: Path, label: np.ndarray) -> None:
        """Write the label map ``(H, W)`` with the benchmark's ids."""
        table = np.zeros(256, np.uint8)
        table[: len(self.ids)] = self.ids
        if self.coloured:
            palette = known_classes(self.benchmark).palette
            return write_label_png(path, table[label], palette)
        try:
            Image.fromarray(table[label]).save(path, format="PNG")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


#: Cityscapes' server and its evalPixelLevelSemanticLabeling.py look for CITY_SEQ_FRAME*.png; ADE20K's and VOC's for
#: the image's own name.
SUBMISSIONS = {
    "cityscapes": Submission(
        "cityscapes", IDS, r"([a-z-]+_\d{6}_\d{6})(_leftImg8bit)?$", "_pred_labelIds.png",
        "berlin_000000_000019_leftImg8bit.png",
    ),
    "ade20k": Submission("ade20k", tuple(range(1, 151)), r"(ADE_\w+)$", ".png", "ADE_test_00000001.jpg"),
    "voc": Submission("voc", tuple(range(21)), r"(\d{4}_\d{6})$", ".png", "2008_000006.jpg", coloured=True),
}  # fmt: skip
