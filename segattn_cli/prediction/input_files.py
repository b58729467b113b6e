"""The image and video files that arguments of the command line stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segattn_cli.data.images import SUFFIXES
from segattn_cli.errors import DataError, UsageError

STDIN = "-"


@dataclass(frozen=True)
class InputFile:
    """A picture that somebody asked for."""

    name: str  # what messages call it
    source: Path | bytes  # bytes: what stood on standard input


def find_inputs(given: Sequence[str], out: Path, stdin: BinaryIO) -> list[InputFile]:
    """The pictures that the arguments ``given`` stand for, each once, in order.

    A folder stands for the pictures in it and below it, known by their endings; hidden ones and what lies in
    ``out`` are left out. A pattern such as ``shots/**/*.jpg`` stands for the files that match it, ``-`` for a
    picture on ``stdin``. A file that does not exist is kept, to be reported when its turn comes.

    Raises :class:`DataError` for a folder or a pattern that gives nothing.
    """
    found: dict[Path | str, InputFile] = {}
    for argument in given:
        if argument == STDIN:
            found.setdefault(STDIN, InputFile("standard input", stdin.read()))
            continue
        for path in _expanded(argument, out):
            found.setdefault(path.resolve(), InputFile(str(path), path))
    return list(found.values())


def _expanded(argument: str, out: Path) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        if out.resolve() == path.resolve():
            raise UsageError(f"{path} is both an input and --out: choose another --out.")
        found = [each for each in sorted(path.rglob("*")) if _is_picture(each, path, out.resolve())]
        what = f"The folder {path} holds no picture ({', '.join(SUFFIXES)}); name videos themselves."
    elif any(sign in argument for sign in "*?[") and not path.exists():
        found = [Path(each) for each in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(each)]
        what = f"No file matches {argument}."
    else:
        return [path]
    if not found:
        raise DataError(what)
    return found


def _is_picture(path: Path, root: Path, out: Path) -> bool:
    """Whether ``path`` below ``root`` looks like a picture that is neither hidden nor an earlier output."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    is_output = out.is_relative_to(root.resolve()) and out != root.resolve() and path.resolve().is_relative_to(out)
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and not is_output
