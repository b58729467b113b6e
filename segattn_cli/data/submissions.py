"""How benchmarks want predictions: their own ids, under their own names."""

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
    """What a benchmark takes: one 8-bit PNG for each picture.

    Args:
        benchmark: also the data set whose classes the network has to have.
        ids: what the benchmark calls our classes, in their order.
        name: what the name of a picture has to look like; the first group begins the name of its prediction.
        ending: of the prediction's name.
        example: of a picture's name.
        coloured: whether it wants the colours of the classes in the file, as a palette, and not grey.
    """

    benchmark: str
    ids: tuple[int, ...]
    name: str
    ending: str
    example: str
    coloured: bool = False

    def file_name(self, picture: str) -> str:
        """What the prediction for ``picture`` is called. Raises :class:`DataError` where that cannot be told.

        >>> SUBMISSIONS["cityscapes"].file_name("berlin_000000_000019_leftImg8bit.png")
        'berlin_000000_000019_pred_labelIds.png'
        """
        found = re.match(self.name, Path(picture).stem)
        if found is None:
            raise DataError(
                f"{picture} is not named as {self.benchmark} names its pictures ({self.example}), so nobody could "
                "tell what its prediction belongs to."
            )
        return found[1] + self.ending

    def require_classes(self, classes: tuple[str, ...]) -> None:
        """Raise :class:`UsageError` for a network that tells other classes apart."""
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
#: the picture's own name.
SUBMISSIONS = {
    "cityscapes": Submission(
        "cityscapes", IDS, r"([a-z-]+_\d{6}_\d{6})(_leftImg8bit)?$", "_pred_labelIds.png",
        "berlin_000000_000019_leftImg8bit.png",
    ),
    "ade20k": Submission("ade20k", tuple(range(1, 151)), r"(ADE_\w+)$", ".png", "ADE_test_00000001.jpg"),
    "voc": Submission("voc", tuple(range(21)), r"(\d{4}_\d{6})$", ".png", "2008_000006.jpg", coloured=True),
}  # fmt: skip
