"""Colours of classes, and label maps in these colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segattn_cli.data.images import image_png
from segattn_cli.data.masks import IGNORE_LABEL
from segattn_cli.errors import OutputError

#: The colour of ignored pixels: the cream of VOC's borders.
IGNORED_COLOUR = (224, 224, 192)
#: Okabe and Ito (2008): eight colours told apart with any colour vision.
OKABE_ITO = np.array(
    [
        [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66],
        [0, 114, 178], [213, 94, 0], [204, 121, 167], [0, 0, 0],
    ],
    np.uint8,
)  # fmt: skip


def default_palette(count: int) -> np.ndarray:
    """``(count, 3)`` uint8 colours for classes without colours of their own.

    The first eight are Okabe and Ito's. Each further one is, out of 9×9×9 evenly spaced colours, the one farthest
    from all before it, both in normal vision and in red-green blindness.

    >>> default_palette(2).tolist()
    [[230, 159, 0], [86, 180, 233]]
    """
    grid = np.linspace(0, 255, 9).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3)
    palette = list(OKABE_ITO[:count])
    taken = _perceived(np.array([*palette, IGNORED_COLOUR], np.uint8))  # (n, 6)
    seen = _perceived(candidates)  # (729, 6)
    nearest = np.linalg.norm(seen[:, None] - taken, axis=-1).min(axis=1)
    while len(palette) < count:
        farthest = int(nearest.argmax())
        palette.append(candidates[farthest])
        nearest = np.minimum(nearest, np.linalg.norm(seen - seen[farthest], axis=-1))
    return np.array(palette, np.uint8).reshape(count, 3)


def colourise(label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Colour a label map: ``(H, W)`` indices to ``(H, W, 3)`` uint8; others have the colour of ignored."""
    return _full_palette(palette)[label]


def label_png(label: np.ndarray, palette: np.ndarray) -> bytes:
    """A label map ``(H, W)`` as a palette PNG: viewers show the colours, programs read the indices."""
    image = Image.fromarray(label.astype(np.uint8))
    image.putpalette(_full_palette(palette).tobytes())
    return image_png(image)


def write_label_png(path: str | Path, label: np.ndarray, palette: np.ndarray) -> None:
    """Write :func:`label_png` to a file.

    Raises:
        OutputError: where the file cannot be written.
    """
    try:
        Path(path).write_bytes(label_png(label, palette))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


def _full_palette(palette: np.ndarray) -> np.ndarray:
    full = np.empty((256, 3), np.uint8)
    full[:] = IGNORED_COLOUR
    full[: min(len(palette), IGNORE_LABEL)] = palette[:IGNORE_LABEL]
    return full


#: Linear RGB → what a deuteranope sees (Machado, Oliveira and Fernandes, 2009, severity 1).
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
#: Linear RGB → cone responses → Oklab (Ottosson, 2020), in which distances are about those that people perceive.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _perceived(colours: np.ndarray) -> np.ndarray:
    """``(n, 3)`` uint8 → ``(n, 6)``: Oklab of the colours, and of the colours as a deuteranope sees them."""
    encoded = colours / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    both = (linear, np.clip(linear @ _DEUTERANOPIA.T, 0, 1))
    return np.concatenate([np.cbrt(rgb @ _CONES.T) @ _OKLAB.T for rgb in both], axis=-1)
