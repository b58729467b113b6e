"""Pictures and colours inside a page."""

from __future__ import annotations

import base64
import io
from typing import Literal

import numpy as np
from PIL import Image


def data_url(image: np.ndarray, kind: Literal["png", "jpeg"], *, quality: int = 85) -> str:
    """``image (H, W, 3)`` uint8 as a URL for the ``src`` of an image; ``quality`` is that of JPEGs.

    >>> data_url(np.zeros((1, 1, 3), np.uint8), "png")[:22]
    'data:image/png;base64,'
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=quality)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def cividis() -> list[list[int]]:
    """256 colours from dark blue to yellow, the same to every kind of colour vision (Nuñez et al., 2018)."""
    import matplotlib

    return (255 * matplotlib.colormaps["cividis"](np.arange(256))[:, :3]).round().astype(int).tolist()
