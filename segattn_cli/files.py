"""Writing files and folders completely or not at all."""

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
    """Write ``data`` to the file ``path``: after a crash the file has either the old or the new content.

    A pipe or a device is written to directly. Raises :class:`OutputError`, and leaves the old content, where the
    disk is full or the folder not writable.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    partial = target.with_name(f".{target.name}.partial")
    try:
        if path.exists() and not path.is_file():
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
    """Write ``folder`` to the disk, without which a rename in it may be lost."""
    if os.name == "nt":  # folders cannot be opened on Windows
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def moved_into_place(outputs: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Temporary paths for ``outputs`` in one folder, which replace them when the block ends without an error."""
    folder = next(iter(outputs.values())).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".segattn-", dir=folder) as temporary:
            paths = {kind: Path(temporary, path.name) for kind, path in outputs.items()}
            yield paths
            for kind, path in outputs.items():
                if path.is_dir() and paths[kind].is_dir():  # a file never takes a folder's place
                    shutil.rmtree(path)
                paths[kind].replace(path)
    except (OSError, OutputError) as error:
        cause = error.__cause__ or error
        raise OutputError(
            f"{folder} cannot be written to ({getattr(cause, 'strerror', None) or cause}); what was finished is "
            "whole: make room or choose another --out, and go on with --resume."
        ) from error
