"""The image and video files that arguments of the command line stand for."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from segattn_cli.data.images import SUFFIXES, read_stream
from segattn_cli.data.listing import LeftOut, walk_images
from segattn_cli.errors import DataError, UsageError
from segattn_cli.prediction.packed_names import PackedNames, repeated
from segattn_cli.prediction.path_texts import absolute, normal

STDIN = "-"
#: Stands for standard input among paths, none of which is empty.
_STDIN_NAME = ""
#: Bytes of a list that are read at a time, and in which a path must end.
_PIECE, _LONGEST = 1 << 16, 1 << 20


class InputFile(NamedTuple):
    """An image or a video that somebody asked for."""

    name: str  # what messages call it: the path of a file, as it was given
    data: bytes | None = None  # of what is not in a file

    @property
    def source(self) -> Path | bytes:
        """What it is read from."""
        return Path(self.name) if self.data is None else self.data

    @property
    def path(self) -> str:
        """The path of its file, or what stands for it where outputs are called like their input."""
        return normal(self.name) if self.data is None else "stdin"


class InputFiles:
    """Many of them, in order and in little memory; to be gone through as often as needed."""

    def __init__(self, names: PackedNames, stdin: bytes = b"") -> None:
        self._names = names
        self._stdin = stdin

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[InputFile]:
        for name in self._names:
            yield InputFile(name) if name else InputFile("standard input", self._stdin)

    def where(self, wanted: Callable[[InputFile], bool]) -> InputFiles:
        """Those that are ``wanted``."""
        names = (name for name, each in zip(self._names, self, strict=True) if wanted(each))
        return InputFiles(PackedNames(names), self._stdin)


class Inputs(NamedTuple):
    """What the arguments stand for."""

    files: InputFiles
    left_out: list[LeftOut]


def find_inputs(given: Sequence[str], out: Path, stdin: BinaryIO, lists: Sequence[str] = ()) -> Inputs:
    """The images and videos that the arguments ``given`` stand for, each name once, in order, and then ``lists``.

    A folder stands for the images in it and below it (:func:`segattn_cli.data.listing.walk_images`) but for what
    lies in ``out``. A pattern such as ``shots/**/*.jpg`` stands for the files that match it, ``-`` for an image on
    ``stdin``. A list is a file of paths: see :func:`read_list`; ``-`` is one on ``stdin``. A file that does not
    exist is among them, to be reported when its turn comes.

    Raises :class:`DataError` for a folder, a pattern or a list that gives nothing, and for an image on a ``stdin``
    without an end.
    """
    if [*given, *lists].count(STDIN) > 1:
        raise UsageError("Standard input can be one image, or one list: give - once.")
    left_out: list[LeftOut] = []
    image = b""
    names = PackedNames()
    for argument in given:
        if argument == STDIN:
            image = read_stream(stdin, "standard input")
            names.append(_STDIN_NAME)
        else:
            for path in _expanded(argument, out, left_out):
                names.append(str(path))
    for each in lists:
        for name in _listed(each, stdin):
            names.append(name)
    return Inputs(InputFiles(_each_once(names), image), left_out)


def read_list(file: BinaryIO, name: str) -> Iterator[str]:
    """The paths in a list: one a line, or, if there is a NUL byte near its start, one before each NUL byte.

    By a byte order mark, which Windows writes, a list is in UTF-16, or in UTF-8 behind it. The paths are taken as
    they are, without patterns, and relative ones from the working folder. Empty lines are passed over. Raises
    :class:`DataError`, which calls the list ``name``, for a line that is no path, and for a mark that is wrong.

    >>> import io
    >>> list(read_list(io.BytesIO(b"a.jpg\\r\\n\\nb c.jpg"), "list"))
    ['a.jpg', 'b c.jpg']
    >>> list(read_list(io.BytesIO(b"a\\n.jpg\\0b.jpg\\0"), "list"))
    ['a\\n.jpg', 'b.jpg']
    """
    pieces = _pieces(file, name)
    rest = next(pieces, b"")
    separator = b"\0" if b"\0" in rest else b"\n"
    without_path = 0
    for piece in pieces:
        *whole, rest = (rest + piece).split(separator)
        without_path = 0 if any(whole) else without_path + len(piece)
        if without_path > _LONGEST:
            raise DataError(f"{name} is no list of paths: a million bytes in it, one after the other, end no path.")
        yield from _paths(whole, separator, name)
    yield from _paths(rest.split(separator), separator, name)


def _pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes of a list, without a byte order mark; those of UTF-16 as UTF-8."""
    first = file.read(_PIECE)
    pieces = chain([first], iter(partial(file.read, _PIECE), b""))
    if not first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from chain([next(pieces).removeprefix(codecs.BOM_UTF8)], pieces)
        return
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for piece in chain(pieces, [b""]):
            yield decoder.decode(piece, final=not piece).encode()
    except UnicodeDecodeError:
        raise DataError(f"{name} is no list of paths: it is not text in UTF-16, as its first bytes say.") from None


def _paths(lines: Iterable[bytes], separator: bytes, name: str) -> Iterator[str]:
    for line in lines:
        path = line.removesuffix(b"\r") if separator == b"\n" else line
        if b"\0" in path:
            raise DataError(f"{name} is no list of paths: it has both lines and NUL bytes.")
        if path:
            yield os.fsdecode(path)


def _listed(name: str, stdin: BinaryIO) -> Iterator[str]:
    """The paths in the list ``name``. Raises :class:`DataError` where it cannot be read, or names nothing."""
    empty = True
    try:
        with open(name, "rb") if name != STDIN else nullcontext(stdin) as file:
            for path in read_list(file, name):
                empty = False
                yield path
    except OSError as error:
        raise DataError(f"The list {name} cannot be read: {error.strerror}.") from None
    if empty:
        raise DataError(f"{'Standard input' if name == '-' else f'The list {name}'} names no file.")


def _each_once(names: PackedNames) -> PackedNames:
    """The ``names`` without those of a file that an earlier one names, too."""
    places = partial(map, _place, names)
    twice = repeated(places)
    if not twice:
        return names
    seen: set[str] = set()
    kept = PackedNames()
    for name, place in zip(names, places(), strict=True):
        if place not in seen:
            kept.append(name)
        if place in twice:
            seen.add(place)
    return kept


def _place(name: str) -> str:
    return absolute(name) if name else _STDIN_NAME


def _expanded(argument: str, out: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    if not argument:
        raise UsageError("An input has an empty name: give an image, a video or a folder.")
    path = Path(argument)
    if path.is_dir():
        if os.path.realpath(out) == os.path.realpath(path):
            raise UsageError(f"{path} is both an input and --out: choose another --out.")
        yield from _images_in(path, os.path.realpath(out), left_out)
    elif any(sign in argument for sign in "*?[") and not path.exists():
        matching = [Path(each) for each in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(each)]
        if not matching:
            raise DataError(f"No file matches {argument}.")
        yield from matching
    else:
        yield path


def _images_in(folder: Path, out: str, left_out: list[LeftOut]) -> Iterator[Path]:
    empty = True
    for each in walk_images(folder, lambda path: path.is_dir() and os.path.realpath(path) == out):
        if isinstance(each, LeftOut):
            left_out.append(each)
        else:
            empty = False
            yield each
    if empty:
        raise DataError(f"The folder {folder} holds no image ({', '.join(SUFFIXES)}); name videos themselves.")
