"""The maps of an explanation as PNGs with titles and colour bars, for a paper or a slide.

Maps lie over the grey image, each cell of the grid as one rectangle, without smoothing. Their colours are those of
cividis, which looks the same to every kind of colour vision, from 0 to the number at the end of the bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segattn_cli.data.images import image_png
from segattn_cli.explaining.channels import SAME, ChannelView
from segattn_cli.explaining.experiments import Experiment
from segattn_cli.explaining.explanation import Explanation, ScaleView
from segattn_cli.explaining.positions import PositionView
from segattn_cli.rendering.fonts import writable
from segattn_cli.rendering.overlays import draw_overlay
from segattn_cli.rendering.png import figure_png
from segattn_cli.rendering.style import INK, PALE_INK, PAPER, hex_colour, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[int, int]
#: The name of a file, without its suffix, and the content of a PNG.
Drawing = tuple[str, bytes]

#: How strongly a map covers the image.
STRENGTH = 0.8
#: The width of an image in inches, and the bounds of its height.
WIDTH = 6.4
HEIGHTS = (1.2, 9.0)
#: On grids of up to so many cells a side, the cells are framed.
FRAMED = 64
#: Channel maps of up to so many channels name each of them.
NAMED = 64
#: So many feature maps are shown, of the channels that matter most.
FEATURES = 12
#: So many classes are named beside an experiment.
NAMED_CLASSES = 8
#: Okabe and Ito's colours, for which scale wins.
WINNERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


def overview(explanation: Explanation) -> Iterator[Drawing]:
    """The maps that need no chosen pixel and no experiment: ``explain(…, experiments=False)`` has them all."""
    for view in explanation.positions:
        yield from _whole(explanation, view)
    for channels in explanation.channels:
        yield f"channel-map{_suffix(explanation, channels.scale)}", _channel_map(explanation, channels)
    if explanation.scales is not None and explanation.scales.weights is not None:
        yield from _weights(explanation, explanation.scales, explanation.scales.weights)


def all_drawings(
    explanation: Explanation, classes: Sequence[str], palette: np.ndarray, points: Sequence[Point] = ()
) -> Iterator[Drawing]:
    """Every map of an explanation; of ``points`` (x, y) in the image's own size, those inside it."""
    yield "prediction", image_png(draw_overlay(explanation.image, explanation.label, palette, classes))
    for point in dict.fromkeys(points):
        at = explanation.fractions_of(point)
        if at is not None:
            for view in explanation.positions:
                yield from _at_point(explanation, view, point, view.pixel_at(*at))
    yield from overview(explanation)
    for channels in explanation.channels:
        yield f"channel-features{_suffix(explanation, channels.scale)}", _features(explanation, channels)
    for experiment in explanation.experiments:
        yield f"experiment-{experiment.name}", _experiment(explanation, experiment, classes, palette)


def _at_point(explanation: Explanation, view: PositionView, point: Point, pixel: int) -> Iterator[Drawing]:
    """A row of the map of position attention, and the column that is its mirror image."""
    name, where = f"{point[0]}-{point[1]}{_suffix(explanation, view.scale)}", f"({point[0]}, {point[1]})"
    yield f"position-row-{name}", _heat(
        explanation, view.row(pixel), f"What the pixel at {where} attends to",
        f"row of the map, query = framed pixel · adds to 1 over {view.received.size} pixels · "
        f"{_circumstances(explanation, view)}", "attention", pixel=pixel,
    )
    yield f"position-column-{name}", _heat(
        explanation, view.column(pixel), f"What attends to the pixel at {where}",
        f"column of the map, key = framed pixel · adds to {_figure(view.received.flat[pixel])}, 1 on average · "
        f"{_circumstances(explanation, view)}", "attention", pixel=pixel,
    )


def _whole(explanation: Explanation, view: PositionView) -> Iterator[Drawing]:
    suffix = _suffix(explanation, view.scale)
    yield f"position-received{suffix}", _heat(
        explanation, view.received, "How much attention each pixel receives",
        f"sum of its column, 1 on average · {_circumstances(explanation, view)}", "attention received",
    )
    yield f"position-reach{suffix}", _heat(
        explanation, view.reach, "Over how many pixels each pixel's attention is spread",
        f"exp(entropy) of its row, of {view.reach.size} pixels · {_circumstances(explanation, view)}", "pixels",
    )
    yield f"position-gate{suffix}", _heat(
        explanation, view.fractions, "How much position attention adds to the features",
        f"‖α·S·D‖ / ‖A‖ at each pixel, {percent(view.fraction)} over all · {_circumstances(explanation, view)}",
        "fraction of the features' norm",
    )


