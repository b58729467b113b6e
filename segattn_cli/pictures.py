"""Pictures for people: overlays, predictions side by side, curves of a training, confusion matrices.

The colours of classes are the data set's. Where colours are ours they are safe for colour-blind readers: the
palette of Okabe and Ito for lines, cividis for matrices.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segattn_cli.checkpoint import write_atomically
from segattn_cli.data.dataset import IGNORE_LABEL
from segattn_cli.data.palettes import colourise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Above so many classes, the cells of a confusion matrix are too small for numbers.
MOST_NUMBERS = 30
#: Pictures below this size are enlarged for people to see.
SMALL = 360
PAPER = (250, 250, 248)
INK = (38, 38, 42)
PALE_INK = (120, 120, 126)
#: Okabe and Ito's colours for lines on white; yellow is left out, black stands for totals.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


class LegendEntry(NamedTuple):
    colour: tuple[int, int, int]
    name: str
    share: float | None = None  # of the picture's pixels


def draw_overlay(
    image: np.ndarray,
    label: np.ndarray,
    palette: np.ndarray,
    classes: Sequence[str],
    *,
    opacity: float = 0.5,
) -> Image.Image:
    """``image`` (H, W, 3) under the colours of ``label`` (H, W), with a legend below.

    The legend names the classes that are present and the share of the pixels that each has, the largest first.
    Where two classes meet, one's colour is drawn at full strength. Small pictures are enlarged, each pixel to a
    square, until their longer side has at least :data:`SMALL` pixels.
    """
    entries = legend_entries([label], palette, classes, shares=True)
    enlarged = -(-SMALL // max(label.shape))
    image, label = (array.repeat(enlarged, 0).repeat(enlarged, 1) for array in (image, label))
    strength = np.full((*label.shape, 1), opacity, np.float32)
    strength[_borders(label)] = 1.0
    blended = image * (1 - strength) + colourise(label, palette) * strength
    picture = Image.fromarray(np.rint(blended).astype(np.uint8))
    size = int(np.clip(min(picture.size) / 22, 12, 26))
    legend = draw_legend(entries, max(picture.width, 14 * size), size)
    sheet = Image.new("RGB", (legend.width, picture.height + legend.height), PAPER)
    sheet.paste(picture, ((sheet.width - picture.width) // 2, 0))
    sheet.paste(legend, (0, picture.height))
    return sheet


def draw_predictions(
    rows: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    palette: np.ndarray,
    classes: Sequence[str],
    path: str | Path,
) -> None:
    """A sheet with a row for each (image, truth, prediction), side by side, and a legend: a PNG at ``path``.

    ``image`` is (H, W, 3) uint8, ``truth`` and ``prediction`` are (H, W). Each row says how many of its pixels
    are right, void left out.
    """
    margin, gap, cell, text = 14, 8, 320, 14
    font = _font(text)
    rows = list(rows)
    pictures = [
        [
            _fitted(image, cell),
            _fitted(colourise(truth, palette), cell),
            _fitted(colourise(found, palette), cell),
        ]
        for image, truth, found in rows
    ]
    width = 2 * margin + 3 * cell + 2 * gap
    entries = legend_entries([labels for _, *pair in rows for labels in pair], palette, classes)
    legend = draw_legend(entries, width, text)
    caption = text + 14
    height = margin + caption + sum(row[0].height + caption for row in pictures) + legend.height
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((margin + column * (cell + gap), margin), title, INK, font)
    top = margin + caption
    for (_, truth, found), row in zip(rows, pictures, strict=True):
        for column, picture in enumerate(row):
            left = margin + column * (cell + gap) + (cell - picture.width) // 2
            sheet.paste(picture, (left, top))
        top += row[0].height
        draw.text((margin + 3 * cell + 2 * gap, top + 4), _how_right(truth, found), PALE_INK, font, anchor="ra")
        top += caption
    sheet.paste(legend, (0, top))
    write_atomically(Path(path), png_bytes(sheet))


def png_bytes(picture: Image.Image) -> bytes:
    """``picture`` as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def draw_curves(events_path: str | Path, path: str | Path, *, scales: Sequence[float] = ()) -> None:
    """How a training went, from its ``events.jsonl``: a PNG at ``path``.

    Losses by part, the validation's mIoU and pixel accuracy, the learning rate, and, where the network has them,
    the gates and the mean weight of each of the ``scales``. Losses are drawn faintly as they were, and strongly
    as a moving average.
    """
    from matplotlib.figure import Figure

    steps = _read_events(Path(events_path), "step")
    validations = _read_events(Path(events_path), "validated")
    epochs = [step["epoch"] for step in steps]
    gates = _columns(steps, "gates")
    weights = np.array([step["scale_weights"] for step in steps if step.get("scale_weights")]).T
    below = ["learning rate"] + ["gates"] * bool(gates) + ["mean weight of each scale"] * bool(weights.size)

    figure = Figure((12, 7), layout="constrained", facecolor=_hex(PAPER))
    upper, under = figure.subfigures(2, 1, squeeze=False)[:, 0]
    left, right = upper.subplots(1, 2, width_ratios=(5, 2))
    _draw_losses(left, epochs, steps)
    _draw_validations(right, validations)
    lower = dict(zip(below, under.subplots(1, len(below), squeeze=False)[0], strict=True))
    lower["learning rate"].plot(epochs, [step["learning_rate"] for step in steps], color=LINES[0])
    if gates:
        for colour, (name, values) in zip(LINES, gates.items(), strict=False):
            short = name.removeprefix("head.").removesuffix(".gate")
            lower["gates"].plot(epochs, values, color=colour, label=short)
        lower["gates"].axhline(0, color=_hex(PALE_INK), linewidth=0.8)
    for number, (colour, values) in enumerate(zip(LINES, weights, strict=False)):
        label = f"scale {scales[number]:g}" if scales else f"scale no. {number + 1}"
        lower["mean weight of each scale"].plot(epochs, values, color=colour, label=label)
    for name, axes in lower.items():
        _finish(axes, name)
    _save(figure, path)


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], path: str | Path) -> None:
    """A confusion matrix (K, K), rows the truth, as shares of each true class: a PNG at ``path``."""
    from matplotlib.figure import Figure

    count = len(classes)
    truth = matrix.sum(1, keepdims=True)
    shares = np.divide(100 * matrix, truth, out=np.full((count, count), np.nan), where=truth > 0)
    side = 2.4 + 0.44 * count  # inches
    figure = Figure((side + 0.9, side), facecolor=_hex(PAPER))
    axes = figure.add_subplot()
    axes.set_facecolor(_hex((226, 226, 222)))  # behind the rows of classes that are not in the truth
    drawn = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    axes.set_xticks(range(count), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), classes)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in range(1, count):
        axes.axhline(edge - 0.5, color=_hex(PAPER), linewidth=0.8)
        axes.axvline(edge - 0.5, color=_hex(PAPER), linewidth=0.8)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.04, pad=0.02, label="% of the true class")
    bar.outline.set_visible(False)
    if count <= MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                ink = "black" if share > 55 else "white"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=9)
    _save(figure, path)


