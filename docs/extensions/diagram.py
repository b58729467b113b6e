"""A directed graph of boxes as an SVG, from top to bottom: each box below all that it depends on.

The layers of Sugiyama et al. (1981): a box is in the row below the last of its inputs; an edge over several rows
has a place in each row between; rows are ordered by where the neighbours of a box are on average; and boxes move as
near to them as their order allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

#: Pixels: width of a box, space beside and below it, height of a line, and width of the place of an edge.
WIDTH, BESIDE, BELOW, LINE, EDGE = 166, 8, 30, 13, 10
SWEEPS = 12


@dataclass(frozen=True)
class Box:
    """A box with lines of text; each line is of parts, each with its link or with none."""

    name: str
    lines: Sequence[Sequence[tuple[str, str]]]
    inputs: Sequence[str]
    below: Sequence[str] = ()  # beside the arrows that leave it
    dashed: bool = False

    @property
    def height(self) -> int:
        return LINE * len(self.lines) + 10


@dataclass
class _Place:
    """A box, or where an edge passes through a row."""

    row: int
    width: int
    up: list[_Place] = field(default_factory=list)
    down: list[_Place] = field(default_factory=list)
    order: float = 0.0  # from 0 to 1 in its row
    x: float = 0.0
    box: Box | None = None


def svg(boxes: Sequence[Box], title: str) -> str:
    """The drawing of ``boxes``, of which each stands after all its inputs."""
    places, edges = _places(boxes)
    rows: list[list[_Place]] = [[] for _ in range(1 + max(place.row for place in places))]
    for place in places:
        rows[place.row].append(place)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _sort(row, upwards=sweep % 2 == 0)
    _set_x(rows)
    left = min(place.x - place.width / 2 for place in places)
    for place in places:
        place.x += 1 - left
    tops = [1.0]
    for row in rows:
        inside = [place.box for place in row if place.box]
        tops.append(tops[-1] + max(box.height + 12 * len(box.below) for box in inside) + BELOW)
    width = max(place.x + place.width / 2 for place in places) + 1
    height = tops[-1] - BELOW
    parts = [
        f'<svg class="network" role="group" aria-label="{escape(title)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">'
    ]
    parts += [_edge(edge, tops) for edge in edges]
    parts += [_box(place, tops[place.row]) for place in places if place.box]
    return "".join([*parts, "</svg>"])


def _places(boxes: Sequence[Box]) -> tuple[list[_Place], list[list[_Place]]]:
    """The places of boxes and edges, and each edge as the places that it connects."""
    at: dict[str, _Place] = {}
    places: list[_Place] = []
    edges: list[list[_Place]] = []
    for box in boxes:
        row = 1 + max((at[name].row for name in box.inputs), default=-1)
        at[box.name] = place = _Place(row, WIDTH, box=box)
        places.append(place)
        for name in box.inputs:
            path = [at[name], *(_Place(n, EDGE) for n in range(at[name].row + 1, row)), place]
            places += path[1:-1]
            edges.append(path)
            for upper, lower in pairwise(path):
                upper.down.append(lower)
                lower.up.append(upper)
    return places, edges


def _sort(row: list[_Place], *, upwards: bool) -> None:
    """Order a row by where the neighbours above, or below, are on average."""

    def wanted(place: _Place) -> float:
        neighbours = place.up if upwards else place.down
        return sum(each.order for each in neighbours) / len(neighbours) if neighbours else place.order

    row.sort(key=wanted)
    for number, place in enumerate(row):
        place.order = (number + 0.5) / len(row)


def _set_x(rows: Sequence[Sequence[_Place]]) -> None:
    for row in rows:
        _spread(row, [0.0] * len(row))
    for sweep in range(2 * SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            neighbours = [place.up if sweep % 2 == 0 else place.down for place in row]
            wanted = [
                sum(each.x for each in near) / len(near) if near else place.x
                for place, near in zip(row, neighbours, strict=True)
            ]
            _spread(row, wanted)


def _spread(row: Sequence[_Place], wanted: Sequence[float]) -> None:
    """Put each place as near to where it is ``wanted`` as the widths allow: the least squares with this order."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + BESIDE)
    blocks: list[tuple[float, int]] = []  # mean and size of places that touch each other
    for value in (want - offset for want, offset in zip(wanted, offsets, strict=True)):
        mean, size = value, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    for place, mean, offset in zip(row, means, offsets, strict=True):
        place.x = mean + offset


def _edge(path: Sequence[_Place], tops: Sequence[float]) -> str:
    first, last = path[0], path[-1]
    assert first.box is not None
    down = sorted(first.down, key=lambda place: place.x)
    number = next(n for n, each in enumerate(down) if each is path[1])
    x = first.x + min(24, 120 / len(down)) * (number - (len(down) - 1) / 2)
    y = tops[first.row] + first.box.height
    drawn = [f"M{x:.1f} {y:.1f}"]
    for place in path[1:]:
        target = tops[place.row] - (5 if place is last else 0)
        middle = (y + target) / 2
        drawn.append(f"C{x:.1f} {middle:.1f} {place.x:.1f} {middle:.1f} {place.x:.1f} {target:.1f}")
        x, y = place.x, target
        if place is not last:
            y = tops[place.row + 1] - BELOW
            drawn.append(f"V{y:.1f}")
    head = f"M{x - 3:.1f} {y - 1:.1f}L{x:.1f} {y + 5:.1f}L{x + 3:.1f} {y - 1:.1f}Z"
    return f'<path class="edge" d="{"".join(drawn)}"/><path class="head" d="{head}"/>'


def _box(place: _Place, top: float) -> str:
    box = place.box
    assert box is not None
    kind = "box dashed" if box.dashed else "box"
    size = f'x="{place.x - WIDTH / 2:.1f}" y="{top:.1f}" width="{WIDTH}" height="{box.height}"'
    parts = [f'<rect class="{kind}" {size} rx="4"/>']
    for number, line in enumerate(box.lines, 1):
        text = "".join(_linked(*part) for part in line)
        kind = "name" if number == 1 else "about"
        parts.append(f'<text class="{kind}" x="{place.x:.1f}" y="{top + LINE * number + 1:.1f}">{text}</text>')
    for number, text in enumerate(box.below, 1):
        y = top + box.height + 11 * number + 1
        parts.append(f'<text class="shape" x="{place.x + 5:.1f}" y="{y:.1f}">{escape(text)}</text>')
    return "".join(parts)


def _linked(text: str, link: str) -> str:
    return f'<a href="{escape(link)}">{escape(text)}</a>' if link else escape(text)
