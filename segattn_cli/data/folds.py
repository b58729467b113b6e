"""Cross-validation: a split in several folds, of which each is held out once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backends.cores import usable_cores
from segattn_cli.data.dataset import IGNORE_LABEL, FileDataset
from segattn_cli.data.formats.recognition import open_dataset, splits_of
from segattn_cli.data.images import Intensity
from segattn_cli.data.splits import DRAWN
from segattn_cli.errors import ConfigError, DataError


class Content(NamedTuple):
    """What decides on the fold of an image."""

    digest: str  # SHA-256 of the bytes of the image's file
    classes: frozenset[int]  # in its mask


def open_folds(
    source: str | Path, *, folds: int, fold: int, split: str = "train", format: str = "auto",
    intensity: Intensity = "depth",
) -> tuple[FileDataset, FileDataset]:
    """The images of ``split`` outside of a fold, and those in the fold as the split ``val``.

    Of a folder without splits, all images are divided. The folds depend on the content of the images and masks, and
    not on names: see :func:`assign_folds`. Every image and mask is read once.

    Args:
        folds: how many there are.
        fold: which one is held out, from 1.

    Raises:
        ConfigError: for data that is drawn.
        DataError: for files that cannot be used, and for fewer different images than folds.
    """
    if source == "scenes":
        raise ConfigError("data.folds divides the files of a folder; scenes are drawn, as many as you want.")
    everything = split == "train" and splits_of(source, format=format) == DRAWN
    whole = open_dataset(source, format=format, split="all" if everything else split, intensity=intensity)
    assert isinstance(whole, FileDataset)
    contents = read_contents(whole)
    different = len({content.digest for content in contents})
    if different < folds:
        raise DataError(
            f"The split {whole.split!r} of {source} has {different} different images, fewer than data.folds = "
            f"{folds}: lower that number or add images."
        )
    numbers = assign_folds(contents, folds)
    held_out = [pair for pair, number in zip(whole.pairs, numbers, strict=True) if number == fold]
    others = [pair for pair, number in zip(whole.pairs, numbers, strict=True) if number != fold]
    which = f"fold {fold} of {folds} by the content of the images"
    return (
        replace(whole, split=split, files=replace(whole.files, pairs=tuple(others), origin=f"without {which}")),
        replace(whole, split="val", files=replace(whole.files, pairs=tuple(held_out), origin=which)),
    )


def has_own_val(source: str | Path, format: str = "auto") -> bool:
    """Whether a folder or a list says what the split ``val`` of ``source`` is."""
    known = splits_of(source, format=format)
    return "val" in known and known != DRAWN


def read_contents(dataset: FileDataset) -> list[Content]:
    """The content of each image of ``dataset``; raises :class:`DataError` for a file that cannot be used."""

    def read(index: int) -> Content:
        pair = dataset.pairs[index]
        _, mask = dataset.read(index, header_only=True)
        classes = np.unique(dataset.classes_of(mask.values, pair.mask))
        try:
            with open(pair.image, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{pair.image} cannot be read: {error.strerror}.") from None
        return Content(digest, frozenset(classes.tolist()) - {IGNORE_LABEL})

    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="segattn-folds") as pool:
        return list(pool.map(read, range(len(dataset))))


def assign_folds(contents: Sequence[Content], folds: int) -> list[int]:
    """The fold of each image, from 1 to ``folds``.

    Images are sorted by the rarest class that they show (the one in the fewest images), and within a class by their
    digest; then they are dealt out in turn. So the images of a rare class are spread evenly, and the sizes of the
    folds differ by at most one. Equal files are in one fold; images that are only similar are not recognised.

    >>> road, car = frozenset({0}), frozenset({0, 1})
    >>> assign_folds([Content("b", road), Content("c", car), Content("a", road), Content("d", car)], 2)
    [2, 1, 1, 2]
    """
    by_digest = {content.digest: content.classes for content in reversed(contents)}  # the first of equal files
    frequency: dict[int, int] = {}
    for classes in by_digest.values():
        for index in classes:
            frequency[index] = frequency.get(index, 0) + 1

    def key(digest: str) -> tuple[tuple[int, int], str]:
        rarest = min(((frequency[index], index) for index in by_digest[digest]), default=(len(contents) + 1, 0))
        return rarest, digest

    number = {digest: place % folds + 1 for place, digest in enumerate(sorted(by_digest, key=key))}
    return [number[content.digest] for content in contents]