def _read_events(path: Path, kind: str) -> list[dict[str, Any]]:
    events = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [event for event in events if event["event"] == kind]


def _columns(events: Sequence[Mapping[str, Any]], key: str) -> dict[str, np.ndarray]:
    """The dicts under ``key`` of all events as one array for each of their names."""
    names = dict.fromkeys(name for event in events for name in event[key])
    return {name: np.array([event[key].get(name) for event in events], float) for name in names}


def _draw_losses(axes: Axes, epochs: Sequence[float], steps: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    parts = _columns(steps, "parts")
    if len(parts) > 1:
        parts["total"] = np.array([step["loss"] for step in steps], float)
    window = max(1, len(steps) // 30)
    for number, (name, values) in enumerate(parts.items()):
        colour = _hex(INK) if name == "total" else LINES[number % len(LINES)]
        style = "-" if number < len(LINES) or name == "total" else "--"
        smooth = np.convolve(values, np.full(window, 1 / window), "valid")
        start = (window - 1) // 2
        axes.plot(epochs, values, style, color=colour, linewidth=0.7, alpha=0.25)
        axes.plot(epochs[start : start + len(smooth)], smooth, style, color=colour, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    _finish(axes, "training loss", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_validations(axes: Axes, validations: Sequence[Mapping[str, Any]]) -> None:
    if validations:
        epochs = [event["epoch"] for event in validations]
        for colour, key, name in ((LINES[0], "miou", "mIoU"), (LINES[1], "pixel_accuracy", "pixel accuracy")):
            values = [event[key] for event in validations]
            axes.plot(epochs, values, "o-", color=colour, markersize=3, label=name)
        best = max(validations, key=lambda event: event["miou"])
        label = f"best: {best['miou']:.3f} after epoch {best['epoch']:.3g}"
        axes.axhline(best["miou"], color=LINES[0], linewidth=0.8, linestyle=":", label=label)
    axes.set_ylim(0, 1)
    _finish(axes, "validation", loc="lower right")


def _finish(axes: Axes, title: str, **legend: Any) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.set_facecolor("white")
    axes.grid(color="#e6e6e2", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, **legend)
    for line in axes.lines:
        if np.size(line.get_xdata()) == 1:
            line.set_marker("o")


def _save(figure: Figure, path: str | Path) -> None:
    """By Agg, without pyplot and its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", pad_inches=0.2)
    write_atomically(Path(path), buffer.getvalue())


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def legend_entries(
    labels: Sequence[np.ndarray], palette: np.ndarray, classes: Sequence[str], *, shares: bool = False
) -> list[LegendEntry]:
    """The classes in ``labels``, and void where there is any: by share if that is wanted, else in their order."""
    counts = sum((np.bincount(label.ravel(), minlength=256) for label in labels), np.zeros(256, np.int64))
    present = [int(index) for index in np.flatnonzero(counts)]
    if shares:
        present.sort(key=lambda index: -counts[index])
    total = counts.sum()
    return [
        LegendEntry(
            tuple(colourise(np.array([[index]], np.uint8), palette)[0, 0].tolist()),
            classes[index] if index < len(classes) else "void",
            float(counts[index] / total) if shares else None,
        )
        for index in present
    ]


def draw_legend(entries: Sequence[LegendEntry], width: int, size: int) -> Image.Image:
    """``entries`` as colour chips with names, in lines no longer than ``width``; ``size`` is the text's, in px."""
    font = _font(size)
    margin, chip, line = size, size, round(1.7 * size)
    placed = []
    x, y = margin, round(0.7 * size)
    for entry in entries:
        share = "" if entry.share is None else f"  {_percent(entry.share)}"
        length = chip + 0.5 * size + font.getlength(entry.name + share)
        if x > margin and x + length > width - margin:
            x, y = margin, y + line
        placed.append((x, y, entry, share))
        x += round(length + 1.4 * size)
    legend = Image.new("RGB", (width, y + line), PAPER)
    draw = ImageDraw.Draw(legend)
    for x, y, entry, share in placed:
        draw.rounded_rectangle((x, y, x + chip, y + chip), size // 4, entry.colour, outline=PALE_INK)
        left, middle = x + 1.5 * size, y + chip / 2
        draw.text((left, middle), entry.name, INK, font, anchor="lm")
        draw.text((left + font.getlength(entry.name), middle), share, PALE_INK, font, anchor="lm")
    return legend


def _borders(label: np.ndarray) -> np.ndarray:
    """Where a pixel's class differs from that of the pixel to its right or below it."""
    border = np.zeros(label.shape, bool)
    border[:, :-1] |= label[:, :-1] != label[:, 1:]
    border[:-1] |= label[:-1] != label[1:]
    return border


def _fitted(picture: np.ndarray, cell: int) -> Image.Image:
    """``picture`` as large as fits into a square of ``cell``, its pixels repeated where it grows."""
    height, width = picture.shape[:2]
    factor = cell / max(height, width)
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return Image.fromarray(picture).resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST)


def _how_right(truth: np.ndarray, prediction: np.ndarray) -> str:
    counted = truth != IGNORE_LABEL
    if not counted.any():
        return "nothing labelled"
    return f"{_percent(float((truth == prediction)[counted].mean()))} of the pixels right"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has more scripts than Pillow's own font."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
