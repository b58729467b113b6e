"""Mutations that keep a file readable enough for what is wrong in it to be reached: of trees, PNGs, safetensors.

A mutated byte of a PNG fails its checksum, one of JSON its grammar. Here the checksums are made right again, and a
value of a tree takes the place of another one.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

Mutate = Callable[[bytes, int], bytes]  # from data and the largest size

PNG = b"\x89PNG\r\n\x1a\n"
#: Values that break what was not expected to be anything else.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 256, 65536, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64,
    -(2**63) - 1, 10**30, 0.5, -0.0, 1e-320, 1e18, 1e300, -1e300, float("nan"), float("inf"), float("-inf"), "",
    " ", "0", "1", "-1", "none", "nan", "scenes", "../../x", "/etc/passwd", "/dev/zero", "a/b", ".", "..",
    "\x00", "\x1b[31m", "\n", "\u202e", "\ud800", "[/]", "[red]", "$x_", "%s", "{}", "\N{SUPERSCRIPT TWO}",
    "e\u0301", "\N{COLLISION SYMBOL}", "x" * 300, [], {}, [[]], [None], [0], [1, 2], [1, 2, 3], [-1, -1, -1],
    [256, 0, 0], ["a"], ["a", "a"], [1e300] * 4, {"a": 1}, {"": []}, [0.5, True, None], [[0, 0], [1, 1]],
    [[[]]], "#ff00ff", "#ggg", "1,2", [10**20] * 6,
)  # fmt: skip


def mutated_tree(tree: Any, rng: random.Random) -> Any:
    """A copy of ``tree``, as JSON has it, in which one value is odd, gone, doubled, or that of another place."""
    tree = json.loads(json.dumps(tree))
    places = list(_places(tree))
    if not places:
        return rng.choice(ODD)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parent, key = rng.choice(places)
        try:
            _change(parent, key, places, rng)
        except (LookupError, ValueError):  # which an earlier change took away
            continue
    return tree


def _change(parent: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif kind == 1:
        parent[str(rng.choice(ODD))] = parent.pop(key)
    elif kind == 2:
        other, place = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[place]))
    elif kind == 3:
        parent[key] = [parent[key]] * rng.choice((1, 2, 300))
    elif kind == 4 and isinstance(parent[key], int | float):
        parent[key] += rng.choice((1, -1, 0.5))
    elif kind == 5 and isinstance(parent[key], str) and parent[key]:
        at = rng.randrange(len(parent[key]))
        parent[key] = parent[key][:at] + str(rng.choice(ODD)) + parent[key][at + rng.randrange(2) :]
    else:
        parent[key] = rng.choice(ODD)


def _places(tree: Any) -> Any:
    """The parent and the key of each value below ``tree``."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def mutated_json(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """JSON with another tree, or with other bytes, where it is none or by chance."""
    if rng.random() < 0.8:
        try:
            return json.dumps(mutated_tree(json.loads(data), rng), ensure_ascii=rng.random() < 0.9).encode()
        except (ValueError, RecursionError):
            pass
    return mutate(data, size)


def mutated_png(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """Another file, whose checksums are right if it is a PNG; or a PNG whose pixels are others, packed anew."""
    chunks = list(_chunks(data))
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    if packed and rng.random() < 0.3:
        try:
            pixels = mutate(zlib.decompressobj().decompress(packed, 1 << 16), 1 << 16)
        except zlib.error:
            return mutate(data, size)
        first = next(place for place, (kind, _) in enumerate(chunks) if kind == b"IDAT")
        rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        return joined_png([*rest[:first], (b"IDAT", zlib.compress(pixels)), *rest[first:]])
    data = mutate(data, size)
    chunks = list(_chunks(data))
    return joined_png(chunks) if chunks and rng.random() < 0.9 else data


def joined_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks."""
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return PNG + b"".join(parts)


def _chunks(data: bytes) -> Any:
    """The kind and the content of each chunk of a PNG; none of what is none."""
    at = len(PNG)
    while data.startswith(PNG) and at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def mutated_safetensors(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """Other tensors, or other metadata, which are JSON in JSON; or other bytes."""
    if rng.random() < 0.85:
        try:
            (length,) = struct.unpack_from("<Q", data)
            header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
            metadata = header.get("__metadata__", {})
            if "segattn" in metadata and rng.random() < 0.8:
                metadata["segattn"] = mutated_json(metadata["segattn"].encode(), mutate, size, rng).decode(
                    "latin-1"
                )
            else:
                header = mutated_tree(header, rng)
            text = json.dumps(header).encode()
            return struct.pack("<Q", len(text)) + text + rest
        except (ValueError, struct.error, RecursionError, AttributeError, TypeError):
            pass
    return mutate(data, size)
