"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from segattn_cli.errors import OutputError


def write_atomically(path: Path, data: bytes) -> None:
    """Make ``data`` the content of the file ``path`` in one step that survives a crash; mode 0644 by umask.

    Raises :class:`OutputError`, and leaves what was there, where the disk is full or the folder not writable.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    partial = target.with_name(f".{target.name}.partial")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device takes what it is given
            path.write_bytes(data)
            return
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        _flush_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # the first error is the one to report
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); what was there before is untouched: make "
            "room or choose another --out."
        ) from None


def _flush_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def moved_into_place(outputs: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Temporary places for ``outputs`` in one folder; they are moved there when the block has ended well."""
    folder = next(iter(outputs.values())).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".segattn-", dir=folder) as temporary:
            places = {kind: Path(temporary, path.name) for kind, path in outputs.items()}
            yield places
            for kind, path in outputs.items():
                if path.is_dir() and places[kind].is_dir():  # a file never takes a folder's place
                    shutil.rmtree(path)
                places[kind].replace(path)
    except (OSError, OutputError) as error:
        cause = error.__cause__ or error
        raise OutputError(
            f"{folder} cannot be written to ({getattr(cause, 'strerror', None) or cause}); what was finished is "
            "whole: make room or choose another --out, and go on with --resume."
        ) from error
