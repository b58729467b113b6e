"""Label maps to polygons along the edges of pixels, of which :mod:`regions` makes the same label map again.

Each connected region of one label (its pixels share edges) becomes one ring. Its holes are joined to it by slits:
two edges at one place that run in opposite directions and enclose nothing. So the ring means the same to every
program that fills polygons, whether it knows holes or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# Where labels differ, each of the two pixels has an edge. The edges of a pixel run clockwise around it: right along
# its top, down, left along its bottom, up; so its region is on their right. They are numbered 4 · pixel + side.
_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
#: From a pixel to the one across each side, and to the next one in the direction of its edge: (row, column).
_ACROSS = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])
_AHEAD = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])
#: From a pixel's top left vertex to the one where each edge starts.
_START = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])


class Contour(NamedTuple):
    """A connected region of one label."""

    label: int
    ring: np.ndarray  # (n, 2) float64, x and y, clockwise on the screen


def contours(labels: np.ndarray, tolerance: float = 0.0) -> Iterator[Contour]:
    """The regions of a label map ``(H, W)``, in the order of their first pixels.

    Args:
        tolerance: how many pixels an outline may be away from the edges of the pixels (Douglas and Peucker, 1973);
            neighbours keep their common outline. 0 keeps all corners, and so all labels.

    >>> for label, ring in contours(np.array([[7, 7, 5]])):
    ...     print(label, ring.tolist())
    7 [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]
    5 [[2.0, 0.0], [3.0, 0.0], [3.0, 1.0], [2.0, 1.0]]
    """
    padded = np.pad(labels.astype(np.int64), 1, constant_values=-1)
    pixel, side = _edges(padded)  # (E,) each, in the order of their numbers
    start = np.stack(np.divmod(pixel, labels.shape[1]), -1) + _START[side]  # (E, 2): rows and columns of vertices
    following = _following(padded, pixel, side)
    first = _first_of_cycle(following)
    outer, holes = _outer_and_holes(first, start, following)
    quads = np.stack([padded[:-1, :-1], padded[:-1, 1:], padded[1:, 1:], padded[1:, :-1]])  # the pixels at a vertex

    tied, tips = _slits(quads, pixel, side, start, following, holes)
    slits = len(side) + np.arange(2 * len(holes)).reshape(2, -1)  # edges down to each hole, and up again
    following = np.concatenate([following, following[holes], following[tied]])
    following[tied], following[holes] = slits
    start = np.concatenate([start, tips, start[following[slits[0]]]])
    side = np.concatenate([side, np.full(len(holes), _RIGHT), np.full(len(holes), _LEFT)])

    corners = np.empty(len(side), bool)
    corners[following] = side[following] != side
    fixed = np.zeros(quads.shape[1:], bool)
    if tolerance:
        fixed = _junctions(quads)
        fixed[tuple(start[slits.ravel()].T)] = True
        corners |= fixed[tuple(start.T)]
    ahead = following
    while not corners[ahead].all():  # to the next corner
        ahead = np.where(corners[ahead], ahead, ahead[ahead])
    steps = ahead.tolist()
    for begin in outer.tolist():
        walk = [begin]
        while (edge := steps[walk[-1]]) != begin:
            walk.append(edge)
        ring = start[walk]
        if tolerance:
            ring = _simplified(ring, fixed[tuple(ring.T)], tolerance)
        if len(ring) > 2:
            yield Contour(int(labels.flat[pixel[begin]]), ring[:, ::-1].astype(float))


def _edges(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel and side of each edge."""
    height, width = (length - 2 for length in padded.shape)
    labels = padded[1:-1, 1:-1]
    differs = [labels != padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in _ACROSS]
    return np.divmod(np.flatnonzero(np.stack(differs, -1)), 4)


