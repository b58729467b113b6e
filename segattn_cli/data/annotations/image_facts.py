"""What the first bytes of an image say: its size, and how its EXIF tag turns it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segattn_cli.data.images import opened, orientation_of, stored_size

#: What the EXIF orientations do, to a label map.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda label: label,
    2: lambda label: label[:, ::-1],
    3: lambda label: label[::-1, ::-1],
    4: lambda label: label[::-1],
    5: lambda label: label.T,
    6: lambda label: label.T[:, ::-1],
    7: lambda label: label.T[::-1, ::-1],
    8: lambda label: label.T[::-1],
}
#: The endings of formats, for images whose name has none that is known.
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PPM": ".ppm", "TIFF": ".tif"}


class ImageFacts(NamedTuple):
    """What is known about an image without decoding it."""

    size: tuple[int, int]  # (H, W) as stored
    orientation: int  # 1 to 8, as EXIF defines them
    format: str
    mode: str

    @property
    def upright_size(self) -> tuple[int, int]:
        """The (H, W) that a screen shows."""
        height, width = self.size
        return (width, height) if self.orientation > 4 else (height, width)

    @property
    def suffix(self) -> str:
        """The usual ending of the format."""
        return _SUFFIXES.get(self.format, f".{self.format.lower()}")

    def turned(self, label: np.ndarray) -> np.ndarray:
        """A label map of the stored pixels as a screen shows the image."""
        return np.ascontiguousarray(_TURNS[self.orientation](label))


def image_facts(source: Path | bytes, name: str | None = None) -> ImageFacts:
    """Look at the header of an image, or of the bytes of one, which messages call ``name``.

    Raises:
        DataError: for a file that is missing or no image.
    """
    with opened(source, name) as image:
        orientation = orientation_of(image)
        return ImageFacts(
            stored_size(image), orientation if orientation in _TURNS else 1, image.format or "", image.mode
        )
