"""Which value each label gets in the masks, and which colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segattn_cli.data.annotations.model import Notes
from segattn_cli.data.class_files import IGNORED_NAMES, read_entries
from segattn_cli.data.masks import IGNORE_LABEL, Colour
from segattn_cli.data.palettes import default_palette
from segattn_cli.errors import DataError, counted

#: What becomes of pixels outside of all outlines.
Unlabelled = Literal["background", "ignore"]
#: Names of labels, in lower case, that mean what belongs to no other: LabelMe's, and everybody's.
BACKGROUND = {"background", "_background_", "__background__"}
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set that is being made.

    Args:
        background: the value of unlabelled pixels.
        added: whether the class of this value was added to the list, as class 0.
    """

    names: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8
    background: int
    added: bool

    @property
    def values(self) -> dict[str, int]:
        """The value of each name."""
        return {name: value for value, name in enumerate(self.names)}

    def without_background(self) -> ClassTable:
        """The classes less the one that was added; each value is one less."""
        return ClassTable(self.names[1:], self.palette[1:], IGNORE_LABEL, added=False)


def read_class_colours(path: Path) -> dict[str, Colour | None]:
    """The colours of the classes in a list by name, None where one has none, in the order of the list.

    Raises:
        DataError: for a file that is no list of classes, or that names one twice.
    """
    colours: dict[str, Colour | None] = {}
    for entry in read_entries(path):
        if entry.name in colours:
            raise DataError(f"{path} names the class {entry.name!r} twice.")
        colours[entry.name] = entry.colour
    return colours


def class_table(
    listed: Mapping[str, Colour | None], labels: Counter[str], unlabelled: Unlabelled, notes: Notes, *,
    complete: bool
) -> ClassTable:
    """The table of the ``listed`` classes.

    Args:
        labels: how often each label occurs.
        complete: whether there are no unlabelled pixels.

    Raises:
        DataError: for less than two classes or more than 255, and for names that ``classes.txt`` cannot hold.
    """
    colours: dict[str, Colour | None]
    colours = {name: colour for name, colour in listed.items() if name.lower() not in IGNORED_NAMES}
    for name in listed:
        if name not in colours:
            notes.choose("labels that mean no class become 255", repr(name), labels[name])
    for name, count in labels.items():
        if name not in listed and name.lower() not in IGNORED_NAMES:
            notes.choose("labels that the list of classes lacks become 255", repr(name), count)
    background = next((name for name in colours if name.lower() in BACKGROUND), None)
    added = background is None and not complete and unlabelled == "background"
    if added:
        background = "background"
        colours = {background: None, **colours}
    if background is not None and _BLACK not in colours.values():
        colours[background] = colours[background] or _BLACK
    names = tuple(colours)
    _check(names)
    value = names.index(background) if background is not None and unlabelled == "background" else IGNORE_LABEL
    return ClassTable(names, _palette(list(colours.values())), value, added)


def _check(names: tuple[str, ...]) -> None:
    for name in names:
        if not name or not name.isprintable() or name != name.strip(" \t,;:") or name.startswith("#"):
            raise DataError(f"A class cannot be called {name!r}: classes.txt has a name a line. Rename the label.")
    if not 2 <= len(names) <= IGNORE_LABEL:
        raise DataError(
            f"The labels name {counted(len(names), 'class')}: 2 to {IGNORE_LABEL} can be told apart in a mask."
        )


def _palette(colours: list[Colour | None]) -> np.ndarray:
    """The colours ``(K, 3)``, those that are missing from the default ones."""
    taken = {colour for colour in colours if colour}
    spare = (tuple(colour) for colour in default_palette(2 * len(colours) + 1).tolist())
    free = iter([colour for colour in spare if colour not in taken])
    return np.array([colour or next(free) for colour in colours], np.uint8).reshape(-1, 3)
