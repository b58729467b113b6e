"""The classes of known data sets, by the name of their format; ``classes/*.txt`` says where each comes from."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np

from segattn_cli.data.formats.folder import read_classes
from segattn_cli.errors import UsageError

FOLDER = Path(__file__).with_name("classes")
KNOWN = ("ade20k", "camvid", "cityscapes", "coco-stuff", "person-part", "voc")


@cache
def known_classes(name: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and colours ``(K, 3)`` of the classes of a data set in :data:`KNOWN`.

    >>> classes, palette = known_classes("cityscapes")
    >>> len(classes), classes[0], palette[0].tolist()
    (19, 'road', [128, 64, 128])
    """
    classes, palette = read_classes(FOLDER / f"{name}.txt")
    palette.setflags(write=False)
    return classes, palette


def named_classes(name: str) -> tuple[tuple[str, ...], np.ndarray]:
    """As :func:`known_classes`, or those in a file like ``classes.txt``.

    Raises:
        UsageError: for a name that is neither.
    """
    if name in KNOWN:
        return known_classes(name)
    if os.path.isfile(name):
        return read_classes(Path(name))
    raise UsageError(f"--names knows {', '.join(KNOWN)}, or a file with one class a line; {name!r} is neither.")


def likely_count(format: str) -> int:
    """How many classes a data set of this format has; VOC's 21 where the format does not say.

    >>> likely_count("cityscapes"), likely_count("folder")
    (19, 21)
    """
    return len(known_classes(format if format in KNOWN else "voc")[0])


def guess_classes(count: int) -> str | None:
    """The known data set with so many classes, where there is one.

    >>> guess_classes(19), guess_classes(20)
    ('cityscapes', None)
    """
    return next((name for name in KNOWN if len(known_classes(name)[0]) == count), None)
