"""Plain folders: ``images/{split}/X.*``, ``masks/{split}/X.png`` and a ``classes.txt``.

``classes.txt`` names one class per line, in the order of the mask values from 0, optionally followed by its colour
(``road 128 64 128``). Blank lines and lines that begin with ``#`` do not count. 255 is void.

``images/X.*`` and ``masks/X.png`` without folders for splits do as well: of the names in the order of their CRC-32,
the first fifth (at least one) is ``val`` and the rest ``train``; ``all`` is every picture, in the order of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from PIL import Image

from segattn_cli.data.class_files import find_class_file, read_class_file
from segattn_cli.data.dataset import Dataset, FileDataset, find_images, match_masks, require_split
from segattn_cli.data.palettes import write_label_png
from segattn_cli.errors import DataError, OutputError

CLASSES_FILE = "classes.txt"


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
    classes = read_class_file(find_class_file(root) or root / CLASSES_FILE)
    subfolder = split if (root / "images" / split).is_dir() else ""
    images, masks = root / "images" / subfolder, root / "masks" / subfolder
    if not masks.is_dir():
        raise DataError(f"{images} has pictures, but the folder {masks} of their masks is missing.")
    found = find_images(images)
    chosen = {name: found[name] for name in (found if subfolder else _split_names(list(found), split))}
    pairs = match_masks(chosen, find_images(masks), masks)
    return FileDataset(root.name, "folder", split, classes, pairs, size)


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
