"""Several files in one input, as text that can be read: each begins with a line ``--- NAME``."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from fuzz.mutations import Mutate, mutated_json

_BEGIN = re.compile(rb"(?:^|\n)--- ([\w./-]{1,60})\n")


def joined(parts: Mapping[str, bytes | str]) -> bytes:
    """The input for these files.

    >>> joined({"a.txt": "x", "b.txt": "y"})
    b'--- a.txt\\nx\\n--- b.txt\\ny'
    """
    texts = {name: text.encode() if isinstance(text, str) else text for name, text in parts.items()}
    return b"\n".join(b"--- " + name.encode() + b"\n" + text for name, text in texts.items())


def divided(data: bytes, names: Collection[str]) -> dict[str, bytes]:
    """The files in ``data`` that are called by one of ``names``.

    >>> divided(b"--- a.txt\\nx\\n--- /etc/passwd\\ny", ["a.txt"])
    {'a.txt': b'x'}
    """
    pieces = _BEGIN.split(data)
    parts = dict(zip((name.decode() for name in pieces[1::2]), pieces[2::2], strict=True))
    return {name: text for name, text in parts.items() if name in names}


def write_parts(folder: Path, parts: Mapping[str, bytes]) -> None:
    """Write the files into ``folder``."""
    for name, text in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def mutated_parts(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """The input with one of its files changed, or with other bytes."""
    pieces = _BEGIN.split(data)
    if len(pieces) < 3 or rng.random() < 0.1:
        return mutate(data, size)
    at = 2 * rng.randrange(1, (len(pieces) + 1) // 2)
    name = pieces[at - 1].decode()
    if name.endswith((".json", ".jsonl")):
        lines = pieces[at].split(b"\n") if name.endswith(".jsonl") else [pieces[at]]
        line = rng.randrange(len(lines))
        lines[line] = mutated_json(lines[line], mutate, size, rng)
        pieces[at] = b"\n".join(lines)
    else:
        pieces[at] = mutate(pieces[at], size)
    return joined({name.decode(): text for name, text in zip(pieces[1::2], pieces[2::2], strict=True)})
