"""From what a user calls a data set to the data set."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from segattn_cli.data import ade20k, camvid, cityscapes, coco_stuff, folder, person_part, voc
from segattn_cli.data.dataset import Dataset, FileDataset
from segattn_cli.data.scenes import SPLITS, SceneOptions, Scenes
from segattn_cli.errors import ConfigError, DataError


class Layout(Protocol):
    """What a module for a layout of files offers."""

    def recognise(self, root: Path) -> bool: ...
    def splits(self, root: Path) -> tuple[str, ...]: ...
    def open_split(self, root: Path, split: str, size: tuple[int, int] | None) -> FileDataset: ...


#: In the order in which ``auto`` tries them: several have a folder images/.
LAYOUTS: dict[str, Layout] = {
    "camvid": camvid,
    "cityscapes": cityscapes,
    "person-part": person_part,
    "voc": voc,
    "ade20k": ade20k,
    "coco-stuff": coco_stuff,
    "folder": folder,
}
FORMATS = ("auto", "scenes", *LAYOUTS)


def open_dataset(
    source: str | Path,
    *,
    format: str = "auto",
    split: str = "train",
    size: tuple[int, int] | None = None,
    scenes: SceneOptions | None = None,
) -> Dataset:
    """Open one split of a data set.

    Args:
        source: ``"scenes"`` for the procedural one, else a folder.
        format: ``auto`` recognises the layout of the folder; ``camvid``, ``voc`` and ``folder`` insist on one.
        size: resize to (H, W) on loading: ``(180, 240)`` trains on CamVid at half resolution. ``scenes`` are drawn
            at that size.
        scenes: size, number and seed of ``scenes``.

    Raises:
        ConfigError: for an unknown format.
        DataError: for a folder that is missing or in no known layout, a split that does not exist or is empty, a
            list that points nowhere, or missing masks. Files are opened only on loading.

    >>> dataset = open_dataset("scenes", split="val", size=(48, 64))
    >>> dataset.load(0).image.shape
    (48, 64, 3)
    """
    resolved = resolve_format(source, format)
    if resolved == "scenes":
        return Scenes(split, scenes or SceneOptions(), size)
    dataset = LAYOUTS[resolved].open_split(Path(source), split, size)
    if not len(dataset):
        raise DataError(f"The split {split!r} of {source} is empty: it needs at least one picture.")
    return dataset


def splits_of(source: str | Path, *, format: str = "auto") -> tuple[str, ...]:
    """The splits that a data set has."""
    resolved = resolve_format(source, format)
    return SPLITS if resolved == "scenes" else LAYOUTS[resolved].splits(Path(source))


def resolve_format(source: str | Path, format: str = "auto") -> str:
    """The format of ``source``: what ``auto`` stands for; any other is checked and returned."""
    if format not in FORMATS:
        near = get_close_matches(format, FORMATS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"Unknown data format {format!r}: choose from {', '.join(FORMATS)}.{hint}")
    if source == "scenes":
        if format in LAYOUTS:
            raise ConfigError(f"'scenes' are drawn, not read as {format}: a folder of that name is ./scenes.")
        return "scenes"
    root = Path(source)
    if format == "scenes":
        raise ConfigError(f"The format 'scenes' is drawn, not read from {root}: leave the format away.")
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The data set {root} {what}: give a folder, or 'scenes' for the built-in pictures.")
    if format != "auto":
        return format
    found = recognised(root)
    if found is not None:
        return found
    for inner in sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.is_dir()):
        name = recognised(inner)
        if name is not None:
            raise DataError(f"{root} is in no known layout, but {inner} is ({name}): give that folder.")
    raise DataError(
        f"{root} is in no known layout ({', '.join(LAYOUTS)}): the simplest is images/ and masks/ with a "
        "classes.txt; docs/data.md draws them all."
    )


def recognised(root: Path) -> str | None:
    """The name of the layout that ``root`` looks like."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognise(root)), None)


def mistakes_of(dataset: Dataset) -> list[str]:
    """What is often wrong with data sets of this layout, and seems to be with this one: a sentence each.

    A layout that knows such things has a function ``mistakes(dataset)``, which may look into the masks on disk.
    """
    find = getattr(LAYOUTS.get(dataset.format), "mistakes", None)
    return [] if find is None else find(dataset)