def _channel_map(explanation: Explanation, view: ChannelView) -> bytes:
    count = len(view.order)
    side = 5.2  # inches
    figure, axes = _canvas((side + 0.8, side))
    drawn = axes.imshow(view.attention[np.ix_(view.order, view.order)], cmap="cividis", vmin=0)
    _colour_bar(figure, axes, drawn, "attention")
    if count <= NAMED:
        axes.set_xticks(range(count), view.order, rotation=90, fontsize=6)
        axes.set_yticks(range(count), view.order, fontsize=6)
        axes.tick_params(length=0)
    else:
        axes.set(xticks=[], yticks=[])
    axes.set_xlabel("key channel", fontsize=9)
    axes.set_ylabel("row = query channel, adds to 1", fontsize=9)
    _titled(
        axes, "What each channel attends to",
        f"form “{view.form}” · β = {_figure(view.gate)}, ‖β·X·A‖ / ‖A‖ = {percent(view.fraction)}"
        f"{_at_scale(explanation, view.scale)}\nchannels in an order that puts similar maps side by side",
    )
    return figure_png(figure)


def _features(explanation: Explanation, view: ChannelView) -> bytes:
    """The channels without which the class changes at most positions, or the strongest where nothing changes."""
    changed = (view.without != SAME).mean((1, 2))
    size = np.linalg.norm(view.features, axis=(0, 1))
    shown = np.lexsort((-size, -changed))[:FEATURES]
    rows = -(-len(shown) // 4)
    figure, panels = _canvas((8, 0.8 + rows * (0.3 + _height(explanation, 1.9))), rows)
    for axes, channel in zip(panels.flat, shown, strict=False):
        values = view.features[:, :, channel]
        axes.imshow(values, cmap="cividis", vmin=0, vmax=values.max() or 1, extent=_extent(explanation))
        text = f"channel {channel}: 0 to {_figure(values.max())}, {percent(changed[channel])}"
        axes.set_title(text, loc="left", fontsize=8, color=hex_colour(INK))
    for axes in panels.flat:
        axes.axis("off")
    title = f"Feature maps of the channels that matter most{_at_scale(explanation, view.scale)}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=hex_colour(INK))
    figure.supxlabel(
        "what dark and bright stand for, and at how many of the pixels the class changes without the channel",
        x=0.01, ha="left", fontsize=8, color=hex_colour(PALE_INK),
    )
    return figure_png(figure)


def _weights(explanation: Explanation, view: ScaleView, weights: np.ndarray) -> Iterator[Drawing]:
    winner = weights.argmax(-1)
    for index, scale in enumerate(view.scales):
        yield f"scale-weight-{scale:g}", _heat(
            explanation, weights[:, :, index], f"Weight of scale {scale:g}",
            f"mean {weights[:, :, index].mean():.3f} · the weights of all scales add to 1 at each pixel", "weight",
            top=1,
        )
    figure, axes = _over_image(explanation)
    colours = [WINNERS[index % len(WINNERS)] for index in range(len(view.scales))]
    rgb = np.array([[int(colour[n : n + 2], 16) for n in (1, 3, 5)] for colour in colours], np.uint8)
    axes.imshow(rgb[winner], alpha=STRENGTH, extent=_extent(explanation))
    _frame_cells(axes, explanation, winner.shape)
    names = [f"scale {s:g}: {percent(float((winner == n).mean()))}" for n, s in enumerate(view.scales)]
    _legend(axes, colours, names)
    _titled(axes, "Which scale weighs most", "the scale with the largest weight at each pixel")
    yield "scale-winner", figure_png(figure)


def _experiment(
    explanation: Explanation, experiment: Experiment, classes: Sequence[str], palette: np.ndarray
) -> bytes:
    changed = experiment.label != explanation.label
    figure, axes = _over_image(explanation, pale=True)
    marked = np.dstack([palette[np.minimum(experiment.label, len(palette) - 1)], np.uint8(255 * changed)])
    axes.imshow(marked, extent=_extent(explanation))
    if changed.any() and not changed.all() and min(changed.shape) > 1:  # so that single pixels are seen
        height, width = changed.shape
        centres = np.arange(width) + 0.5, np.arange(height) + 0.5
        axes.contour(*centres, changed, [0.5], colors="black", linewidths=0.7)
    counts = np.bincount(experiment.label[changed], minlength=len(classes))
    order = [int(index) for index in (-counts).argsort(kind="stable")[:NAMED_CLASSES] if counts[index]]
    names = [f"now {writable(classes[index])}: {percent(counts[index] / changed.size)}" for index in order]
    _legend(axes, [hex_colour(tuple(palette[index])) for index in order], names)
    changes = f"{percent(float(changed.mean()))} of the pixels change their class"
    result = changes if changed.any() else "no pixel changes its class"
    title = f"{experiment.title[0].upper()}{experiment.title[1:]}: {result}"
    _titled(axes, title, f"{experiment.what} · the network is not trained anew")
    return figure_png(figure)


def _heat(
    explanation: Explanation, values: np.ndarray, title: str, note: str, unit: str, *, top: float | None = None,
    pixel: int | None = None,
) -> bytes:
    """``values (h, w)`` over the image, from 0 to ``top`` or to their largest, with one ``pixel`` framed."""
    from matplotlib.patches import Rectangle

    figure, axes = _over_image(explanation)
    top = top or float(values.max()) or 1.0
    drawn = axes.imshow(values, cmap="cividis", vmin=0, vmax=top, alpha=STRENGTH, extent=_extent(explanation))
    _frame_cells(axes, explanation, values.shape)
    if pixel is not None:
        (height, width), (rows, columns) = explanation.image.shape[:2], values.shape
        cell = width / columns, height / rows
        corner = pixel % columns * cell[0], pixel // columns * cell[1]
        for colour, thickness in (("black", 3.2), ("white", 1.4)):
            axes.add_patch(Rectangle(corner, *cell, fill=False, color=colour, linewidth=thickness, clip_on=False))
    _colour_bar(figure, axes, drawn, unit)
    _titled(axes, title, note)
    return figure_png(figure)


def _over_image(explanation: Explanation, *, pale: bool = False) -> tuple[Figure, Axes]:
    """A figure with the image in grey, or in grey from the middle up to white."""
    figure, axes = _canvas((WIDTH + 0.8, _height(explanation, WIDTH) + 0.8))
    grey = explanation.image @ np.array([0.299, 0.587, 0.114])
    axes.imshow(grey, cmap="gray", vmin=-255 if pale else 0, vmax=255, extent=_extent(explanation))
    axes.set(xticks=[], yticks=[])
    return figure, axes


def _canvas(size: tuple[float, float], rows: int | None = None) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained", facecolor=hex_colour(PAPER))
    axes: Any = figure.subplots(rows or 1, 1 if rows is None else 4, squeeze=False)
    if rows is None:
        axes = axes[0, 0]
        axes.spines[:].set_visible(False)
    return figure, axes


def _height(explanation: Explanation, width: float) -> float:
    """The height of the image where it is ``width`` wide."""
    height, across = explanation.image.shape[:2]
    return float(np.clip(width * height / across, *HEIGHTS))


def _extent(explanation: Explanation) -> tuple[float, float, float, float]:
    """Where maps of any grid are drawn: from the left to the right, and from the lower to the upper edge."""
    height, width = explanation.image.shape[:2]
    return 0, width, height, 0


def _frame_cells(axes: Axes, explanation: Explanation, grid: tuple[int, ...]) -> None:
    if max(grid) > FRAMED:
        return
    height, width = explanation.image.shape[:2]
    rows, columns = (np.linspace(0, size, cells + 1)[1:-1] for size, cells in ((height, grid[0]), (width, grid[1])))
    axes.hlines(rows, 0, width, color="black", alpha=0.25, linewidth=0.4)
    axes.vlines(columns, 0, height, color="black", alpha=0.25, linewidth=0.4)


def _colour_bar(figure: Figure, axes: Axes, drawn: Any, unit: str) -> None:
    """The colours as tall as the map, with numbers from 0 to their end."""
    bar: Any = figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0, 0.035, 1)))
    bar.set_label(unit, fontsize=9)
    bar.ax.set_facecolor("#808080")  # the map's colours lie on grey, too
    bar.outline.set_visible(False)
    marks = np.linspace(0, drawn.get_clim()[1], 5)
    bar.set_ticks(marks, labels=[_figure(value) for value in marks])
    bar.ax.tick_params(labelsize=8)


