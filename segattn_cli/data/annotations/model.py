"""What every annotation tool says in the end: images, and outlines with labels on them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from segattn_cli.data.annotations.regions import Outline, Polygon, is_degenerate
from segattn_cli.data.masks import IGNORE_LABEL, Colour

#: Which of two outlines a common pixel belongs to: to the smaller one, or to the one that was drawn last.
Overlaps = Literal["area", "order"]
_UNLABELLED = -1


class Painted(NamedTuple):
    """A label map made of annotations."""

    label: np.ndarray  # (H, W) uint8
    unlabelled: int = 0  # pixels outside of all outlines
    overlapping: int = 0  # pixels in outlines of several labels
    empty: int = 0  # outlines that enclose no pixel's centre
    holes: int = 0  # rings that were taken for holes
    unknown: Mapping[Colour, int] = {}  # pixels of each colour that no list explains


@dataclass(frozen=True)
class Rules:
    """How annotations become label maps.

    Args:
        values: of each label; one that has none becomes 255.
        background: the value of unlabelled pixels.
    """

    values: Mapping[str, int]
    background: int
    overlaps: Overlaps


class Annotation(Protocol):
    """What is known about the pixels of an image."""

    @property
    def labels(self) -> Counter[str]:
        """How often each label occurs."""
        ...

    def paint(self, size: tuple[int, int], rules: Rules) -> Painted:
        """The label map of an image of this (H, W).

        Raises:
            DataError: where the annotation does not fit; without the name of the file.
        """
        ...


@dataclass(frozen=True)
class Shape:
    """An outline and its label.

    Args:
        label: None for pixels of which nobody knows the class.
        level: shapes of a higher level lie above others, however large they are.
    """

    label: str | None
    outline: Outline
    level: int = 0


@dataclass(frozen=True)
class Shapes:
    """The outlines of an image, in the order in which they were drawn or are listed.

    >>> from segattn_cli.data.annotations.regions import Polygon, rectangle
    >>> large, small = (Polygon((rectangle(0, 0, width, 1),)) for width in (4, 2))
    >>> shapes = Shapes([Shape("car", small), Shape("road", large)])
    >>> shapes.paint((1, 5), Rules({"road": 1, "car": 2}, background=0, overlaps="area")).label.tolist()
    [[2, 2, 1, 1, 0]]
    """

    shapes: Sequence[Shape]

    @property
    def labels(self) -> Counter[str]:
        """How many shapes have each label."""
        return Counter(shape.label for shape in self.shapes if shape.label is not None)

    def paint(self, size: tuple[int, int], rules: Rules) -> Painted:
        """Draw one shape after the other; see :class:`Annotation`."""
        canvas = np.full(size, _UNLABELLED, np.int16)
        overlapping = empty = holes = 0
        for shape in self._in_order(size, rules.overlaps):
            region = shape.outline.region(size)
            value = IGNORE_LABEL if shape.label is None else rules.values.get(shape.label, IGNORE_LABEL)
            below = region.window(canvas)[region.mask]
            overlapping += int(((below != _UNLABELLED) & (below != value)).sum())
            empty += not below.size
            holes += region.holes
            region.window(canvas)[region.mask] = value
        unlabelled = canvas == _UNLABELLED
        canvas[unlabelled] = rules.background
        return Painted(canvas.astype(np.uint8), int(unlabelled.sum()), overlapping, empty, holes)

    def _in_order(self, size: tuple[int, int], overlaps: Overlaps) -> list[Shape]:
        """The shapes from the lowest to the highest."""
        if overlaps == "order" or len(self.shapes) == 1:
            return sorted(self.shapes, key=lambda shape: shape.level)
        areas = [int(shape.outline.region(size).mask.sum()) for shape in self.shapes]
        order = sorted(range(len(areas)), key=lambda index: (self.shapes[index].level, -areas[index]))
        return [self.shapes[index] for index in order]


@dataclass(frozen=True)
class Embedded:
    """An image that stands in its document.

    Args:
        written: the path of the file that it was read from.
        read: gives its bytes.
    """

    written: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class AnnotatedImage:
    """An image as its document knows it.

    Args:
        image: its file; or the image itself; or paths as they are written, any of which may lead to it.
        size: the (H, W) that the annotation was made for, where the document says it.
        split: where the document says it; otherwise folders tell.
        annotation: None where nobody has annotated the image.
    """

    image: Path | Embedded | tuple[str, ...]
    document: Path
    size: tuple[int, int] | None
    annotation: Annotation | None
    split: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        if isinstance(self.image, tuple):
            return f"{self.image[0]} in {self.document}"
        return f"the image in {self.document}" if isinstance(self.image, Embedded) else str(self.image)


@dataclass(frozen=True)
class Annotations:
    """What an annotation tool has to say about a source.

    Args:
        classes: their colours by name, in the order of the tool's own list, where it has one.
        overlaps: as the tool itself has them.
        complete: whether every pixel has a class, so that there is no background.
    """

    images: Sequence[AnnotatedImage]
    classes: Mapping[str, Colour | None] = field(default_factory=dict)
    overlaps: Overlaps = "order"
    complete: bool = False


@dataclass
class Noted:
    """How often something was met, and where first."""

    count: int = 0
    places: list[str] = field(default_factory=list)


class Notes:
    """What an import has to tell: nothing is left out, and no meaning chosen, in silence.

    Args:
        root: the folder that places are named from.
    """

    #: How many places of each kind are named.
    NAMED = 3

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: dict[str, Noted] = defaultdict(Noted)
        self.chosen: dict[str, Noted] = defaultdict(Noted)
        self.refused: list[str] = []

    def refuse(self, sentence: str) -> None:
        """An image cannot be imported; the sentence names it."""
        self.refused.append(sentence)

    def leave_out(self, what: str, place: str, count: int = 1) -> None:
        """Something of the source is not imported."""
        self._note(self.left_out[what], place, count)

    def choose(self, what: str, place: str, count: int = 1) -> None:
        """Something could mean several things; ``what`` says which was chosen."""
        self._note(self.chosen[what], place, count)

    def _note(self, noted: Noted, place: str, count: int) -> None:
        noted.count += count
        place = place.replace(f"{self.root}{os.sep}", "")
        if len(noted.places) < self.NAMED and place not in noted.places:
            noted.places.append(place)


def polygon(rings: Iterable[np.ndarray], place: str, notes: Notes, *, relative: bool = False) -> Polygon | None:
    """A polygon of ``rings`` (n, 2); those that enclose nothing are noted, and None is what is left of nothing."""
    good = []
    for ring in rings:
        if is_degenerate(ring):
            notes.leave_out("polygons of fewer than three points, or on one line", place)
        else:
            good.append(ring)
    return Polygon(tuple(good), relative) if good else None
