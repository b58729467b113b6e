"""Which part of a data set is trained on and which is held out, where no list and no folder says so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

from segattn_cli.data.listing import name_key
from segattn_cli.errors import DataError

#: The names that folders and lists give to a split.
ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
#: The splits of a folder without any: drawn by :func:`draw_split`.
DRAWN = ("train", "val", "all")
VAL_FRACTION = 0.2


def split_name(name: str) -> str:
    """What a folder or a list called ``name`` is the split of.

    >>> split_name("valid"), split_name("night")
    ('val', 'night')
    """
    return next((split for split, names in ALIASES.items() if name.lower() in names), name)


def named_splits(paths: Iterable[Path]) -> dict[str, Path]:
    """Folders or lists by the split that they are of, ``train``, ``val`` and ``test`` first."""
    named: dict[str, Path] = {}
    for path in sorted(paths):
        stem = path.name if path.is_dir() else path.stem
        split = split_name(stem)
        named[stem if split in named else split] = path
    order = {split: place for place, split in enumerate(ALIASES)}
    return dict(sorted(named.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def draw_split(names: Sequence[str], split: str, fraction: float = VAL_FRACTION) -> list[str]:
    """The names of one of the splits :data:`DRAWN`, in their order.

    Of the names in the order of their CRC-32, the first ``fraction`` (at least one) is ``val`` and the rest
    ``train``: the same on every machine.
    """
    if split == "all":
        return list(names)
    ordered = sorted(names, key=lambda name: (crc32(os.fsencode(name_key(name))), name))
    val = set(ordered[: max(1, int(len(names) * fraction + 1e-9))])
    return [name for name in names if (name in val) == (split == "val")]


def require_split(split: str, known: Sequence[str], root: Path) -> None:
    """Raise a :class:`DataError` where ``root`` has no such split."""
    if split not in known:
        listed = ", ".join(known) or "none"
        raise DataError(f"{root} has no split {split!r}: it has {listed}.{_way_out(split, known)}")


def _way_out(split: str, known: Sequence[str]) -> str:
    if split == "val" and "train" in known:
        return (
            " Hold out a part of train by --val 0.2 (data.val_fraction) or data.folds, or name another split by "
            "data.val_split."
        )
    if split == "train" and known:
        return " Name the one to train on by data.train_split."
    return ""
