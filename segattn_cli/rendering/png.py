"""Matplotlib's figures as the content of PNG files."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from segattn_cli.rendering.fonts import write_plainly

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_png(figure: Figure) -> bytes:
    """``figure`` drawn by Agg, without pyplot and its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # in the name of a class
        write_plainly(figure)
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", pad_inches=0.2)
    return buffer.getvalue()
