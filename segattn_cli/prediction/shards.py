"""A share of the inputs for each of several processes, which know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from segattn_cli.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The K-th of every N.

    >>> shard = Shard(2, 3)
    >>> list(shard.of("abcdefg")), shard.size(7), str(shard)
    (['b', 'e'], 2, '2/3')
    """

    number: int  # K, from 1
    count: int  # N

    @classmethod
    def of_text(cls, text: str) -> Shard:
        """Read ``"K/N"``; raises :class:`UsageError` for anything else.

        >>> Shard.of_text("2/8")
        Shard(number=2, count=8)
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard must be K/N with K from 1 to N, such as 3/8, got {text!r}.")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of_task(cls, environment: Mapping[str, str]) -> Shard:
        """The shard of a task of a Slurm job array; everything where there is none.

        Raises :class:`UsageError` for a job array whose tasks are not numbered evenly.

        >>> task = {"MIN": "0", "MAX": "6", "STEP": "2", "COUNT": "4", "ID": "2"}  # sbatch --array=0-6:2
        >>> Shard.of_task({f"SLURM_ARRAY_TASK_{name}": value for name, value in task.items()})
        Shard(number=2, count=4)
        >>> Shard.of_task({})
        Shard(number=1, count=1)
        """
        name = "SLURM_ARRAY_TASK_"
        if f"{name}ID" not in environment:
            return WHOLE
        try:
            task, first, last, count = (int(environment[f"{name}{key}"]) for key in ("ID", "MIN", "MAX", "COUNT"))
        except (KeyError, ValueError):
            raise UsageError(f"{name}ID is set, but not {name}MIN, MAX and COUNT: give --shard K/N.") from None
        tasks = range(first, last + 1, max(1, (last - first) // max(1, count - 1)))
        if len(tasks) != count or task not in tasks:
            raise UsageError(f"This Slurm job array numbers its {count} tasks unevenly: give --shard K/N.")
        return cls(tasks.index(task) + 1, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Iterable[T]) -> Iterator[T]:
        """Those of the ``items`` that are this shard's, in their order."""
        return islice(items, self.number - 1, None, self.count)

    def size(self, total: int) -> int:
        """How many of ``total`` items are this shard's."""
        return len(range(self.number - 1, total, self.count))


WHOLE = Shard(1, 1)
