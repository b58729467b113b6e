"""The classes of known data sets, by the name of their format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segattn_cli.data import camvid, voc
from segattn_cli.data.folder import read_classes
from segattn_cli.errors import UsageError

KNOWN = {each.__name__.rpartition(".")[2]: (each.CLASSES, each.PALETTE) for each in (camvid, voc)}


def named_classes(name: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and colours ``(K, 3)`` of a data set's classes, or those in a file like ``classes.txt``.

    >>> classes, palette = named_classes("camvid")
    >>> classes[:2], palette[0].tolist()
    (('sky', 'building'), [128, 128, 128])
    """
    if name in KNOWN:
        return KNOWN[name]
    if Path(name).is_file():
        return read_classes(Path(name))
    raise UsageError(f"--names knows {', '.join(KNOWN)}, or a file with one class a line; {name!r} is neither.")


def guess_classes(count: int) -> str | None:
    """The one known data set with so many classes, where there is one.

    >>> guess_classes(21)
    'voc'
    """
    found = [name for name, (classes, _) in KNOWN.items() if len(classes) == count]
    return found[0] if len(found) == 1 else None
