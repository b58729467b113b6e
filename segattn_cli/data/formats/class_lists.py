"""The classes of known data sets, by the name of their layout; ``classes/*.txt`` gives the source of each."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from segattn_cli.data.class_files import ClassList, read_class_file
from segattn_cli.errors import UsageError

FOLDER = Path(__file__).with_name("classes")
KNOWN = ("ade20k", "camvid", "cityscapes", "coco-stuff", "person-part", "voc")


@cache
def known_classes(name: str) -> ClassList:
    """The classes of a data set in :data:`KNOWN`.

    >>> classes = known_classes("cityscapes")
    >>> len(classes.names), classes.names[0], classes.palette[0].tolist()
    (19, 'road', [128, 64, 128])
    """
    classes = read_class_file(FOLDER / f"{name}.txt")
    classes.palette.setflags(write=False)
    return classes


def named_classes(name: str) -> ClassList:
    """As :func:`known_classes`, or those in a file like ``classes.txt``.

    Raises:
        UsageError: for a name that is neither.
    """
    if name in KNOWN:
        return known_classes(name)
    if os.path.isfile(name):
        return read_class_file(Path(name))
    raise UsageError(f"--names knows {', '.join(KNOWN)}, or a file with one class a line; {name!r} is neither.")


def likely_count(format: str) -> int:
    """The number of classes of a data set in this layout; VOC's 21 where the layout does not decide it.

    >>> likely_count("cityscapes"), likely_count("folder")
    (19, 21)
    """
    return len(known_classes(format if format in KNOWN else "voc").names)


def guess_classes(count: int) -> str | None:
    """The known data set with ``count`` classes; None where there is none.

    >>> guess_classes(19), guess_classes(20)
    ('cityscapes', None)
    """
    return next((name for name in KNOWN if len(known_classes(name).names) == count), None)
