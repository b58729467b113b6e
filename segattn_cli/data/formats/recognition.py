"""The layouts of data sets: which one a folder has, and opening it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from backends.errors import did_you_mean
from segattn_cli.data.class_files import find_class_file, read_class_file
from segattn_cli.data.dataset import Dataset, FileDataset
from segattn_cli.data.formats import ade20k, camvid, cityscapes, coco_stuff, person_part, plain_folder, voc
from segattn_cli.data.formats.scenes import SPLITS, SceneOptions, Scenes
from segattn_cli.errors import ConfigError, DataError


class Layout(Protocol):
    """The functions of a module for a layout."""

    def recognise(self, root: Path) -> bool: ...
    def splits(self, root: Path) -> tuple[str, ...]: ...
    def open_split(self, root: Path, split: str, size: tuple[int, int] | None) -> FileDataset: ...


#: The layouts in the order in which ``auto`` tries them; several have a folder images/.
LAYOUTS: dict[str, Layout] = {
    "camvid": camvid,
    "cityscapes": cityscapes,
    "person-part": person_part,
    "voc": voc,
    "ade20k": ade20k,
    "coco-stuff": coco_stuff,
    "folder": plain_folder,
}
FORMATS = ("auto", "scenes", *LAYOUTS)


def open_dataset(
    source: str | Path,
    *,
    format: str = "auto",
    split: str = "train",
    size: tuple[int, int] | None = None,
    scenes: SceneOptions | None = None,
    partial: bool = False,
) -> Dataset:
    """Open one split of a data set.

    Where a folder lists its classes (:data:`segattn_cli.data.class_files.CLASS_FILES`), that list replaces the one
    known for its layout, and defines the values of the masks.

    Args:
        source: ``"scenes"``, which are drawn, or a folder.
        format: a name in :data:`LAYOUTS`, or ``auto`` to recognise the layout of the folder.
        size: resize to (H, W) on loading: ``(180, 240)`` trains on CamVid at half resolution. ``scenes`` are drawn
            at that size.
        scenes: size, number and seed of ``scenes``.
        partial: whether images without masks and rows of lists that name no file are left to
            ``FileDataset.files.missing``, for a check that reports all that is wrong.

    Raises:
        ConfigError: for an unknown format.
        DataError: for a folder that is missing or in no known layout, a split that does not exist or is empty, a
            list that names no file, or missing masks. Files are opened only on loading.

    >>> dataset = open_dataset("scenes", split="val", size=(48, 64))
    >>> dataset.load(0).image.shape
    (48, 64, 3)
    """
    resolved = resolve_format(source, format)
    if resolved == "scenes":
        return Scenes(split, scenes or SceneOptions(), size)
    dataset = LAYOUTS[resolved].open_split(Path(source), split, size)
    class_file = find_class_file(Path(source))
    if class_file is not None and resolved != "folder":  # which takes its classes from there anyway
        dataset = replace(dataset, class_list=read_class_file(class_file))
    if not partial:
        dataset.files.require_complete()
    if not len(dataset) and not dataset.files.missing:
        raise DataError(f"The split {split!r} of {source} is empty: it needs at least one image.")
    return dataset


def splits_of(source: str | Path, *, format: str = "auto") -> tuple[str, ...]:
    """The splits that a data set has."""
    resolved = resolve_format(source, format)
    return SPLITS if resolved == "scenes" else LAYOUTS[resolved].splits(Path(source))


def resolve_format(source: str | Path, format: str = "auto") -> str:
    """The format of ``source``: ``auto`` is resolved, any other is checked and returned."""
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS)
        raise ConfigError(f"Unknown data format {format!r}{hint}: choose from {', '.join(FORMATS)}.")
    if source == "scenes":
        if format in LAYOUTS:
            raise ConfigError(f"'scenes' are drawn, not read as {format}: a folder of that name is ./scenes.")
        return "scenes"
    if format == "scenes":
        raise ConfigError(f"The format 'scenes' is drawn, not read from {source}: leave the format out.")
    try:
        return _layout_of(Path(source), format)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}.") from None


def recognised(root: Path, names: Iterable[str] = LAYOUTS) -> str | None:
    """The first of the layouts ``names`` that ``root`` has; None for none."""
    return next((name for name in names if LAYOUTS[name].recognise(root)), None)


def _layout_of(root: Path, format: str) -> str:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The data set {root} {what}: give a folder, or 'scenes' for the built-in images.")
    if format == "auto":
        layout, names, what = recognised(root), list(LAYOUTS), "in no known layout"
    else:
        layout = format if LAYOUTS[format].splits(root) else None
        names, what = [format], f"not laid out as {format}"
    if layout is not None:
        return layout
    near = _nearby(root, names)
    if near:
        meant = " and ".join(f"{path} is ({name})" for path, name in near.items())
        which = "that folder" if len(near) == 1 else "one of them"
        raise DataError(f"{root} is {what}, but {meant}: give {which}.")
    if format != "auto":
        return format  # its own error says what is missing
    raise DataError(
        f"{root} is in no known layout ({', '.join(LAYOUTS)}): the simplest is images/ and masks/ with a "
        "classes.txt; docs/data.md draws them all."
    )


def _nearby(root: Path, names: Iterable[str]) -> dict[Path, str]:
    """Folders in these layouts near ``root``, which may have been meant: inside, one level further down, above."""
    for paths in (root.glob("[!.]*"), root.glob("[!.]*/[!.]*"), [root.absolute().parent]):
        layouts = {}
        for path in sorted(paths):
            with suppress(OSError):  # a folder that may not be read
                name = recognised(path, names) if path.is_dir() else None
                if name is not None:
                    layouts[path] = name
        if layouts:
            return layouts
    return {}


def mistakes_of(dataset: Dataset) -> list[str]:
    """Common mistakes in data sets of this layout that ``dataset`` seems to have: a sentence for each.

    The module of a layout may have a function ``mistakes(dataset)``, which may read the masks.
    """
    find = getattr(LAYOUTS.get(dataset.format), "mistakes", None)
    return [] if find is None else find(dataset)
