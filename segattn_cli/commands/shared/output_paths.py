"""Checks of output paths before the work begins, so that no result is lost at its end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from segattn_cli.commands.shared.json import STDOUT
from segattn_cli.errors import OutputError, UsageError


def require_replaceable(*files: Path | None, read: Iterable[Path] = ()) -> None:
    """Raise :class:`OutputError` where one of the ``files`` can be neither made nor replaced.

    Raises :class:`UsageError` where one is named twice, or is what is ``read``: see :func:`require_untouched`.
    """
    named = [file for file in files if file is not None and file != STDOUT]
    for file in named:
        if file.is_dir():
            raise OutputError(f"{file} is a folder: name a file.")
        if not file.absolute().parent.is_dir():
            raise OutputError(f"There is no folder {file.parent} to write {file.name} to.")
        folder = Path(os.path.realpath(file)).parent  # where a file is replaced, its folder is written to
        if not os.access(file if file.exists() and not file.is_file() else folder, os.W_OK):
            raise OutputError(f"{folder} may not be written to: choose another path for {file.name}.")
    for number, file in enumerate(named):
        if any(os.path.realpath(file) == os.path.realpath(other) for other in named[:number]):
            raise UsageError(f"{file} is named for two outputs: choose another path for one of them.")
    require_untouched(named, read)


def require_writable(file: Path, *, force: bool, read: Iterable[Path] = ()) -> None:
    """Raise :class:`OutputError` where ``file`` exists and is not to be replaced, or cannot be written.

    Raises :class:`UsageError` where it is what is ``read``: see :func:`require_untouched`.
    """
    if os.path.exists(file) and not file.is_dir() and not force:
        raise OutputError(f"{file} exists already: replace it with --force, or choose another path.")
    require_replaceable(file, read=read)


def require_empty(
    folder: Path, *, option: str = "--out", force: bool | None = None, resume: bool | None = None
) -> None:
    """Raise :class:`OutputError` where ``folder`` is not empty and not to be added to, or cannot be written.

    ``force`` and ``resume`` are None where the command has no such option.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{option} {folder} is a file: give a folder.")
    try:
        occupied = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{option} {folder} cannot be used: {error.strerror}.") from None
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.exists(each))
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise OutputError(f"{option} {folder} cannot be used: {existing} is no folder that may be written to.")
    if occupied and not (force or resume):
        keep = "" if resume is None else "keep what is done with --resume, "
        replace = "" if force is None else "replace files in it with --force, or "
        raise OutputError(f"{folder} is not empty: {keep}{replace}choose another {option}.")


def require_untouched(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Raise :class:`UsageError` where a path to be ``written`` is one that is ``read``, or a file of a run read."""
    from segattn_cli import runs

    parts = (Path(), runs.CONFIG, runs.EVENTS, runs.LAST, runs.BEST, runs.RESULT)
    inputs = {os.path.realpath(source / part) for source in read for part in parts}
    for path in written:
        if os.path.realpath(path) in inputs:
            raise UsageError(f"{path} is an input and would be overwritten: choose another path.")
