"""From what a document says about an image to its file, and to the pixels that its annotation was drawn on.

A camera stores an image as its sensor lies, and a tag that turns it (EXIF). Some tools draw on the image as a
screen shows it, others on the stored pixels. The size in the annotation tells which; where it fits both, as for a
half turn, the other images of the source do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segattn_cli.data.annotations.image_facts import ImageFacts, image_facts
from segattn_cli.data.annotations.model import AnnotatedImage, Embedded, Notes, Painted, Rules
from segattn_cli.data.annotations.source import Source
from segattn_cli.errors import DataError


@dataclass(frozen=True)
class ResolvedImage:
    """An annotated image that is there.

    Args:
        drawn_as_stored: whether its annotation was drawn on the stored pixels, before the EXIF tag turns them.
    """

    annotated: AnnotatedImage
    file: Path | Embedded
    facts: ImageFacts
    drawn_as_stored: bool = False

    def read(self) -> bytes:
        """The bytes of the image."""
        return self.file.read() if isinstance(self.file, Embedded) else self.file.read_bytes()

    def paint(self, rules: Rules) -> Painted:
        """The label map of the image as a screen shows it; all background where nobody has annotated it."""
        size = self.facts.size if self.drawn_as_stored else self.facts.upright_size
        if self.annotated.annotation is None:
            return Painted(np.full(size, rules.background, np.uint8), unlabelled=size[0] * size[1])
        painted = self.annotated.annotation.paint(size, rules)
        return painted._replace(label=self.facts.turned(painted.label)) if self.drawn_as_stored else painted


def resolve(images: Iterable[AnnotatedImage], source: Source, notes: Notes) -> list[ResolvedImage]:
    """Those of the images that can be imported; the others are refused in ``notes``.

    Raises:
        DataError: where a document names an image that may be several, or that lies elsewhere.
    """
    resolved = []
    mentioned: set[Path] = set()
    for annotated in images:
        file = _file(annotated, source, notes)
        mentioned |= {path for path in (file, annotated.document) if isinstance(path, Path)}
        if file is None:
            notes.refuse(f"{annotated.name}: there is no image of this name below {source.images_root}.")
            continue
        try:
            data = file.read() if isinstance(file, Embedded) else file
            resolved.append(ResolvedImage(annotated, file, image_facts(data, annotated.name)))
        except DataError as error:
            notes.refuse(str(error))
    for path in source.images:
        if path not in mentioned:
            notes.leave_out("images that no annotation names", str(path))
    return _oriented(_annotated_once(resolved, notes), notes)


def _file(annotated: AnnotatedImage, source: Source, notes: Notes) -> Path | Embedded | None:
    """The file of an image, or the image itself, if it stands in its document and is not that file."""
    image, document = annotated.image, annotated.document
    if isinstance(image, Path):
        return image
    if isinstance(image, tuple):
        return next(filter(None, (source.find_image(written, document) for written in image)), None)
    with suppress(DataError):
        file = source.find_image(image.written, document)
        if file is not None and file.read_bytes() == image.read():
            return file
        if file is not None:
            notes.choose("images that stand in their JSON and differ from the file: the one in the JSON", str(file))
    return image


def _annotated_once(resolved: list[ResolvedImage], notes: Notes) -> list[ResolvedImage]:
    """Without the images that several documents, or several entries of one, annotate."""
    users: dict[object, list[ResolvedImage]] = defaultdict(list)
    for each in resolved:
        users[each.file if isinstance(each.file, Path) else id(each)].append(each)
    for file, twins in users.items():
        if len(twins) > 1:
            first, second = (twin.annotated.document for twin in twins[:2])
            which = f"twice in {first}" if first == second else f"in {first} and in {second}"
            notes.refuse(f"{file} is annotated {which}: keep one of them.")
    return [twins[0] for twins in users.values() if len(twins) == 1]


def _oriented(resolved: list[ResolvedImage], notes: Notes) -> list[ResolvedImage]:
    """The images whose size is that of their annotation, with ``drawn_as_stored`` as the sizes tell."""
    fits = []
    for each in resolved:
        size, facts = each.annotated.size, each.facts
        fits.append((size in (None, facts.upright_size), size in (None, facts.size)))
    stored = (False, True) in fits and (True, False) not in fits
    oriented = []
    for each, (fits_upright, fits_stored) in zip(resolved, fits, strict=True):
        if not fits_upright and not fits_stored:
            (height, width), (wanted_height, wanted_width) = each.facts.upright_size, each.annotated.size or (0, 0)
            notes.refuse(
                f"{each.annotated.name} is {width}×{height}, but its annotation was made for "
                f"{wanted_width}×{wanted_height} (width×height): give the image that was annotated."
            )
            continue
        as_stored = stored if fits_upright and fits_stored else fits_stored
        if each.facts.orientation != 1 and as_stored:
            what = "annotations were drawn on the stored pixels and are turned as EXIF turns the image"
            notes.choose(what, each.annotated.name)
        elif each.facts.orientation != 1 and fits_stored:
            what = "sizes do not tell if EXIF had turned the image when it was annotated: taken as if it had"
            notes.choose(what, each.annotated.name)
        oriented.append(replace(each, drawn_as_stored=as_stored and each.facts.orientation != 1))
    return oriented
