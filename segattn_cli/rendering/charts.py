"""Charts: the curves of a training, and confusion matrices.

Colours are safe for colour-blind readers: those of Okabe and Ito for lines, cividis for matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segattn_cli.files import write_atomically
from segattn_cli.rendering.fonts import writable
from segattn_cli.rendering.png import figure_png
from segattn_cli.rendering.style import INK, LINES, PALE_INK, PAPER, hex_colour
from segattn_cli.runs.events import StepDone, Validated

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Above so many classes, the cells of a confusion matrix are too small for numbers.
MOST_NUMBERS = 30


def draw_curves(
    steps: Sequence[StepDone], validations: Sequence[Validated], path: str | Path, *, scales: Sequence[float] = ()
) -> None:
    """The curves of a training, from its events: a PNG at ``path``.

    Losses by part, the validation's mIoU and pixel accuracy, the learning rate, and, where the network has them,
    the gates and the mean weight of each of the ``scales``. Losses are drawn faintly as they were, and strongly
    as a moving average.
    """
    from matplotlib.figure import Figure

    epochs = [step.epoch for step in steps]
    gates = _columns([step.gates for step in steps])
    weights = np.array([step.scale_weights for step in steps if step.scale_weights]).T
    below = ["learning rate"] + ["gates"] * bool(gates) + ["mean weight of each scale"] * bool(weights.size)

    figure = Figure((12, 7), layout="constrained", facecolor=hex_colour(PAPER))
    upper, under = figure.subfigures(2, 1, squeeze=False)[:, 0]
    left, right = upper.subplots(1, 2, width_ratios=(5, 2))
    _draw_losses(left, epochs, steps)
    _draw_validations(right, validations)
    lower = dict(zip(below, under.subplots(1, len(below), squeeze=False)[0], strict=True))
    lower["learning rate"].plot(epochs, [step.learning_rate for step in steps], color=LINES[0])
    if gates:
        for colour, (name, values) in zip(LINES, gates.items(), strict=False):
            short = name.removeprefix("head.").removesuffix(".gate")
            lower["gates"].plot(epochs, values, color=colour, label=short)
        lower["gates"].axhline(0, color=hex_colour(PALE_INK), linewidth=0.8)
    for number, (colour, values) in enumerate(zip(LINES, weights, strict=False)):
        label = f"scale {scales[number]:g}" if scales else f"scale no. {number + 1}"
        lower["mean weight of each scale"].plot(epochs, values, color=colour, label=label)
    for name, axes in lower.items():
        _finish(axes, name)
    write_atomically(Path(path), figure_png(figure))


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], path: str | Path) -> None:
    """A confusion matrix (K, K), rows the truth, in percent of each true class: a PNG at ``path``."""
    from matplotlib.figure import Figure

    count, names = len(classes), [writable(name) for name in classes]
    truth = matrix.sum(1, keepdims=True)
    percentages = np.divide(100 * matrix, truth, out=np.full((count, count), np.nan), where=truth > 0)
    side = 2.4 + 0.44 * count  # inches
    figure = Figure((side + 0.9, side), facecolor=hex_colour(PAPER))
    axes = figure.add_subplot()
    axes.set_facecolor(hex_colour((226, 226, 222)))  # behind the rows of classes that are not in the truth
    drawn = axes.imshow(percentages, cmap="cividis", vmin=0, vmax=100)
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in range(1, count):
        axes.axhline(edge - 0.5, color=hex_colour(PAPER), linewidth=0.8)
        axes.axvline(edge - 0.5, color=hex_colour(PAPER), linewidth=0.8)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.04, pad=0.02, label="% of the true class")
    bar.outline.set_visible(False)
    if count <= MOST_NUMBERS:
        for (row, column), percentage in np.ndenumerate(percentages):
            if percentage >= 0.5:
                ink = "black" if percentage > 55 else "white"
                axes.text(column, row, f"{percentage:.0f}", ha="center", va="center", color=ink, fontsize=9)
    write_atomically(Path(path), figure_png(figure))


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """The values of all rows as one array for each of their names."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _draw_losses(axes: Axes, epochs: Sequence[float], steps: Sequence[StepDone]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    parts = _columns([step.parts for step in steps])
    if len(parts) > 1:
        parts["total"] = np.array([step.loss for step in steps])
    window = max(1, len(steps) // 30)
    for number, (name, values) in enumerate(parts.items()):
        colour = hex_colour(INK) if name == "total" else LINES[number % len(LINES)]
        style = "-" if number < len(LINES) or name == "total" else "--"
        axes.plot(epochs, values, style, color=colour, linewidth=0.7, alpha=0.25)
        axes.plot(epochs, _moving_mean(values, window), style, color=colour, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    _finish(axes, "training loss", loc="upper left", bbox_to_anchor=(1, 1))


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the ``window`` values around each; at the ends, of those that there are.

    >>> _moving_mean(np.array([1.0, 3.0, 5.0, 8.0]), 2)
    array([2. , 4. , 6.5, 8. ])
    """
    before = (window - 1) // 2
    around = (values[max(0, n - before) : n - before + window] for n in range(len(values)))
    return np.array([part.mean() for part in around])


def _draw_validations(axes: Axes, validations: Sequence[Validated]) -> None:
    if validations:
        epochs = [event.epoch for event in validations]
        for colour, key, name in ((LINES[0], "miou", "mIoU"), (LINES[1], "pixel_accuracy", "pixel accuracy")):
            values = [getattr(event, key) for event in validations]
            axes.plot(epochs, values, "o-", color=colour, markersize=3, label=name)
        best = max(validations, key=lambda event: event.miou)
        label = f"best: {best.miou:.3f} after epoch {best.epoch:.3g}"
        axes.axhline(best.miou, color=LINES[0], linewidth=0.8, linestyle=":", label=label)
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
