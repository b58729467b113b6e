"""Places for results: what is in the way is said before the work."""

from __future__ import annotations

import os
from pathlib import Path

from segattn_cli.errors import OutputError, UsageError


def require_place(path: Path, *, force: bool) -> None:
    """Raise an error where ``path`` is a folder, is there and is not to be replaced, or has no folder to be in."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file.")
    if os.path.exists(path) and not force:
        raise OutputError(f"{path} exists already: replace it with --force, or choose another place.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} to write {path.name} to.")


def require_empty(option: str, folder: Path, *, force: bool) -> None:
    """Raise an error where ``folder``, which need not be there, holds anything that is not to be added to."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{option} {folder} is a file: give a folder.")
    try:
        occupied = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{option} {folder} cannot be used: {error.strerror}.") from None
    if occupied and not force:
        raise OutputError(f"{folder} is not empty: add to it with --force, or choose another {option}.")
