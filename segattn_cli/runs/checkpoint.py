"""Checkpoints: named arrays and JSON metadata in one safetensors file, which is always whole.

A checkpoint is written to a temporary file, flushed to the disk and renamed: a reader sees
either the old one or the new one, also after a crash. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segattn_cli.errors import CheckpointError, OutputError
from segattn_cli.files import is_no_file, write_atomically
from segattn_cli.json_text import json_text

#: The one key of safetensors' own metadata that we use; its value is our metadata as JSON.
KEY = "segattn"
VERSION = 1
#: Bytes of the longest header of a safetensors file that is read; it describes some 30,000 tensors.
LONGEST_HEADER = 4_000_000


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: arrays by dotted name, and metadata."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]


def save_checkpoint(path: Path | str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write ``arrays`` and ``metadata`` (anything JSON can hold; NaN becomes null) to ``path``, all or nothing.

    Raises :class:`OutputError` where it cannot be written; what was at ``path`` before is then still there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save_checkpoint(path, {"gate": np.float32(0.5)}, {"step": 3})
    >>> checkpoint = load_checkpoint(path)
    >>> float(checkpoint.arrays["gate"]), checkpoint.metadata["step"]
    (0.5, 3)
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    text = json_text({"version": VERSION, **metadata})
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        data = save(contiguous, {KEY: text})
    except SafetensorError as error:
        raise OutputError(f"{path} cannot be written as safetensors: {error}.") from None
    write_atomically(Path(path), data)


def has_endless_header(path: Path) -> bool:
    """Whether a safetensors file describes so many tensors, if only empty ones, that to read them takes minutes."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return LONGEST_HEADER < length <= file.seek(0, os.SEEK_END)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote.

    Raises :class:`CheckpointError` for a file that is missing, truncated, or not one of ours.
    """
    from safetensors import SafetensorError, safe_open

    if is_no_file(path):
        raise CheckpointError(f"{path} is a folder, a pipe or a device: give a file.")
    try:
        if has_endless_header(Path(path)):
            raise CheckpointError(f"{path} describes more tensors than a network has.")
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise CheckpointError(
                    f"{path} is a safetensors file, but no checkpoint of segattn: it does not say of what "
                    "network it is."
                )
            metadata = json.loads(text)
            if metadata["version"] != VERSION:
                raise CheckpointError(
                    f"{path} has version {metadata['version']} of the checkpoint format, and this segattn reads "
                    f"version {VERSION}: use the segattn that wrote it."
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint at {path}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is truncated, damaged, or no safetensors file: {error}.") from None
    return Checkpoint(arrays, metadata)
