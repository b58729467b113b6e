"""The images in a folder, and everything else in it that could be taken for one: what is left out, and why."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from segattn_cli.data.images import SUFFIXES
from segattn_cli.errors import DataError

#: Files and folders that systems and tools leave beside those of users, in lower case.
SYSTEM_NAMES = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "thumbs.db", "desktop.ini", "lost+found",
     "system volume information"}
)  # fmt: skip

HIDDEN = "hidden or of the system"
ENDING = "with another ending than images have"
FOLDER = "folders inside"
BROKEN = "links to nothing"
NO_FILE = "pipes and devices"
UNREADABLE = "folders that cannot be read"
SEEN = "folders that another link leads to, too"
OTHER_MASKS = "other folders of masks"
NO_IMAGE = "masks without an image"
NOT_LISTED = "images that no list names"
NO_SPLIT = "lists that no split is called like (train.txt, val.txt)"
REPEATED = "rows that a list repeats"
NOTHING = "hidden, and not meant as an image"


class LeftOut(NamedTuple):
    """A file or a folder that is not taken, or a row of a list that stands in it twice."""

    path: Path
    reason: str  # one of the constants above


def name_key(name: str) -> str:
    """``name`` in the form in which names are compared: composed (NFC), as macOS and Linux write them differently.

    >>> name_key("Cafe\\u0301") == "Caf\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of this name belongs to a system or a tool.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "._x.png", "Thumbs.db", "x.png")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def has_image_ending(name: str) -> bool:
    """Whether the ending of a file's name, in any case, is that of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders in ``folder`` by name, also those that a link leads to; without hidden ones."""
    return {
        name_key(entry.name): Path(entry.path)
        for entry in _scan(folder)
        if not is_hidden(entry.name) and _leads_to(entry.is_dir)
    }


class Listing(NamedTuple):
    """The images in a folder."""

    images: dict[str, Path]  # by name without ending, composed, in the order of names
    left_out: list[LeftOut]


def list_images(folder: Path) -> Listing:
    """The images in ``folder``, and what is left out of it.

    Raises:
        DataError: for two images whose names differ in their endings alone.
    """
    images: dict[str, Path] = {}
    left_out = []
    names, reasons = _names_in(folder)
    for name in names:
        path = folder / name
        if name in reasons:
            left_out.append(LeftOut(path, reasons[name]))
            continue
        key = name_key(path.stem)
        if key in images:
            raise DataError(f"{path} and {images[key].name} have the same name: keep one of them.")
        images[key] = path
    return Listing(images, left_out)


def walk_images(
    folder: Path, is_output: Callable[[Path], bool] = lambda path: False
) -> Iterator[Path | LeftOut]:
    """The images in ``folder`` and below it, folder by folder in the order of names, and what is left out.

    Links are followed, and each folder is entered once. Two names of one file are two images. A folder of which
    ``is_output`` holds is passed over.
    """
    entered = {os.path.realpath(folder)}
    waiting = [folder]
    while waiting:
        inside, below = waiting.pop(), []
        try:
            names, reasons = _names_in(inside)
        except DataError:
            if inside == folder:
                raise
            yield LeftOut(inside, UNREADABLE)
            continue
        for name in names:
            path, reason = inside / name, reasons.get(name)
            if reason is None:
                yield path
            elif reason in (FOLDER, HIDDEN) and is_output(path):
                continue
            elif reason != FOLDER:
                yield LeftOut(path, reason)
            elif (real := os.path.realpath(path)) in entered:
                yield LeftOut(path, SEEN)
            else:
                entered.add(real)
                below.append(path)
        waiting += reversed(below)


def summarise_left_out(left_out: Iterable[LeftOut], named: int = 3) -> list[str]:
    """A clause for each reason: how many there are, and the names of the first.

    >>> summarise_left_out([LeftOut(Path(f"images/{name}.heic"), ENDING) for name in "abcd"])
    ['4 with another ending than images have (a.heic, b.heic, c.heic, …)']
    """
    by_reason: dict[str, list[str]] = {}
    for path, reason in left_out:
        by_reason.setdefault(reason, []).append(path.name)
    return [f"{len(names)} {reason} ({first_names(names, named)})" for reason, names in by_reason.items()]


def first_names(names: Iterable[str], most: int = 3) -> str:
    """The first of ``names`` for a sentence.

    >>> first_names(["a", "b"]), first_names("abcd")
    ('a, b', 'a, b, c, …')
    """
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


class _Names(NamedTuple):
    """What lies in a folder and could be meant as an image: names alone, as there may be a million."""

    all: list[str]  # in order
    reasons: dict[str, str]  # why one is no image


def _names_in(folder: Path) -> _Names:
    images, reasons = [], {}
    for entry in _scan(folder):
        reason = _reason(entry)
        if reason is None:
            images.append(entry.name)
        elif reason != NOTHING:
            reasons[entry.name] = reason
    images += reasons
    images.sort()
    return _Names(images, reasons)


def _reason(entry: os.DirEntry[str]) -> str | None:
    """Why ``entry`` is no image; None if it is one."""
    if is_hidden(entry.name):
        return HIDDEN if has_image_ending(entry.name) or _leads_to(entry.is_dir) else NOTHING
    if _leads_to(entry.is_dir):
        return FOLDER
    if not _leads_to(entry.is_file):  # to open a pipe would wait for ever
        return NO_FILE if os.path.exists(entry.path) else BROKEN
    return None if has_image_ending(entry.name) else ENDING


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a ``kind``; a circle of links is of none."""
    try:
        return kind()
    except OSError:
        return False


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The entries of ``folder``, in no order. A folder of a million images is not held in memory."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DataError(f"{folder} cannot be looked into: {error.strerror}.") from None
