"""What an import will write, decided before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from segattn_cli.data.annotations.class_table import ClassTable, Unlabelled, class_table, read_class_colours
from segattn_cli.data.annotations.model import Notes, Overlaps, Rules
from segattn_cli.data.annotations.naming import complete_splits, find_splits, unique_names
from segattn_cli.data.annotations.resolving import ResolvedImage, resolve
from segattn_cli.data.annotations.source import Source
from segattn_cli.data.annotations.tools import TOOLS, resolve_tool
from segattn_cli.errors import DataError, counted


@dataclass(frozen=True)
class ImportOptions:
    """How to import annotations.

    Args:
        format: a name in :data:`TOOLS`, or ``auto``.
        classes: a list of classes, in the order of their values, in place of the tool's own.
        images: the folder with the images, where it is not below the source.
        val: the fraction of the images to validate on, where the source has no split for it.
        overlaps: which of two outlines a common pixel belongs to; by default as the tool has it.
        unlabelled: what pixels outside of all outlines become.
        unannotated: whether to take images that nobody has annotated, as unlabelled.
    """

    format: str = "auto"
    classes: Path | None = None
    images: Path | None = None
    val: float = 0.2
    overlaps: Overlaps | None = None
    unlabelled: Unlabelled = "background"
    unannotated: bool = False


@dataclass(frozen=True)
class PlannedImage:
    """An image to be written as ``images/{split}/{name}{suffix}``, with its mask."""

    image: ResolvedImage
    split: str
    name: str


@dataclass(frozen=True)
class ImportPlan:
    """What an import will write."""

    format: str
    images: tuple[PlannedImage, ...]
    classes: ClassTable
    overlaps: Overlaps
    notes: Notes
    drawn: bool  # whether val was drawn, and not found

    @property
    def rules(self) -> Rules:
        """How the annotations become label maps."""
        return Rules(self.classes.values, self.classes.background, self.overlaps)


def plan_import(path: Path, options: ImportOptions) -> ImportPlan:
    """Read all annotations at ``path``, a folder or a document, and decide what becomes of them.

    Raises:
        DataError: for documents that cannot be used, and where no image is left to import.
    """
    source = Source(path, options.images, options.classes)
    format = resolve_tool(source, options.format)
    notes = Notes(source.root)
    annotations = TOOLS[format].read(source, notes)
    images = resolve(annotations.images, source, notes)
    images = _without_unannotated(images, options, notes)
    labels = sum((each.annotated.annotation.labels for each in images if each.annotated.annotation), Counter[str]())
    if not images or not (labels or annotations.complete):
        raise DataError(_why_nothing(path, images, notes))
    splits = find_splits(images, source)
    names = unique_names(images, splits, source, notes)
    complete = complete_splits(splits, names, options.val)
    planned = [PlannedImage(*each) for each in zip(images, complete, names, strict=True)]
    planned.sort(key=lambda each: (each.split, each.name))
    listed = annotations.classes if options.classes is None else read_class_colours(options.classes)
    listed = listed or dict.fromkeys(sorted(labels))
    classes = class_table(listed, labels, options.unlabelled, notes, complete=annotations.complete)
    overlaps = options.overlaps or annotations.overlaps
    return ImportPlan(format, tuple(planned), classes, overlaps, notes, "val" not in splits)


def _without_unannotated(images: list[ResolvedImage], options: ImportOptions, notes: Notes) -> list[ResolvedImage]:
    for each in images:
        if each.annotated.annotation is None:
            if options.unannotated:
                notes.choose("images that nobody has annotated are taken as unlabelled", each.annotated.name)
            else:
                notes.leave_out("images that nobody has annotated", each.annotated.name)
    return [each for each in images if options.unannotated or each.annotated.annotation is not None]


def _why_nothing(path: Path, images: list[ResolvedImage], notes: Notes) -> str:
    if notes.refused:
        more = f" (and {counted(len(notes.refused) - 1, 'more image')})" if len(notes.refused) > 1 else ""
        return f"{path} has nothing to import: {notes.refused[0].removesuffix('.')}{more}."
    if images:
        return f"{path} has no outlines with labels, of which masks could be made."
    reasons = "; ".join(f"{noted.count} {what}" for what, noted in notes.left_out.items())
    return f"{path} has no images to import{f': {reasons}' if reasons else ''}."
