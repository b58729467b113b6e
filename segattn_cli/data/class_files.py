"""Lists of classes as tools write them: which file of a folder names its classes, and what it says.

    file                                              tools, and what stands for a class
    classes.txt, class_names.txt, labels.txt          labelme2voc, Label Studio: a name, then its colour if any;
                                                      or the value and the name: 0 sky, or sky: 0
    classes.csv, class_dict.csv, _classes.csv         CamVid on Kaggle, Roboflow: a row under a header; the same
                                                      in the files above, and any of these separators
    labelmap.txt                                      CVAT: name:r,g,b::
    label_colors.txt                                  CVAT, Datumaro: r g b name
    classes.json, label_map.json, id2label.json       Hugging Face, scripts: names in order, or values and names
    obj_class_to_machine_color.json, meta.json        Supervisely: a name and a colour

Names and colours only: nothing here looks at masks.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segattn_cli.data.masks import IGNORE_LABEL, Colour
from segattn_cli.data.palettes import default_palette
from segattn_cli.errors import DataError, counted
from segattn_cli.files import is_no_file

#: The files that name the classes of a folder, in the order in which they are looked for.
CLASS_FILES = (
    "classes.txt", "class_names.txt", "labelmap.txt", "label_colors.txt", "labels.txt", "classes.csv",
    "class_dict.csv", "_classes.csv", "classes.json", "label_map.json", "id2label.json",
    "obj_class_to_machine_color.json", "meta.json",
)  # fmt: skip
#: Letters of the longest name of a class: tables and legends hold it.
LONGEST_NAME = 200
#: Names by which lists call the pixels that belong to no class.
IGNORED_NAMES = frozenset({"__ignore__", "ignore", "ignored", "void"})

_COLOUR = re.compile(r"^(?P<name>.*?)[\s,;:]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})$")
_NUMBERED_COLOUR = re.compile(r"(\d{1,3}[\s,;:]+){4}\D.*")
_NUMBERED = re.compile(r"(?P<value>\d{1,3})(?:\s*[:=,;.)]\s*|\s+)(?P<name>\S.*)")
_NUMBER_LAST = re.compile(r"(?P<name>\S.*?)(?:\s*[:=,;]\s*|\s+)(?P<value>\d{1,3})")
#: What headers call the column of the names, of the values, and of parts of a colour. Where two columns have names,
#: one of them may have the values.
_NAME_COLUMNS = ("name", "class", "label", "class_name", "class name", "label_name", "label name")
_VALUE_COLUMNS = (
    "pixel value", "pixel_value", "value", "id", "index", "class_id", "class id", "label_id", "class_index",
)  # fmt: skip
_COLOUR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
_COLOUR_FIRST = re.compile(r"^(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;:]+(?P<name>.+)$")


@dataclass(frozen=True)
class Entry:
    """A class as a list names it."""

    name: str
    value: int | None = None  # in the masks; by default its place in the list, from 0
    colour: Colour | None = None


@dataclass(frozen=True)
class ClassList:
    """The classes that a folder names, and what the values and colours of its masks mean.

    >>> classes = class_list("list", [Entry("sky"), Entry("void"), Entry("road", colour=(1, 2, 3))])
    >>> classes.names, classes.values, classes.colours
    (('sky', 'road'), {255: 255, 0: 0, 1: 255, 2: 1}, {(1, 2, 3): 2})
    """

    source: str  # the file, or the name of a known list
    names: tuple[str, ...]
    palette: np.ndarray = field(repr=False)  # (K, 3) uint8
    values: Mapping[int, int]  # the class of each value that masks may hold; 255 is ignored
    colours: Mapping[Colour, int]  # the value of each colour that the list gives

    @property
    def counts_from_0(self) -> bool:
        """Whether value k of a mask is class k, and 255 alone is ignored."""
        return dict(self.values) == {value: value for value in (*range(len(self.names)), IGNORE_LABEL)}

    def with_values(self, values: Mapping[int, int]) -> ClassList:
        """The same classes in masks of other values, of which 255 is always ignored."""
        return replace(self, values={IGNORE_LABEL: IGNORE_LABEL, **values})


def find_class_file(root: Path) -> Path | None:
    """The first of :data:`CLASS_FILES` that lies in ``root``."""
    return next((root / name for name in CLASS_FILES if (root / name).is_file()), None)


def contradicting_files(classes: ClassList) -> list[Path]:
    """The files beside that of ``classes`` that name other classes, or give them other values.

    Supervisely's ``meta.json`` is in no order, and is left out.
    """
    used = Path(classes.source)
    contradicting = []
    for path in (used.with_name(name) for name in CLASS_FILES if name not in (used.name, "meta.json")):
        if path.is_file():
            with suppress(DataError):  # which may be something else
                contradicting += [path] * (_value_of_each(read_class_file(path)) != _value_of_each(classes))
    return contradicting


def _value_of_each(classes: ClassList) -> dict[str, int]:
    return {classes.names[index]: value for value, index in classes.values.items() if index != IGNORE_LABEL}


def read_class_file(path: Path) -> ClassList:
    """The classes that the file ``path`` names; its ending and its content say in which of the forms.

    Raises:
        DataError: where the file is missing or in no known form, names a class, value or colour twice, or not 2 to
            255 classes.
    """
    return class_list(str(path), read_entries(path))


def read_entries(path: Path) -> list[Entry]:
    """The classes that the file ``path`` names, as it lists them; see :func:`read_class_file`."""
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return _json_entries(path, text)
    if path.suffix.lower() == ".csv":
        return _table_entries(path, _rows(path, [line for line in text.splitlines(keepends=True) if line.strip()]))
    return _line_entries(path, text)


def class_list(source: str, entries: Iterable[Entry]) -> ClassList:
    """The :class:`ClassList` of ``entries``; those called by one of :data:`IGNORED_NAMES` become 255."""
    entries = list(entries)
    names = tuple(entry.name for entry in entries if entry.name.lower() not in IGNORED_NAMES)
    if not 2 <= len(names) <= IGNORE_LABEL:
        raise DataError(
            f"{source} names {counted(len(names), 'class')}: 2 to {IGNORE_LABEL} can be told apart in a mask. "
            "Write each on a line of its own."
        )
    longest = max(names, key=len)
    if len(longest) > LONGEST_NAME:
        raise DataError(f"{source} names a class by {len(longest):,} letters: at most {LONGEST_NAME} are read.")
    values: dict[int, int] = {IGNORE_LABEL: IGNORE_LABEL}
    palette = default_palette(len(names))
    seen: set[object] = set()
    index = 0
    for place, entry in enumerate(entries):
        ignored = entry.name.lower() in IGNORED_NAMES
        value = place if entry.value is None else entry.value
        for what, each in (("class", entry.name), ("value", value)):
            if (what, each) in seen:
                raise DataError(f"{source} names the {what} {each!r} twice.")
            seen.add((what, each))
        if any(unicodedata.category(sign) in ("Cc", "Cs") and sign != "\t" for sign in entry.name):
            raise DataError(f"{source} has control characters in the name {entry.name!r}: remove them.")
        if not 0 <= value <= IGNORE_LABEL or (value == IGNORE_LABEL and not ignored):
            raise DataError(f"{source} gives {entry.name!r} the value {value}: a class has a value from 0 to 254.")
        values[value] = IGNORE_LABEL if ignored else index
        if entry.colour is not None and not ignored:
            palette[index] = entry.colour
        index += not ignored
    given = Counter(entry.colour for entry in entries)  # a colour of several classes tells none
    colours = {
        entry.colour: place if entry.value is None else entry.value
        for place, entry in enumerate(entries) if entry.colour is not None and given[entry.colour] == 1
    }
    return ClassList(source, names, palette, values, colours)


def class_lines(names: Sequence[str], palette: np.ndarray) -> str:
    """A ``classes.txt`` of ``names`` and colours ``(K, 3)``, with the values in front where a name has a number.

    >>> class_lines(["sky", "road"], np.array([[1, 2, 3], [4, 5, 6]]))
    'sky 1 2 3\\nroad 4 5 6\\n'
    >>> class_lines(["road 1", "sky 0"], np.array([[1, 2, 3], [4, 5, 6]]))  # which would be read as the values
    '0: road 1 1 2 3\\n1: sky 0 4 5 6\\n'
    """
    colours = [(r, g, b) for r, g, b in palette.tolist()]
    lines = [f"{name} {r} {g} {b}\n" for name, (r, g, b) in zip(names, colours, strict=True)]
    meant = [Entry(name, colour=colour) for name, colour in zip(names, colours, strict=True)]
    if _line_entries(Path("classes.txt"), "".join(lines)) != meant:
        lines = [f"{value}: {line}" for value, line in enumerate(lines)]
    return "".join(lines)


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a list in UTF-8 or, by its byte order mark, UTF-16; without the mark.

    Args:
        errors: ``"surrogateescape"`` keeps bytes that are not UTF-8, as Python does in the names of files.

    Raises:
        DataError: where the file is missing, cannot be read, or is in another encoding.
    """
    if is_no_file(path):
        raise DataError(f"{path} is a folder, a pipe or a device: give a file.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: write one class name per line, in the order of the mask values from 0."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from None
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        if encoding == "utf-8-sig" and 0 in data:
            raise UnicodeDecodeError(encoding, data, data.index(0), data.index(0) + 1, "zero byte")
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text in UTF-8 (byte {error.start} is {data[error.start]:#04x}): save it as UTF-8."
        ) from None


def _line_entries(path: Path, text: str) -> list[Entry]:
    """Names line by line, with a colour behind (or before) each where there is one; ``#`` begins a comment."""
    lines = [line.strip() for line in text.splitlines()]
    if path.name.lower() == "labelmap.txt" or any(line.startswith("# label:color_rgb") for line in lines):
        return _labelmap_entries(path, lines)
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and any(_is_header(row) for row in _rows(path, lines[:1])):
        return _table_entries(path, _rows(path, lines))
    if lines and _is_header(lines[0].split(), most_unknown=0):
        del lines[0]
    if lines and lines[0] == "__ignore__":  # labelme: the value of its first line is -1, which PNG stores as 255
        del lines[0]
    if lines and all(_NUMBERED_COLOUR.fullmatch(line) for line in lines):
        return sorted((_numbered_colour(path, line) for line in lines), key=lambda entry: entry.value or 0)
    if lines and all(_COLOUR_FIRST.match(line) and not _COLOUR.match(line) for line in lines):
        matches = [_COLOUR_FIRST.match(line) for line in lines]
        return [Entry(match["name"], colour=_colour(path, match)) for match in matches if match]
    entries = []
    for line in lines:
        match = _COLOUR.match(line)
        entries.append(Entry(match["name"], colour=_colour(path, match)) if match else Entry(line))
    return _numbered(entries)


def _numbered_colour(path: Path, line: str) -> Entry:
    """A class whose line has its value, red, green, blue and name."""
    *numbers, name = re.split(r"[\s,;:]+", line, maxsplit=4)
    value, *colour = map(int, numbers)
    return Entry(name, value, _checked(path, name, tuple(colour)))


def _numbered(entries: list[Entry]) -> list[Entry]:
    """``entries`` by their values, where all names begin with a number, in any order, the smallest of them 0 or 1.

    The numbers may also stand behind names that differ without them.

    >>> _numbered([Entry("1: road"), Entry("0: sky")]) == [Entry("sky", 0), Entry("road", 1)]
    True
    >>> _numbered([Entry("road: 1"), Entry("sky: 0")]) == [Entry("sky", 0), Entry("road", 1)]
    True
    >>> [entry.value for entry in _numbered([Entry("50 km/h"), Entry("80 km/h")])]
    [None, None]
    >>> [entry.name for entry in _numbered([Entry("lane 0"), Entry("lane 1")])]
    ['lane 0', 'lane 1']
    """
    for form in (_NUMBERED, _NUMBER_LAST):
        matches = [match for entry in entries if (match := form.fullmatch(entry.name))]
        if len(matches) < len(entries) or min((int(match["value"]) for match in matches), default=0) > 1:
            continue
        if form is _NUMBER_LAST and len({match["name"] for match in matches}) < len(matches):
            continue  # lane 1, lane 2
        numbered = [
            replace(entry, name=match["name"], value=int(match["value"]))
            for entry, match in zip(entries, matches, strict=True)
        ]
        return sorted(numbered, key=lambda entry: entry.value or 0)
    return entries


def _labelmap_entries(path: Path, lines: list[str]) -> list[Entry]:
    """CVAT's ``label:color_rgb:parts:actions``."""
    entries = []
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.rpartition(":")[0].rpartition(":")[0].rpartition(":")
        if not name:  # no parts and actions behind
            name, _, rest = line.partition(":")
        match = re.fullmatch(r"(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})", rest.strip())
        entries.append(Entry(name.strip(), colour=_colour(path, match) if match else None))
    return entries


def _is_header(cells: list[str], most_unknown: int = 9) -> bool:
    """Whether the cells of a first row name columns and not a class; some may have another meaning.

    >>> _is_header(["name", " r", " g", " b"]), _is_header(["Pixel Value", " Class"]), _is_header(["class_name"])
    (True, True, True)
    >>> _is_header(["sky", "1"]), _is_header(["class", "b"])
    (False, False)
    """
    words = [cell.strip().lower() for cell in cells]
    if len(words) == 1:
        return words[0] in _NAME_COLUMNS
    colours = [colour for three in _COLOUR_COLUMNS if {*three} <= {*words} for colour in three]
    known = [word for word in words if word in (*_NAME_COLUMNS, *_VALUE_COLUMNS, *colours)]
    unknown = len(words) - len(known)
    has_names = any(word in _NAME_COLUMNS for word in known)
    return unknown == 0 or (unknown <= most_unknown and has_names and len(known) > 1)


def _rows(path: Path, lines: Sequence[str]) -> list[list[str]]:
    """The rows of a table, whose cells are separated as those of the header: by commas, semicolons or tabs."""
    separator = next((sign for sign in ",;\t" if sign in "".join(lines[:1])), ",")
    try:
        return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"{path} is no table that can be read ({error}).") from None


def _table_entries(path: Path, rows: list[list[str]]) -> list[Entry]:
    """The rows of a table whose header names its columns: a name, and a value or a colour where there are any."""
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    if not _is_header(header):
        raise DataError(f"{path} has no header: its first row must name the columns, such as name, r, g, b.")
    columns = {name: header.index(name) for name in header}
    named = [columns[name] for name in _NAME_COLUMNS if name in columns]
    if not named:
        raise DataError(f"{path} has no column with the names of the classes (name, class or label).")
    numbers = [at for at in named if all(re.fullmatch(r"\d+", "".join(row[at : at + 1])) for row in rows[1:])]
    name_at = next((at for at in named if at not in numbers), named[0])
    values = [columns[name] for name in _VALUE_COLUMNS if name in columns] + [at for at in numbers if at != name_at]
    value_at = values[0] if values else None
    colour_at = next(([columns[c] for c in three] for three in _COLOUR_COLUMNS if {*three} <= {*columns}), [])
    entries = []
    for number, row in enumerate(rows[1:], 2):
        try:
            value = None if value_at is None else int(row[value_at])
            colour = tuple(int(row[at]) for at in colour_at) or None
            entries.append(Entry(row[name_at], value, _checked(path, row[name_at], colour)))
        except (ValueError, IndexError):
            raise DataError(f"{path} has a row {number} that is not like its header: {', '.join(row)}.") from None
    return entries


def _json_entries(path: Path, text: str) -> list[Entry]:
    """Names in a list, values and names in a dict of either direction, or objects with names and colours."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}).") from None
    if isinstance(tree, dict) and isinstance(tree.get("classes"), list):  # Supervisely's meta.json
        tree = tree["classes"]
    if isinstance(tree, dict) and isinstance(tree.get("id2label"), dict):  # Hugging Face's config.json
        tree = tree["id2label"]
    entries = [_json_entry(path, each) for each in tree] if isinstance(tree, list) else _json_pairs(path, tree)
    return sorted(entries, key=lambda entry: -1 if entry.value is None else entry.value)


def _json_entry(path: Path, each: Any) -> Entry:
    if isinstance(each, str):
        return Entry(each)
    keys = [key for key in ("name", "title", "label") if isinstance(each, dict) and isinstance(each.get(key), str)]
    if not keys:
        raise DataError(f"{path} lists something without a name: {json.dumps(each)[:80]}.")
    name = each[keys[0]]
    value = next((each[key] for key in ("id", "value", "index") if isinstance(each.get(key), int)), None)
    return Entry(name, value, _json_colour(path, name, each.get("color", each.get("colour"))))


def _json_pairs(path: Path, tree: Any) -> list[Entry]:
    if not isinstance(tree, dict):
        raise DataError(f"{path} is no list of classes: it needs names in a list, or values and names.")
    entries = []
    for key, value in tree.items():
        if isinstance(value, str) and re.fullmatch(r"\d{1,3}", key):
            entries.append(Entry(value, int(key)))
        elif isinstance(value, int) and not isinstance(value, bool):
            entries.append(Entry(key, value))
        elif (colour := _json_colour(path, key, value)) is not None:
            grey = len(set(colour)) == 1  # Supervisely's machine masks: the value, three times
            entries.append(Entry(key, colour[0] if grey else None, None if grey else colour))
        else:
            raise DataError(f"{path} says {json.dumps(value)[:80]} of {key!r}, which is no value, name or colour.")
    return entries


def _json_colour(path: Path, name: str, value: Any) -> Colour | None:
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    if isinstance(value, list) and len(value) == 3 and all(isinstance(each, int) for each in value):
        return _checked(path, name, tuple(value))
    return None


def _colour(path: Path, match: re.Match[str]) -> Colour | None:
    name = match.re.groupindex.get("name")  # which may be a number, too
    red, green, blue = (int(match[group]) for group in range(1, match.re.groups + 1) if group != name)
    return _checked(path, match.groupdict().get("name", ""), (red, green, blue))


def _checked(path: Path, name: str, colour: tuple[int, ...] | None) -> Colour | None:
    if colour is None:
        return None
    if not all(0 <= channel <= 255 for channel in colour):
        raise DataError(f"{path} gives {name!r} the colour {list(colour)}: values go from 0 to 255.")
    red, green, blue = colour
    return red, green, blue