def _legend(axes: Axes, colours: Sequence[str], names: Sequence[str]) -> None:
    """Chips with names below the image; the name of a class is never read as a formula."""
    from matplotlib.patches import Patch

    if not names:
        return
    chips = [Patch(facecolor=colour, edgecolor=hex_colour(PALE_INK), linewidth=0.5) for colour in colours]
    legend = axes.legend(
        chips, names, loc="upper left", bbox_to_anchor=(0, 0), ncols=2, fontsize=8, frameon=False, borderpad=0.2,
        handlelength=1, handleheight=1,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _titled(axes: Axes, title: str, note: str) -> None:
    above = 8 + 11 * (1 + note.count("\n"))  # points
    axes.set_title(title, loc="left", pad=above, fontsize=11, color=hex_colour(INK))
    axes.annotate(
        note, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", va="bottom", fontsize=8,
        color=hex_colour(PALE_INK),
    )


def _circumstances(explanation: Explanation, view: PositionView) -> str:
    return f"α = {_figure(view.gate)}{_at_scale(explanation, view.scale)}"


def _at_scale(explanation: Explanation, scale: float) -> str:
    return "" if explanation.scales is None else f" · scale {scale:g}"


def _suffix(explanation: Explanation, scale: float) -> str:
    return "" if explanation.scales is None else f"-scale-{scale:g}"


def _figure(value: float) -> str:
    """
    >>> _figure(0.0), _figure(-0.01234), _figure(2700.0)
    ('0', '−0.0123', '2700')
    """
    return f"{value:.4g}".replace("-", "−") if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")
