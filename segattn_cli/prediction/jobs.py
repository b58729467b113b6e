"""Which output files each input gets, and what they are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segattn_cli.errors import OutputError, UsageError
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.output_files import FileNaming

#: What may stand between a name and ".png": outputs of one image must not be those of another.
ENDINGS = ("", ".overlay", ".confidence", ".entropy")


@dataclass(frozen=True)
class Job:
    """An image and the paths of its outputs."""

    input: InputFile
    name: str  # of the outputs
    outputs: dict[str, Path]  # by kind: "label" and whatever else is wanted
    done: bool  # by an earlier call


def plan_outputs(
    inputs: Sequence[InputFile], out: Path, places: Mapping[str, FileNaming], *, resume: bool, force: bool
) -> list[Job]:
    """Where the outputs of each input go: for ``street.jpg``, ``street.png``, ``street.overlay.png`` and so on;
    see :func:`output_names` for names that clash.

    Raises :class:`OutputError` where some exist already and neither ``resume`` (keep them) nor ``force`` (replace
    them) is given, and :class:`UsageError` where an output would replace an input.
    """
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"--out {out} is a file: give a folder.")
    except OSError as error:
        raise OutputError(f"--out {out} cannot be: {error.strerror}.") from None
    names = output_names([each.source if isinstance(each.source, Path) else Path("stdin") for each in inputs])
    jobs = []
    for each, name in zip(inputs, names, strict=True):
        paths = {kind: out / place.file_name(name, each.name) for kind, place in places.items()}
        jobs.append(Job(each, name, paths, resume and all(path.exists() for path in paths.values())))

    written = [path for job in jobs for path in job.outputs.values()]
    if len(set(written)) < len(written):
        twice, _ = Counter(written).most_common(1)[0]
        raise UsageError(f"Two inputs would both be written to {twice}: give one of them.")
    read = {each.source.resolve() for each in inputs if isinstance(each.source, Path)}
    for path in written:
        if path.resolve() in read:
            raise UsageError(f"{path} is an input and would be overwritten: choose another --out.")
    existing = [path for path in written if path.exists()]
    if existing and not resume and not force:
        raise OutputError(
            f"{existing[0]} exists already (as do {len(existing)} of {len(written)} outputs): give --resume to "
            "keep what is done, --force to replace it, or another --out."
        )
    return jobs


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name without ending for the outputs of each path, all different.

    It is the stem. Where that clashes, it is the whole file name; where that clashes too, the stem in a folder
    called like its parent; and so on up the path. Inputs that differ in case alone show that case matters.

    >>> output_names([Path("a/sun.jpg"), Path("a/moon.jpg")])
    ['sun', 'moon']
    >>> output_names([Path("a/sun.jpg"), Path("a/sun.png"), Path("a/moon.jpg"), Path("b/moon.jpg")])
    ['sun.jpg', 'sun.png', 'a/moon', 'b/moon']
    >>> output_names([Path("a/Sun.jpg"), Path("b/sun.jpg")])
    ['a/Sun', 'b/sun']
    >>> output_names([Path("a/Sun.jpg"), Path("a/sun.jpg")])
    ['Sun', 'sun']
    """
    candidates = [_candidates(path) for path in paths]
    chosen = [0] * len(paths)
    # Some file systems do not tell Sun from sun.
    twins = len({os.path.abspath(path).casefold() for path in paths}) < len(paths)
    while True:
        names = [names[level] for names, level in zip(candidates, chosen, strict=True)]
        folded = names if twins else [name.casefold() for name in names]
        taken = Counter(f"{name}{ending}" for name in folded for ending in ENDINGS)
        clashing = [
            index
            for index, name in enumerate(folded)
            if sum(taken[f"{name}{ending}"] for ending in ENDINGS) > len(ENDINGS)
            and chosen[index] + 1 < len(candidates[index])
        ]
        if not clashing:
            return names
        for index in clashing:
            chosen[index] += 1


def _candidates(path: Path) -> list[str]:
    """``a/b/sun.jpg`` → ``sun``, ``sun.jpg``, ``b/sun``, ``b/sun.jpg``, ``a/b/sun`` …"""
    parts = Path(os.path.abspath(path)).parts[1:]
    tails = [Path(*parts[start:]) for start in reversed(range(len(parts)))]
    return [name.as_posix() for tail in tails for name in (tail.with_suffix(""), tail)]
