"""Lists that say which images and masks a split has, as tools and people write them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segattn_cli.data.class_files import read_text
from segattn_cli.data.listing import has_image_ending, is_hidden, name_key

#: What the first row of a list may call its columns.
_HEADER = frozenset(
    {"image", "images", "img", "mask", "masks", "label", "labels", "annotation", "annotations", "file", "filename",
     "file_name", "name", "path", "image_path", "mask_path", "label_path", "image_name", "id", "image_id", "split"}
)  # fmt: skip


#: Where a line is divided at most: each place is looked for on the disk.
MOST_BLANKS = 200


class ListRow(NamedTuple):
    """What a row of a list names, as the list writes it."""

    image: str
    mask: str | None  # None: the list names images, and masks are found by their names


class Tree:
    """The files below a folder, found by how lists write their paths.

    Names are compared in their composed form and endings in any case; an image may have another ending than the
    list says, or the list none at all. Each folder is read once.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[Path, _Folder] = {}

    def find(self, written: str, below: Sequence[str] = ("",)) -> Path | None:
        """The file that a list writes as ``written``, which may be a path from elsewhere; None where there is none.

        Of a path from elsewhere, the longest tail that exists in the folder is taken. What begins with a folder
        that exists is meant as it stands, and never taken for a file of the same name in another folder.

        Args:
            below: folders in which names without a folder are looked for, in this order.
        """
        found = self._find(written.replace("\\", "/"), below)
        if found is None and not written.isascii() and any("\udc80" <= each <= "\udcff" for each in written):
            return self._find(os.fsencode(written).decode("cp1252", "replace").replace("\\", "/"), below)
        return found

    def _find(self, written: str, below: Sequence[str]) -> Path | None:
        is_absolute = re.match(r"/|[A-Za-z]:", written) is not None
        parts = [part for part in PurePosixPath(written).parts if part not in ("/", "..", ".")]
        for start in range(len(parts) - 1):
            tail = parts[start:]
            found = self._file(tail)
            if found is not None or self._folder(tail[:-1] if is_absolute else tail[:1]) is not None:
                return found
        candidates = [[*PurePosixPath(folder).parts, parts[-1]] for folder in below] if parts else []
        return next((found for candidate in candidates if (found := self._file(candidate)) is not None), None)

    def _file(self, parts: Sequence[str]) -> Path | None:
        folder = self._folder(parts[:-1])
        if folder is None:
            return None
        entries, name = self._entries(folder), name_key(parts[-1])
        stem = os.path.splitext(name)[0] if has_image_ending(name) else name
        same_stem = sorted(entries.images.get(stem, []), key=lambda path: path.name.lower() != name.lower())
        exact = [entries.paths[name]] if name in entries.paths else []
        return next((path for path in (*exact, *same_stem) if path.is_file()), None)

    def _folder(self, parts: Sequence[str]) -> Path | None:
        folder = self.root
        for part in parts:
            found = self._entries(folder).paths.get(name_key(part))
            if found is None or not found.is_dir():
                return None
            folder = found
        return folder

    def _entries(self, folder: Path) -> _Folder:
        if folder not in self._folders:
            paths = {name_key(name): folder / name for name in sorted(os.listdir(folder))}
            images: dict[str, list[Path]] = {}
            for key, path in paths.items():
                if has_image_ending(key) and not is_hidden(key):
                    images.setdefault(os.path.splitext(key)[0], []).append(path)
            self._folders[folder] = _Folder(paths, images)
        return self._folders[folder]


class _Folder(NamedTuple):
    paths: dict[str, Path]  # by name
    images: dict[str, list[Path]]  # by name without ending


def read_rows(path: Path, exists: Callable[[str], bool]) -> list[ListRow]:
    """The rows of the list ``path``: an image, or an image and its mask.

    The columns are separated by a comma, a semicolon or a tab, or else by blanks; names may have blanks, too: a
    line is divided where both halves name something for which ``exists`` holds. A first row that names the columns,
    and the numbers that VOC's ``ImageSets/Main`` writes behind names, are left out.

    Raises:
        DataError: where the list cannot be read.
    """
    text = read_text(path, errors="surrogateescape")
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    rows = [_row(line, exists) for line in lines]
    if rows and not exists(rows[0].image):
        cells = [cell for cell in re.split(r"[\s,;]+", lines[0].lower()) if cell]
        if cells and set(cells) <= _HEADER:
            return rows[1:]
    return rows


def _row(line: str, exists: Callable[[str], bool]) -> ListRow:
    cells = _cells(line)
    divided = [ListRow(cells[0], cells[1])] if len(cells) > 1 else list(_halves(line))
    both = next((row for row in divided if row.mask and exists(row.image) and exists(row.mask)), None)
    if both is not None:
        return both
    if exists(line):
        return ListRow(line, None)
    name, _, number = line.rpartition(" ")
    if number in ("1", "-1", "0"):
        return ListRow(name.strip(), None)
    one = next((row for row in divided if exists(row.image) or exists(row.mask or "")), None)
    return one or (divided[0] if len(divided) == 1 else ListRow(cells[0] if cells else line, None))


def _cells(line: str) -> list[str]:
    """The columns of a line that a comma, a semicolon or a tab divides; none where there is no such sign.

    >>> _cells('"a, b.png"; c.png'), _cells("a b")
    (['a, b.png', 'c.png'], [])
    """
    for separator in (";", "\t", ","):
        if separator in line:
            try:
                cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
            except csv.Error:  # a cell of more than 131,072 letters
                return []
            return [cell.strip() for cell in cells if cell.strip()]
    return []


def _halves(line: str) -> Iterator[ListRow]:
    """Every way to divide a line at blanks, of which two paths have at most so many.

    >>> [tuple(row) for row in _halves("a 1.png b 1.png")]
    [('a', '1.png b 1.png'), ('a 1.png', 'b 1.png'), ('a 1.png b', '1.png')]
    """
    for blank in islice(re.finditer(r"\s+", line), MOST_BLANKS):
        yield ListRow(line[: blank.start()], line[blank.end() :])
