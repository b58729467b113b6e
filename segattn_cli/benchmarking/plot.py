"""A chart of a benchmark: for each row, our time as a multiple of the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from segattn_cli.benchmarking.measurements import Row
from segattn_cli.files import write_atomically
from segattn_cli.rendering.png import figure_png
from segattn_cli.rendering.style import LINES, PALE_INK, PAPER, hex_colour

#: Blue where ours is faster, orange where the baseline is: colour-blind readers can tell them apart.
FASTER, SLOWER = LINES[0], LINES[1]


def draw_ratios(rows: Sequence[Row], path: str | Path) -> None:
    """Horizontal bars on a logarithmic axis, to the left of 1 where ours is faster: a PNG at ``path``."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    suites = [(suite, [row for row in group if row.ratio]) for suite, group in groupby(rows, lambda row: row.suite)]
    suites = [(suite, group) for suite, group in suites if group]
    heights = [len(group) for _, group in suites]
    figure = Figure((12, 1.2 + 0.24 * sum(heights) + 0.6 * len(suites)), layout="constrained")
    figure.set_facecolor(hex_colour(PAPER))
    charts = figure.subplots(len(suites), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (suite, group) in zip(charts, suites, strict=True):
        ratios = [row.ratio or 1.0 for row in group]
        places = range(len(group))
        axes.barh(
            places, [ratio - 1 for ratio in ratios], left=1.0, height=0.7,
            color=[FASTER if ratio < 1 else SLOWER for ratio in ratios],
        )  # fmt: skip
        axes.set_yticks(places, [f"{row.subject} {row.shape} {row.pass_}" for row in group], fontsize=8)
        for place, row, ratio in zip(places, group, ratios, strict=True):
            both = (_seconds(each.seconds) for each in (row.ours, row.baseline) if each)
            text = f" {ratio:.2f}  ({' and '.join(both)}) "
            axes.text(ratio, place, text, va="center", ha="right" if ratio < 1 else "left", fontsize=8)
        axes.set_ylim(len(group) - 0.4, -0.6)
        axes.axvline(1, color=hex_colour(PALE_INK), linewidth=1)
        axes.set_xscale("log")
        axes.set_title(suite, loc="left", fontsize=11)
        axes.set_facecolor("white")
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    least = min(row.ratio or 1.0 for _, group in suites for row in group)
    most = max(row.ratio or 1.0 for _, group in suites for row in group)
    axes.set_xlim(min(least, 0.9) / 2.5, max(most, 1.1) * 2.5)  # leaves room for the texts
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("our time / the baseline's: blue is faster, orange slower (in brackets: both times)")
    write_atomically(Path(path), figure_png(figure))


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
