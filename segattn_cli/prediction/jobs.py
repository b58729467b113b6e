"""Which output files each input gets, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePath

import numpy as np

from segattn_cli.errors import OutputError, UsageError
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.output_files import FileNaming
from segattn_cli.prediction.packed_names import Many, PackedNames, repeated
from segattn_cli.prediction.path_texts import absolute, inside, parent_and_name, stem
from segattn_cli.prediction.shards import WHOLE, Shard

#: What may stand between a name and ".png": outputs of one image must not be those of another.
ENDINGS = ("", ".overlay", ".confidence", ".entropy")


@dataclass(frozen=True)
class Job:
    """An image and the paths of its outputs."""

    input: InputFile
    name: str  # of the outputs
    outputs: dict[str, Path]  # by kind: "label" and whatever else is wanted
    done: bool  # by an earlier call


class Plan:
    """The jobs of a shard, each made when its turn comes, so that a million of them take no memory.

    Args:
        inputs: all inputs, also those of other shards: on all of them depend the names.
        out: the folder of the outputs.
        places: the files of each kind of output.
        resume: whether a job whose outputs exist is done.
        shard: whose jobs these are.
    """

    def __init__(
        self, inputs: Many[InputFile], out: Path, places: Mapping[str, FileNaming], *, resume: bool,
        shard: Shard = WHOLE,
    ) -> None:
        self.inputs, self.out, self.places, self.resume, self.shard = inputs, out, places, resume, shard
        self.names = OutputNames(PackedNames(each.path for each in inputs))

    def __len__(self) -> int:
        return self.shard.size(len(self.inputs))

    def __iter__(self) -> Iterator[Job]:
        for each, name in self.shard.of(zip(self.inputs, self.names, strict=True)):
            paths = {kind: self.out / place.file_name(name, each.name) for kind, place in self.places.items()}
            yield Job(each, name, paths, self.resume and all(path.exists() for path in paths.values()))

    def written(self, shard: Shard) -> Iterator[str]:
        """The paths of all outputs of a ``shard``."""
        out, places = str(self.out), self.places.values()
        for each, name in shard.of(zip(self.inputs, self.names, strict=True)):
            for place in places:
                yield inside(out, place.file_name(name, each.name))


def plan_outputs(
    inputs: Many[InputFile], out: Path, places: Mapping[str, FileNaming], *, resume: bool, force: bool,
    shard: Shard = WHOLE,
) -> Plan:
    """Where the outputs of each input go: for ``street.jpg``, ``street.png``, ``street.overlay.png`` and so on;
    see :class:`OutputNames` for names that clash.

    Raises :class:`OutputError` where some of the ``shard`` exist already and neither ``resume`` (keep them) nor
    ``force`` (replace them) is given, and :class:`UsageError` where an output would replace an input.
    """
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"--out {out} is a file: give a folder.")
    except OSError as error:
        raise OutputError(f"--out {out} cannot be: {error.strerror}.") from None
    plan = Plan(inputs, out, places, resume=resume, shard=shard)
    twice = repeated(lambda: plan.written(WHOLE))
    if twice:
        raise UsageError(f"Two inputs would both be written to {min(twice)}: give one of them.")
    read = PackedNames(each.path for each in inputs if each.data is None)
    both = repeated(lambda: map(_real, chain(read, plan.written(shard))))
    for path in plan.written(shard) if both else ():
        if _real(path) in both:
            raise UsageError(f"{path} is an input and would be overwritten: choose another --out.")
    if not resume and not force:
        existing = filter(os.path.exists, plan.written(shard))
        first = next(existing, None)
        if first is not None:
            count, outputs = 1 + sum(1 for _ in existing), len(plan) * len(places)
            raise OutputError(
                f"{first} exists already (as do {count} of {outputs} outputs): give --resume to keep what is done, "
                "--force to replace it, or another --out."
            )
    return plan


class OutputNames:
    """A name without ending for the outputs of each path, all different.

    It is the stem. Where that clashes, it is the whole file name; where that clashes too, the stem in a folder
    called like its parent; and so on up the path. Inputs that differ in case alone show that case matters. Of a
    path, two bytes are kept in memory.

    >>> list(OutputNames(["a/sun.jpg", "a/moon.jpg"]))
    ['sun', 'moon']
    >>> list(OutputNames(["a/sun.jpg", "a/sun.png", "a/moon.jpg", "b/moon.jpg"]))
    ['sun.jpg', 'sun.png', 'a/moon', 'b/moon']
    >>> list(OutputNames(["a/Sun.jpg", "b/sun.jpg"]))
    ['a/Sun', 'b/sun']
    >>> list(OutputNames(["a/Sun.jpg", "a/sun.jpg"]))
    ['Sun', 'sun']
    """

    def __init__(self, paths: Many[str]) -> None:
        self._paths = paths
        self._levels = np.zeros(len(paths), np.uint16)
        # Some file systems do not tell Sun from sun.
        self._twins = bool(repeated(lambda: (absolute(path).casefold() for path in paths)))
        while clashing := self._clashing():
            moved = False
            for index, (path, name) in enumerate(zip(self._paths, self, strict=True)):
                if not clashing.isdisjoint(self._keys(name)) and self._levels[index] + 1 < _level_count(path):
                    self._levels[index] += 1
                    moved = True
            if not moved:
                return

    def __iter__(self) -> Iterator[str]:
        return map(_name_of, self._paths, self._levels.tolist())

    def _clashing(self) -> set[str]:
        """The keys that several names have in common.

        A name that ends with none of the :data:`ENDINGS` has in common with others at most what it is itself.
        """
        ending = False

        def names() -> Iterator[str]:
            nonlocal ending
            for name in self:
                folded = self._folded(name)
                ending = ending or folded.endswith(ENDINGS[1:])
                yield folded

        clashing = repeated(names)
        return repeated(lambda: (key for name in self for key in self._keys(name))) if ending else clashing

    def _keys(self, name: str) -> list[str]:
        """What another name must not have in common with ``name``."""
        return [self._folded(name) + ending for ending in ENDINGS]

    def _folded(self, name: str) -> str:
        return name if self._twins else name.casefold()


def _name_of(path: str, level: int) -> str:
    """Of ``/a/b/sun.jpg`` from level 0 on: ``sun``, ``sun.jpg``, ``b/sun``, ``b/sun.jpg``, ``a/b/sun`` …

    >>> [_name_of("/a/sun.jpg", level) for level in range(4)]
    ['sun', 'sun.jpg', 'a/sun', 'a/sun.jpg']
    """
    if level == 0:
        return stem(path)
    tail = PurePath(*PurePath(os.path.abspath(path)).parts[-1 - level // 2 :])
    return (tail if level % 2 else tail.with_suffix("")).as_posix()


def _level_count(path: str) -> int:
    return 2 * (len(PurePath(os.path.abspath(path)).parts) - 1)


def _real(path: str) -> str:
    """Where a file that is written to ``path`` gets to."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = parent_and_name(path)
    return inside(_real_folder(folder), name)


@lru_cache(maxsize=256)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)
