"""Pictures in files, one after the other, to label maps, overlays and scores in files."""

from __future__ import annotations

import glob
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from segattn_cli.data.images import SUFFIXES, read_image
from segattn_cli.errors import DataError, OutputError, UsageError
from segattn_cli.files import moved_into_place
from segattn_cli.prediction.outputs import Output, Place, Result
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model

STDIN = "-"
#: What may stand between a name and ".png": outputs of one picture must not be those of another.
ENDINGS = ("", ".overlay", ".confidence", ".entropy")


@dataclass(frozen=True)
class Input:
    """A picture that somebody asked for."""

    name: str  # what messages call it
    source: Path | bytes  # bytes: what stood on standard input


@dataclass(frozen=True)
class Job:
    """A picture and where its results go."""

    input: Input
    name: str  # of the outputs
    outputs: dict[str, Path]  # by kind: "label" and whatever else is wanted
    done: bool  # before, and to be kept


@dataclass(frozen=True)
class Segmented:
    """One more picture has been segmented; its outputs are in place."""

    job: Job
    size: tuple[int, int]  # (H, W)
    shares: dict[str, float]  # of the pixels, by class, the largest first
    confidence: dict[str, float] | None  # the mean largest probability where a class is predicted, if asked for
    scale_weights: list[float] | None  # the mean weight of each of the network's scales
    seconds: float


@dataclass(frozen=True)
class Skipped:
    """A picture was done before."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """A picture could not be used."""

    job: Job
    reason: str


def find_inputs(given: Sequence[str], out: Path, stdin: BinaryIO) -> list[Input]:
    """The pictures that the arguments ``given`` stand for, each once, in order.

    A folder stands for the pictures in it and below it, known by their endings; hidden ones and what lies in
    ``out`` are left out. A pattern such as ``shots/**/*.jpg`` stands for the files that match it, ``-`` for a
    picture on ``stdin``. A file that does not exist is kept, to be reported when its turn comes.

    Raises :class:`DataError` for a folder or a pattern that gives nothing.
    """
    found: dict[Path | str, Input] = {}
    for argument in given:
        if argument == STDIN:
            found.setdefault(STDIN, Input("standard input", stdin.read()))
            continue
        for path in _expanded(argument, out):
            found.setdefault(path.resolve(), Input(str(path), path))
    return list(found.values())


def plan_outputs(
    inputs: Sequence[Input], out: Path, places: Mapping[str, Place], *, resume: bool, force: bool
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
    called like its parent; and so on up the path. Pictures that differ in case alone tell that case counts here.

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


def segment(
    predictor: Predictor, jobs: Iterable[Job], outputs: Mapping[str, Output], model: Model, *,
    confidence: bool = False,
) -> Iterator[Segmented | Skipped | Failed]:
    """Do the ``jobs``, with one picture in memory at a time: an event for each.

    The outputs of a picture are written beside their places and moved there once they are whole. A picture that
    cannot be read or does not fit into memory is reported, and the rest goes on. Raises :class:`OutputError` where
    an output cannot be written.
    """
    for job in jobs:
        if job.done:
            yield Skipped(job)
            continue
        try:
            yield _segment(predictor, job, outputs, model, confidence)
        except DataError as error:
            yield Failed(job, str(error))
        except MemoryError:
            yield Failed(job, f"{job.input.name} needs more memory than there is: try a --window.")


def _segment(
    predictor: Predictor, job: Job, outputs: Mapping[str, Output], model: Model, confidence: bool
) -> Segmented:
    start = time.perf_counter()
    image = read_image(job.input.source, job.input.name)
    prediction = predictor.predict(image)
    label, scores = predictor.label_of(prediction), predictor.ops.to_numpy(prediction.scores)
    found = Result(
        job.name, image, label, scores, prediction.are_probabilities, tuple(model.classes), model.palette
    )
    with moved_into_place(job.outputs) as places:
        for kind, output in outputs.items():
            output.write(places[kind], found)
    counts = np.bincount(label.ravel(), minlength=len(model.classes))
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    weights = prediction.scale_weights
    return Segmented(
        job,
        size=(label.shape[0], label.shape[1]),
        shares={model.classes[k]: int(counts[k]) / label.size for k in order},
        confidence=found.confidence_by_class() if confidence else None,
        scale_weights=None if weights is None else weights.tolist(),
        seconds=time.perf_counter() - start,
    )


def _expanded(argument: str, out: Path) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        if out.resolve() == path.resolve():
            raise UsageError(f"{path} is both an input and --out: choose another --out.")
        found = [each for each in sorted(path.rglob("*")) if _is_picture(each, path, out.resolve())]
        what = f"The folder {path} holds no picture ({', '.join(SUFFIXES)}); name videos themselves."
    elif any(sign in argument for sign in "*?[") and not path.exists():
        found = [Path(each) for each in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(each)]
        what = f"No file matches {argument}."
    else:
        return [path]
    if not found:
        raise DataError(what)
    return found


def _is_picture(path: Path, root: Path, out: Path) -> bool:
    """Whether ``path`` below ``root`` looks like a picture that is neither hidden nor an earlier output."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    is_output = out.is_relative_to(root.resolve()) and out != root.resolve() and path.resolve().is_relative_to(out)
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and not is_output


def _candidates(path: Path) -> list[str]:
    """``a/b/sun.jpg`` → ``sun``, ``sun.jpg``, ``b/sun``, ``b/sun.jpg``, ``a/b/sun`` …"""
    parts = Path(os.path.abspath(path)).parts[1:]
    tails = [Path(*parts[start:]) for start in reversed(range(len(parts)))]
    return [name.as_posix() for tail in tails for name in (tail.with_suffix(""), tail)]