def _following(padded: np.ndarray, pixel: np.ndarray, side: np.ndarray) -> np.ndarray:
    """The next edge around each edge's region: around the same pixel, straight on, or to the left."""
    width = padded.shape[1] - 2
    here = np.stack(np.divmod(pixel, width), -1)
    ahead = here + _AHEAD[side]
    beyond = ahead + _ACROSS[side]
    label, label_ahead, label_beyond = (padded[tuple(each.T + 1)] for each in (here, ahead, beyond))
    cases = [label_ahead != label, label_beyond != label]
    next_pixel = np.select(cases, [pixel, ahead @ [width, 1]], beyond @ [width, 1])
    next_side = (side + np.select(cases, [1, 0], 3)) % 4
    return np.searchsorted(4 * pixel + side, 4 * next_pixel + next_side)


def _first_of_cycle(following: np.ndarray) -> np.ndarray:
    """For each edge, the first of those that are reached by following it."""
    first, reached = np.arange(len(following)), following
    for _ in range(len(following).bit_length()):
        first, reached = np.minimum(first, first[reached]), reached[reached]
    return first


def _outer_and_holes(first: np.ndarray, start: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first edges of the cycles around regions, and of those around holes, which run the other way."""
    (y, x), (next_y, next_x) = start.T, start[following].T
    area = np.bincount(first, x * next_y - next_x * y)
    return np.flatnonzero(area > 0), np.flatnonzero(area < 0)


def _slits(
    quads: np.ndarray, pixel: np.ndarray, side: np.ndarray, start: np.ndarray, following: np.ndarray,
    holes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where to tie each hole to its region: the edge that ends at the upper end of its slit, and that vertex.

    The first edge of a hole lies along its top and ends at the hole's upper left vertex; above that is its region,
    up to another outline of it.
    """
    mixed = (quads != quads[0]).any(0)
    above = np.maximum.accumulate(np.where(mixed, np.arange(len(mixed))[:, None], 0))  # the last mixed vertex
    row, column = start[following[holes]].T
    row = above[row - 1, column]
    upper_left, _, _, lower_left = quads[:, row, column]
    width = quads.shape[2] - 1
    below = row * width + column - 1
    # The outline passes along the top of the pixel that is left below, or comes down on the right of the one above.
    number = np.where(upper_left != lower_left, 4 * below + _TOP, 4 * (below - width) + _RIGHT)
    return np.searchsorted(4 * pixel + side, number), np.stack([row, column], -1)


def _junctions(quads: np.ndarray) -> np.ndarray:
    """Vertices where outlines meet, and the corners of the image: those that every outline keeps."""
    neighbours_agree = (quads == np.roll(quads, 1, axis=0)).sum(0)
    junctions = neighbours_agree < 2  # on an edge or at a corner of two labels, two pairs of neighbours agree
    junctions[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    return junctions


def _simplified(ring: np.ndarray, fixed: np.ndarray, tolerance: float) -> np.ndarray:
    """A ring whose parts between ``fixed`` vertices lost what lies within the tolerance."""
    cuts = np.flatnonzero(fixed)
    ring = np.roll(ring, -cuts[0], axis=0)
    bounds = [*(cuts - cuts[0]), len(ring)]
    closed = np.concatenate([ring, ring[:1]])
    arcs = [_simplified_arc(closed[a : b + 1], tolerance)[:-1] for a, b in pairwise(bounds)]
    return np.concatenate(arcs)


def _simplified_arc(arc: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas and Peucker's simplification of a line, the same in both directions."""
    if arc.tolist() > arc[::-1].tolist():
        return _simplified_arc(arc[::-1], tolerance)[::-1]
    keep = np.zeros(len(arc), bool)
    keep[[0, -1]] = True
    parts = [(0, len(arc) - 1)]
    while parts:
        begin, end = parts.pop()
        inner, chord = arc[begin + 1 : end] - arc[begin], arc[end] - arc[begin]
        if not len(inner):
            continue
        along = np.clip(inner @ chord / max(chord @ chord, 1), 0, 1)
        distances = np.hypot(*(inner - along[:, None] * chord).T)
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            farthest += begin + 1
            keep[farthest] = True
            parts += [(begin, farthest), (farthest, end)]
    return arc[keep]
