"""Places for results: what is in the way is said before the work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from segattn_cli.errors import OutputError, UsageError


def require_place(path: Path, *, force: bool) -> None:
    """Raise an error where ``path`` is a folder, is there and is not to be replaced, or cannot be written."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file.")
    if os.path.exists(path) and not force:
        raise OutputError(f"{path} exists already: replace it with --force, or choose another place.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} to write {path.name} to.")
    folder = Path(os.path.realpath(path)).parent  # where a file is replaced, its folder is written to
    if not os.access(path if path.exists() and not path.is_file() else folder, os.W_OK):
        raise OutputError(f"{folder} may not be written to: choose another place for {path.name}.")


def require_untouched(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Raise an error where what is to be ``written`` would replace what is ``read``; of a run, all that it is."""
    from segattn_cli import runs

    parts = (Path(), runs.CONFIG, runs.EVENTS, runs.LAST, runs.BEST, runs.RESULT)
    kept = {os.path.realpath(source / part) for source in read for part in parts}
    for path in written:
        if os.path.realpath(path) in kept:
            raise UsageError(f"{path} is an input and would be overwritten: choose another place.")


def require_empty(option: str, folder: Path, *, force: bool) -> None:
    """Raise an error where ``folder`` holds anything that is not to be added to, or cannot be written to."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{option} {folder} is a file: give a folder.")
    try:
        occupied = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{option} {folder} cannot be used: {error.strerror}.") from None
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.exists(each))
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise OutputError(f"{option} {folder} cannot be used: {there} is no folder that may be written to.")
    if occupied and not force:
        raise OutputError(f"{folder} is not empty: add to it with --force, or choose another {option}.")
