"""Short names for runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def labels(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart: one name each, if that will do.

    >>> labels([Path("/a/runs/first/"), Path("/a/runs/second")])
    ['first', 'second']
    >>> labels([Path("/a/one/run"), Path("/a/two/run"), Path("/b/two/run")])
    ['a/one/run', 'a/two/run', 'b/two/run']
    """
    parts = [Path(os.path.realpath(folder)).parts for folder in folders]
    for count in range(1, max(map(len, parts))):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [os.path.realpath(folder) for folder in folders]
