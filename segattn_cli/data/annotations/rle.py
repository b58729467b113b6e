"""Run-length encodings of masks, as COCO, CVAT and Label Studio write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segattn_cli.data.annotations.regions import Region
from segattn_cli.errors import DataError


@dataclass(frozen=True)
class Runs:
    """Lengths of runs of 0 and 1 by turns, 0 first, along the rows of a rectangle of an image.

    Args:
        size: of the rectangle, (h, w).
        by_column: as COCO has them, down the columns of the whole image.

    Raises:
        DataError: from ``region``, where the runs do not fill the rectangle, or this does not fit the image.

    >>> Runs([1, 2, 3], (2, 3)).region((2, 3)).mask.astype(int).tolist()
    [[0, 1, 1], [0, 0, 0]]
    >>> Runs([1, 2, 3], (2, 3), by_column=True).region((2, 3)).mask.astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """

    lengths: Sequence[int]
    size: tuple[int, int]
    top: int = 0
    left: int = 0
    by_column: bool = False

    def region(self, size: tuple[int, int]) -> Region:
        height, width = self.size
        inside = min(*self.size, self.top, self.left) >= 0 and (
            self.size == size if self.by_column else self.top + height <= size[0] and self.left + width <= size[1]
        )
        if not inside:
            raise DataError(
                f"a mask of {width}×{height} at ({self.left}, {self.top}) does not fit its image of "
                f"{size[1]}×{size[0]} (width×height)"
            )
        if min(self.lengths, default=0) < 0 or sum(self.lengths) != height * width:
            raise DataError(f"the runs of a mask do not add up to its {width}×{height} pixels")
        values = np.arange(len(self.lengths)) % 2 == 1
        pixels = np.repeat(values, np.array(self.lengths, np.int64))
        shape, axes = (self.size[::-1], (1, 0)) if self.by_column else (self.size, (0, 1))
        return Region(self.top, self.left, pixels.reshape(shape).transpose(axes))


def coco_runs(text: str) -> list[int]:
    """The lengths in a compressed RLE of COCO: numbers of 5 bits a letter, from the third on differences.

    >>> coco_runs("0230")
    [0, 2, 3, 2]
    """
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"{letter!r} is no letter of a compressed mask")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError("a compressed mask is cut short")
    return lengths


@dataclass(frozen=True)
class Brush:
    """A mask of Label Studio: the bytes of red, green, blue and alpha of each pixel, packed.

    The format is that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack. What counts is alpha: a
    pixel belongs to the region where the brush covered at least half of it.
    """

    packed: bytes
    size: tuple[int, int]

    def region(self, size: tuple[int, int]) -> Region:
        height, width = self.size
        if self.size != size:
            raise DataError(
                f"a mask of {width}×{height} does not fit its image of {size[1]}×{size[0]} (width×height)"
            )
        values = _unpacked(self.packed, 4 * height * width)
        return Region(0, 0, values.reshape(height, width, 4)[..., 3] >= 128)


def _unpacked(packed: bytes, count: int) -> np.ndarray:
    """The ``count`` bytes in ``packed``, (count,) uint8."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    position = 0

    def read(length: int) -> int:
        nonlocal position
        taken = bits[position : position + length]
        if len(taken) < length:
            raise DataError("a brush mask is cut short")
        position += length
        return int(taken @ _POWERS[-length:])

    if read(32) != count:
        raise DataError(f"a brush mask has not the {count // 4} pixels of its image")
    word = read(5) + 1
    if word > 8:
        raise DataError(f"a brush mask has values of {word} bits in place of 8")
    sizes = [read(4) + 1 for _ in range(4)]
    values = np.empty(count, np.uint8)
    done = 0
    while done < count:
        is_run = read(1)
        end = done + 1 + read(sizes[read(2)])
        if end > count:
            raise DataError("a brush mask has more values than its image")
        if is_run:
            values[done:end] = read(word)
        else:
            words = bits[position : position + word * (end - done)]
            if len(words) < word * (end - done):
                raise DataError("a brush mask is cut short")
            position += len(words)
            values[done:end] = words.reshape(-1, word) @ _POWERS[-word:]
        done = end
    return values


_POWERS = 1 << np.arange(31, -1, -1, dtype=np.int64)
