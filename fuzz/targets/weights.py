"""Weights of other tools: safetensors, npz and what ``torch.save`` wrote.

The seeds lie in ``fuzz/corpus/weights``, as ``fuzz/make_weights.py`` wrote them with PyTorch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from fuzz.judge import FOLDER, attempt
from segattn_cli.weights import import_weights

CORPUS = Path(__file__).parents[1] / "corpus" / "weights"
PATH = FOLDER / "weights"


def seeds() -> Iterator[bytes]:
    """A file of every kind that the reader knows."""
    for path in sorted(CORPUS.iterdir()):
        yield path.read_bytes()


def one_input(data: bytes) -> None:
    """Read the bytes as a file; what could be a pickle as that of an archive, too, whose checksum is then right."""
    PATH.write_bytes(data)
    attempt(import_weights, PATH)
    if data.startswith(b"\x80"):
        with zipfile.ZipFile(PATH, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            for key in range(4):
                archive.writestr(f"archive/data/{key}", bytes(24))
        attempt(import_weights, PATH)
