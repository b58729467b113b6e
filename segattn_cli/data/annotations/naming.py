"""The split and the name that each imported image gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from segattn_cli.data.annotations.model import Notes
from segattn_cli.data.annotations.resolving import ResolvedImage
from segattn_cli.data.annotations.source import Source, folded, split_called
from segattn_cli.data.splits import draw_split


def find_splits(images: Sequence[ResolvedImage], source: Source) -> list[str | None]:
    """The split of each image that the source tells: by its document, or by the folders of either."""
    return [_split(image, source) for image in images]


def _split(image: ResolvedImage, source: Source) -> str | None:
    said = image.annotated.split and split_called(image.annotated.split)
    if said:
        return said
    places = [(image.annotated.document, source.root)]
    if isinstance(image.file, Path):
        places.append((image.file, source.images_root))
    for path, root in places:
        folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
        for folder in reversed(folders):
            if split := split_called(folder):
                return split
    return None


def complete_splits(splits: Sequence[str | None], names: Sequence[str], fraction: float) -> list[str]:
    """A split for each image: where there is no val, ``fraction`` of those that are not test are drawn for it.

    The draw depends on the names alone; see :func:`~segattn_cli.data.splits.draw_split`.

    >>> complete_splits([None, "test", None, None], ["a", "b", "c", "d"], 0.3)
    ['train', 'test', 'val', 'train']
    """
    if "val" in splits:
        return [split or "train" for split in splits]
    free = [name for split, name in zip(splits, names, strict=True) if split != "test"]
    val = set(draw_split(free, "val", fraction)) if fraction and len(free) > 1 else set()
    return [
        "val" if split != "test" and name in val else split or "train"
        for split, name in zip(splits, names, strict=True)
    ]


def unique_names(
    images: Sequence[ResolvedImage], splits: Sequence[str | None], source: Source, notes: Notes
) -> list[str]:
    """A name for each image, without ending, that no other image of its split has.

    It is the name of the file; where several have it, folders come in front, and at last the ending. Names that
    differ in case alone count as equal: some file systems cannot tell them apart.
    """
    candidates = [_names(image, source) for image in images]
    groups = [split or "train" for split in splits]
    level = [0] * len(images)
    while True:
        keys = [(group, folded(each[n])) for group, each, n in zip(groups, candidates, level, strict=True)]
        taken = Counter(keys)
        clashing = [i for i, key in enumerate(keys) if taken[key] > 1 and level[i] + 1 < len(candidates[i])]
        if not clashing:
            break
        for index in clashing:
            level[index] += 1
    names = []
    used: set[tuple[str, str]] = set()
    for image, group, each, n in zip(images, groups, candidates, level, strict=True):
        numbered = chain([each[n]], (f"{each[n]}-{number}" for number in count(2)))
        name = next(name for name in numbered if (group, name) not in used)
        used.add((group, name))
        names.append(name)
        if name != each[0]:
            place = f"{image.annotated.name} as {name}"
            notes.choose("images whose names occur several times get longer names", place)
    return names


def _names(image: ResolvedImage, source: Source) -> list[str]:
    """``street``, ``city-street``, ``europe-city-street``, …, ``europe-city-street-jpg``."""
    path, root = image.annotated.document, source.root
    if isinstance(image.file, Path):
        path, root = image.file, source.images_root
    parts = list((path.relative_to(root) if path.is_relative_to(root) else Path(path.name)).with_suffix("").parts)
    longer = ["-".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
    return [*longer, f"{longer[-1]}-{path.suffix[1:]}"]
