"""The image and video files that arguments of the command line stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from segattn_cli.data.images import SUFFIXES, read_stream
from segattn_cli.data.listing import LeftOut, walk_images
from segattn_cli.errors import DataError, UsageError

STDIN = "-"


@dataclass(frozen=True)
class InputFile:
    """An image or a video that somebody asked for."""

    name: str  # what messages call it
    source: Path | bytes  # bytes: what stood on standard input


class Inputs(NamedTuple):
    """What the arguments stand for."""

    files: list[InputFile]
    left_out: list[LeftOut]


def find_inputs(given: Sequence[str], out: Path, stdin: BinaryIO) -> Inputs:
    """The images and videos that the arguments ``given`` stand for, each name once, in order.

    A folder stands for the images in it and below it (:func:`segattn_cli.data.listing.walk_images`) but for what
    lies in ``out``. A pattern such as ``shots/**/*.jpg`` stands for the files that match it, ``-`` for an image on
    ``stdin``. A file that does not exist is among them, to be reported when its turn comes.

    Raises :class:`DataError` for a folder or a pattern that gives nothing, and for a ``stdin`` without an end.
    """
    files: dict[str, InputFile] = {}
    left_out: list[LeftOut] = []
    for argument in given:
        if argument == STDIN:
            files.setdefault(STDIN, InputFile("standard input", read_stream(stdin, "standard input")))
            continue
        for path in _expanded(argument, out, left_out):
            files.setdefault(os.path.abspath(path), InputFile(str(path), path))
    return Inputs(list(files.values()), left_out)


def _expanded(argument: str, out: Path, left_out: list[LeftOut]) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        if out.resolve() == path.resolve():
            raise UsageError(f"{path} is both an input and --out: choose another --out.")
        return _images_in(path, out.resolve(), left_out)
    if any(sign in argument for sign in "*?[") and not path.exists():
        matching = [Path(each) for each in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(each)]
        if not matching:
            raise DataError(f"No file matches {argument}.")
        return matching
    return [path]


def _images_in(folder: Path, out: Path, left_out: list[LeftOut]) -> list[Path]:
    images = []
    for each in walk_images(folder, lambda path: path.is_dir() and path.resolve() == out):
        if isinstance(each, LeftOut):
            left_out.append(each)
        else:
            images.append(each)
    if not images:
        raise DataError(f"The folder {folder} holds no image ({', '.join(SUFFIXES)}); name videos themselves.")
    return images
