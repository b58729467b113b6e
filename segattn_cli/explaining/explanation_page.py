"""Explanations as one HTML page, whose scripts compute and draw from the arrays inside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segattn_cli.explaining.channels import ChannelView
from segattn_cli.explaining.explanation import Explanation, ScaleView
from segattn_cli.explaining.positions import TOLERANCE, PositionView
from segattn_cli.explaining.sources import excerpts
from segattn_cli.rendering import cividis, data_url, pack, quantise, render_page
from segattn_cli.runs import Model

TEMPLATE = Path(__file__).with_name("web") / "explain.html.jinja"
SCRIPTS = (
    "arrays.js", "dom.js", "maps.js", "open.js", "prediction.js", "positions.js",
    "channels.js", "scales.js", "experiments.js", "explain.js",
)
STYLES = ("base.css", "explain.css")
#: Images of up to so many pixels are stored without loss, larger ones as JPEG.
LOSSLESS = 64_000
JPEG_QUALITY = 88

Point = tuple[int, int]


def explanation_page(
    model: Model, explanations: Sequence[Explanation], *, backend: str, points: Sequence[Point] = ()
) -> str:
    """The page about ``explanations`` of ``model``.

    ``points`` (x, y), in pixels of the images' own size, are pinned when the page opens.
    """
    return render_page(
        TEMPLATE, page_data(model, explanations, points),
        scripts=SCRIPTS, styles=STYLES, title=f"Attention in {model.config.name}", model=model,
        network=model.config.network, backend=backend, explanations=explanations, sources=excerpts(),
        tolerance=TOLERANCE,
    )


def page_data(model: Model, explanations: Sequence[Explanation], points: Sequence[Point] = ()) -> dict[str, Any]:
    """What the page's JSON block holds; docs/explain.md describes it."""
    return {
        "classes": list(model.classes),
        "palette": model.palette.tolist(),
        "colours": cividis(),
        "images": [_image(each, points) for each in explanations],
    }


def _image(explanation: Explanation, points: Sequence[Point]) -> dict[str, Any]:
    (own_height, own_width), (height, width) = explanation.own_size, explanation.image.shape[:2]
    kind: Literal["jpeg", "png"] = "jpeg" if height * width > LOSSLESS else "png"
    return {
        "name": explanation.name,
        "picture": data_url(explanation.image, kind, quality=JPEG_QUALITY),
        "size": explanation.image.shape[:2],
        "own_size": explanation.own_size,
        "grid": explanation.grid,
        "label": pack(explanation.label),
        "positions": [_positions(view) for view in explanation.positions],
        "channels": [_channels(view) for view in explanation.channels],
        "scales": None if explanation.scales is None else _scales(explanation.scales),
        "experiments": [
            {"title": each.title, "what": each.what, "label": pack(each.label)} for each in explanation.experiments
        ],
        "points": [[x, y] for x, y in points if 0 <= x < own_width and 0 <= y < own_height],
    }


def _positions(view: PositionView) -> dict[str, Any]:
    return {
        "scale": view.scale,
        "grid": view.grid,
        "gate": view.gate,
        "share": view.fraction,
        "error": view.compact.error,
        "query": pack(view.compact.query),
        "key": pack(view.compact.key),
        "log_sum_exp": pack(view.compact.log_sum_exp),
        "received": _rounded(view.received),
        "reach": _rounded(view.reach),
        "shares": _rounded(view.fractions),
    }


def _channels(view: ChannelView) -> dict[str, Any]:
    return {
        "scale": view.scale,
        "form": view.form,
        "gate": view.gate,
        "share": view.fraction,
        "attention": pack(view.attention, tolerance=TOLERANCE),
        "order": view.order.tolist(),
        "step": view.step,
        "features": pack(quantise(view.features, "uint8", columns=True)),
        "label": pack(view.label),
        "without": pack(view.without),
    }


def _scales(view: ScaleView) -> dict[str, Any]:
    return {
        "scales": view.scales,
        "fusion": view.fusion,
        "weights": None if view.weights is None else pack(view.weights, tolerance=TOLERANCE / 10),
        "labels": pack(view.labels),
    }


def _rounded(values: np.ndarray) -> dict[str, Any]:
    """``values``, good to a thousandth of the largest."""
    return pack(values, tolerance=float(np.abs(values).max()) / 1000)
