"""Names in little memory: a million paths of images."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np

T = TypeVar("T", covariant=True)

#: Names that are compressed together.
TOGETHER = 4096


class Many(Protocol[T]):
    """What has a length, and is gone through as often as needed: a list, or what is not all in memory."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T]: ...


class PackedNames:
    """Names in order, compressed, to be gone through as often as needed.

    Paths of one folder have most of their characters in common, so that a million take some megabytes.

    >>> names = PackedNames(["b.png", "", "a.png"])
    >>> len(names), list(names)
    (3, ['b.png', '', 'a.png'])
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._packed: list[bytes] = []
        self._last: list[str] = []  # not compressed yet
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        """Add a name, which has no NUL character, at the end."""
        self._last.append(name)
        if len(self._last) == TOGETHER:
            self._packed.append(zlib.compress(os.fsencode("\0".join(self._last)), 1))
            self._last.clear()

    def __len__(self) -> int:
        return TOGETHER * len(self._packed) + len(self._last)

    def __iter__(self) -> Iterator[str]:
        for each in self._packed:
            yield from os.fsdecode(zlib.decompress(each)).split("\0")
        yield from self._last


def repeated(texts: Callable[[], Iterable[str]]) -> set[str]:
    """Those of ``texts()``, which is gone through twice, that occur more than once. Takes 8 bytes a text.

    >>> repeated(lambda: ["a", "b", "a", "c"])
    {'a'}
    """
    hashes = np.fromiter(map(hash, texts()), np.int64)
    hashes.sort()
    suspected = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not suspected:
        return set()
    counts = Counter(text for text in texts() if hash(text) in suspected)
    return {text for text, count in counts.items() if count > 1}
