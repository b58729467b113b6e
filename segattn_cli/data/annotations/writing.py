"""Writing an import as a data set of plain folders."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segattn_cli.data.annotations.class_table import ClassTable
from segattn_cli.data.annotations.model import Notes, Painted
from segattn_cli.data.annotations.planning import ImportPlan, PlannedImage
from segattn_cli.data.annotations.resolving import ResolvedImage
from segattn_cli.data.formats.plain_folder import CLASSES_FILE, write_classes
from segattn_cli.data.images import SUFFIXES
from segattn_cli.data.masks import IGNORE_LABEL, Colour, read_mask
from segattn_cli.data.palettes import write_label_png
from segattn_cli.errors import DataError, OutputError

#: How many unknown colours an error lists.
SHOWN_COLOURS = 5


@dataclass
class ImportTotals:
    """What an import has written."""

    classes: ClassTable | None = None
    images: Counter[str] = field(default_factory=Counter)  # by split
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # by value
    unlabelled: int = 0  # pixels
    unknown: Counter[Colour] = field(default_factory=Counter)  # pixels by colour
    first_unknown: dict[Colour, Path] = field(default_factory=dict)


def write_import(
    plan: ImportPlan, out: Path, totals: ImportTotals, *, link: bool = False
) -> Iterator[PlannedImage]:
    """Write a planned import into ``out``, and its ``totals``; yields each image that is done.

    ``classes.txt`` comes last, so that nobody takes a folder that was cut short for a whole one; on an error, or
    where the caller stops, what was written is removed. An image whose annotation does not fit it is refused in the
    notes of the plan.

    Args:
        link: make links to the images in place of copies.

    Raises:
        DataError: for colours that no class has, and where no image is left.
        OutputError: where something cannot be written.
    """
    try:
        for each in plan.images:
            _write(plan, each, out, totals, link)
            yield each
        _finish(plan, out, totals)
    except BaseException as error:
        for folder in ("images", "masks"):
            shutil.rmtree(out / folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise OutputError(f"{error.filename or out} cannot be written: {error.strerror or error}.") from None
        raise


def _write(plan: ImportPlan, each: PlannedImage, out: Path, totals: ImportTotals, link: bool) -> None:
    try:
        painted = each.image.paint(plan.rules)
    except DataError as error:
        reason = str(error).removesuffix(".")
        plan.notes.refuse(f"{each.image.annotated.name} cannot be used: {reason}.")
        return
    _note(painted, each.image, plan, totals)
    images, masks = out / "images" / each.split, out / "masks" / each.split
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    _write_image(each.image, images / each.name, plan.notes, link)
    write_label_png(masks / f"{each.name}.png", painted.label, plan.classes.palette)
    totals.images[each.split] += 1
    totals.pixels += np.bincount(painted.label.ravel(), minlength=256)


def _note(painted: Painted, image: ResolvedImage, plan: ImportPlan, totals: ImportTotals) -> None:
    name, notes = image.annotated.name, plan.notes
    totals.unlabelled += painted.unlabelled
    for colour, pixels in painted.unknown.items():
        totals.unknown[colour] += pixels
        totals.first_unknown.setdefault(colour, image.annotated.document)
    if painted.overlapping:
        owner = "the smaller outline" if plan.overlaps == "area" else "the outline that was drawn later"
        notes.choose(f"pixels lie in outlines of several classes and go to {owner}", name, painted.overlapping)
    if painted.holes:
        notes.choose("rings that lie within a ring of the same object are holes in it", name, painted.holes)
    if painted.empty:
        notes.leave_out("outlines that enclose no centre of a pixel", name, painted.empty)


def _write_image(image: ResolvedImage, path: Path, notes: Notes, link: bool) -> None:
    """Write an image to ``path`` and an ending: the bytes that it has, or a link to its file."""
    file = image.file
    if not isinstance(file, Path):
        path.with_name(path.name + image.facts.suffix).write_bytes(file.read())
        if link:
            notes.choose("images stand in their JSON and are written, not linked", image.annotated.name)
        return
    suffix = file.suffix if file.suffix.lower() in SUFFIXES else image.facts.suffix
    target = path.with_name(path.name + suffix)
    if link:
        target.symlink_to(os.path.abspath(file))
    else:
        shutil.copyfile(file, target)


def _finish(plan: ImportPlan, out: Path, totals: ImportTotals) -> None:
    if totals.unknown:
        raise DataError(_unknown_colours(totals))
    if not totals.images:
        raise DataError(f"No image is left to import: {plan.notes.refused[0]}")
    classes = plan.classes
    if classes.added and not totals.unlabelled and len(classes.names) > 2:
        classes = classes.without_background()
        for path in sorted((out / "masks").rglob("*.png")):
            label = read_mask(path)
            write_label_png(path, np.where(label == IGNORE_LABEL, label, label - 1), classes.palette)
        totals.pixels = np.append(np.roll(totals.pixels[:IGNORE_LABEL], -1), totals.pixels[IGNORE_LABEL:])
    totals.classes = classes
    write_classes(out / CLASSES_FILE, classes.names, classes.palette)


def _unknown_colours(totals: ImportTotals) -> str:
    most = totals.unknown.most_common(SHOWN_COLOURS)
    listed = ", ".join(f"({r}, {g}, {b}) on {pixels} pixels" for (r, g, b), pixels in most)
    more = f" and {len(totals.unknown) - len(most)} colours more" if len(totals.unknown) > len(most) else ""
    return (
        f"The masks have colours that no class has: {listed}{more}, first in {totals.first_unknown[most[0][0]]}. "
        "Add them to the list of colours; where they lie along outlines, the masks were blurred."
    )
