"""The layouts of data sets: which one a folder has, and opening it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Protocol

from backends.errors import did_you_mean
from segattn_cli.data.class_files import contradicting_files, find_class_file, read_class_file
from segattn_cli.data.dataset import Dataset, FileDataset, value_ranges
from segattn_cli.data.formats import ade20k, camvid, cityscapes, coco_stuff, person_part, plain_folder, voc
from segattn_cli.data.formats.class_lists import FOLDER
from segattn_cli.data.formats.scenes import SPLITS, SceneOptions, Scenes
from segattn_cli.data.images import Intensity
from segattn_cli.data.listing import summarise_left_out
from segattn_cli.data.splits import draw_split
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
#: How files are called in known data sets whose masks hold other values than the indices of the classes.
SHIFTED_NAMES = {"ade20k": r"ADE_(train|val|test)_\d+", "coco-stuff": r"(COCO_\w+_)?\d{12}"}
#: And in others.
KNOWN_NAMES = {
    "camvid": r"(\d{4}[A-Z]\w|Seq05VD)_f?\d+", "voc": r"\d{4}_\d{6}|\d{6}", "person-part": r"\d{4}_\d{6}",
}  # fmt: skip


def open_dataset(
    source: str | Path,
    *,
    format: str = "auto",
    split: str = "train",
    size: tuple[int, int] | None = None,
    scenes: SceneOptions | None = None,
    partial: bool = False,
    val_fraction: float | None = None,
    intensity: Intensity = "depth",
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
        val_fraction: where the data set has a split ``train`` and no ``val``: the fraction of ``train`` that is
            ``val``; chosen by the names as :func:`segattn_cli.data.splits.draw_split` does.
        intensity: how grey of more than 8 bits is read; see :func:`segattn_cli.data.images.decode_image`.

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
    root, layout = Path(source), LAYOUTS[resolved]
    known = layout.splits(root)
    holds_out = val_fraction is not None and "val" not in known and "train" in known and split in ("train", "val")
    dataset = replace(layout.open_split(root, "train" if holds_out else split, size), intensity=intensity)
    own = find_class_file(root)
    if resolved != "folder":  # which takes its classes from there anyway
        if own is not None:
            dataset = replace(dataset, class_list=read_class_file(own))
        elif format == "auto":
            _refuse_other_classes(dataset, root)
    if holds_out and val_fraction is not None:
        names = [dataset.name_of(index) for index in range(len(dataset))]
        chosen = draw_split(names, split, val_fraction)
        dataset = dataset.part(split, set(chosen), f"{val_fraction:g} of train held out as val, by the names")
    if not partial:
        dataset.files.require_complete()
    if not len(dataset) and not dataset.files.missing:
        left_out = "; ".join(summarise_left_out(dataset.files.left_out))
        reason = f" Left out: {left_out}." if left_out else ""
        raise DataError(f"The split {split!r} of {source} is empty: it needs at least one image.{reason}")
    return dataset


def _refuse_other_classes(dataset: FileDataset, root: Path) -> None:
    """Refuse a data set of its own in the folders of a known one whose masks do not count from 0.

    Tutorials advise these folders for any data: every label would be off by one, or ignored.
    """
    pattern = SHIFTED_NAMES.get(dataset.format)
    if pattern is None or not dataset.pairs:
        return
    if not _any_name_fits(dataset, pattern):
        raise DataError(
            f"{root} has the folders of {dataset.format}, but no file is called as there ({dataset.name_of(0)}), "
            f"and no list names its classes: write a classes.txt into {root}, one name per line in the order "
            f"of the mask values from 0; or insist on the {len(dataset.classes)} classes of {dataset.format} by "
            f"--format {dataset.format} (data.format)."
        )


def _any_name_fits(dataset: FileDataset, pattern: str) -> bool:
    return any(re.fullmatch(pattern, dataset.name_of(index)) for index in range(len(dataset)))


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
    if format == "auto" and (layout is None or (layout == "folder" and not plain_folder.has_masks(root))):
        _refuse_annotations(root)
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
        "classes.txt, as `segattn data check --help` shows."
    )


def _refuse_annotations(root: Path) -> None:
    """Raise :class:`DataError` where ``root`` has the polygons of an annotation tool: masks can be made of them."""
    from segattn_cli.data.annotations.tools import foreign_annotations

    tool = foreign_annotations(root)
    if tool is not None:
        raise DataError(
            f"{root} has annotations of {tool} and no masks: make a data set of them with `segattn data import "
            f"{quote(str(root))} --out DIR`."
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
    if not isinstance(dataset, FileDataset):
        return []
    if is_own(dataset):
        used = Path(dataset.class_list.source).name
        return [
            f"{path.name} names other classes than {used}, which is taken: remove the wrong one."
            for path in contradicting_files(dataset.class_list)
        ]
    sentences = [] if find is None else find(dataset)
    pattern = {**SHIFTED_NAMES, **KNOWN_NAMES}.get(dataset.format)
    if pattern is not None and len(dataset) and not _any_name_fits(dataset, pattern):
        sentences.append(
            f"No file is called as in the data set that the layout {dataset.format} is known for "
            f"({dataset.name_of(0)}), yet its {len(dataset.classes)} classes are taken: are they yours? Name your "
            "own in a classes.txt."
        )
    return sentences


def decision_of(dataset: Dataset) -> str:
    """What the masks are taken to mean, and why, in one line; nothing for what is drawn."""
    if not isinstance(dataset, FileDataset):
        return ""
    classes = dataset.class_list
    source = classes.source if is_own(dataset) else f"the list that the layout {dataset.format} is known for"
    values = "values as in the masks" if classes.counts_from_0 else f"mask values {value_ranges(classes.values)}"
    origin = f"; {dataset.split}: {dataset.files.origin}" if dataset.files.origin else ""
    return f"classes: {len(classes.names)} from {source}, {values}{origin}"


def is_own(dataset: FileDataset) -> bool:
    """Whether the folder itself names its classes."""
    return Path(dataset.class_list.source).parent != FOLDER
