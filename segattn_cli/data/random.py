"""Random numbers that depend on their purpose and on nothing else."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def stream(purpose: str, seed: int, *numbers: int) -> np.random.Generator:
    """A generator of its own for every ``purpose``, ``seed`` and up to three ``numbers`` (epoch, sample, …).

    Philox is counter-based: seed and purpose are its key, the numbers are the upper words of its counter, so two
    streams never meet and none depends on the order in which they are made, on threads, or on a point of resume.

    >>> a, b = stream("augmentation", 0, 3, 17), stream("augmentation", 0, 3, 17)
    >>> a.random() == b.random()
    True
    >>> a.random() == stream("augmentation", 0, 3, 18).random()
    False
    """
    counter = [0, *numbers] + [0] * (3 - len(numbers))
    return np.random.Generator(np.random.Philox(key=[seed, crc32(purpose.encode())], counter=counter))
