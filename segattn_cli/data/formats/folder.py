"""Plain folders: ``images/{split}/X.*``, ``masks/{split}/X.png`` and a ``classes.txt``.

``classes.txt`` names one class per line, in the order of the mask values from 0, optionally followed by its colour
(``road 128 64 128``). Blank lines and lines that begin with ``#`` do not count. 255 is void.

``images/X.*`` and ``masks/X.png`` without folders for splits do as well: of the names in the order of their CRC-32,
the first fifth (at least one) is ``val`` and the rest ``train``; ``all`` is every picture, in the order of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from segattn_cli.data.dataset import IGNORE_LABEL, Dataset, FileDataset, find_images, match_masks, require_split
from segattn_cli.data.palettes import default_palette, write_label_png
from segattn_cli.errors import DataError, OutputError

CLASSES_FILE = "classes.txt"
_COLOUR = re.compile(r"^(?P<name>.*?)[\s,;:]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})$")


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return (root / "images").is_dir()


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has: its folders, or those of the rule for pictures without folders."""
    if not (root / "images").is_dir():
        return ()
    folders = sorted(path.name for path in (root / "images").iterdir() if path.is_dir())
    return tuple(folders) or ("train", "val", "all")


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    require_split(split, splits(root), root)
    classes, palette = read_classes(root / CLASSES_FILE)
    subfolder = split if (root / "images" / split).is_dir() else ""
    images, masks = root / "images" / subfolder, root / "masks" / subfolder
    if not masks.is_dir():
        raise DataError(f"{images} has pictures, but the folder {masks} of their masks is missing.")
    found = find_images(images)
    chosen = {name: found[name] for name in (found if subfolder else _split_names(list(found), split))}
    pairs = match_masks(chosen, find_images(masks), masks)
    return FileDataset(root.name, "folder", split, classes, palette, pairs, size=size)


def read_classes(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and colours ``(K, 3)`` from a ``classes.txt``; colours of its own where a class has none.

    Raises:
        DataError: where the file is missing, empty, names a class twice, or not 2 to 255 classes.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: write one class name per line, in the order of the mask values from 0."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    matches = [_COLOUR.match(line) for line in lines]
    names = tuple(match["name"] if match else line for line, match in zip(lines, matches, strict=True))
    if not 2 <= len(names) <= IGNORE_LABEL:
        raise DataError(f"{path} names {len(names)} classes: 2 to {IGNORE_LABEL} can be told apart in a mask.")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(f"{path} names the class {twice!r} twice.")
    palette = default_palette(len(names))
    for index, match in enumerate(matches):
        if match:
            colour = [int(value) for value in match.groups()[1:]]
            if max(colour) > 255:
                raise DataError(f"{path} gives {names[index]!r} the colour {colour}: values go from 0 to 255.")
            palette[index] = colour
    return names, palette


def write(dataset: Dataset, out: Path) -> Iterator[str]:
    """Write ``dataset`` into ``out`` in this layout, all of its pictures as one ``all``; yields the names written.

    ``classes.txt`` comes last: without it, nobody takes a folder that was cut short for a whole one.

    Raises:
        OutputError: where something cannot be written.
    """
    try:
        for folder in ("images", "masks"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for index in range(len(dataset)):
            image, label, name = dataset.load(index)
            Image.fromarray(image).save(out / "images" / f"{name}.png")
            write_label_png(out / "masks" / f"{name}.png", label, dataset.palette)
            yield name
        lines = [f"{name} {r} {g} {b}" for name, (r, g, b) in zip(dataset.classes, dataset.palette, strict=True)]
        (out / CLASSES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename or out} cannot be written: {error.strerror or error}.") from error


def _split_names(names: list[str], split: str) -> list[str]:
    if split == "all":
        return names
    ordered = sorted(names, key=lambda name: (crc32(name.encode()), name))
    val = set(ordered[: max(1, len(names) // 5)])
    return [name for name in names if (name in val) == (split == "val")]
