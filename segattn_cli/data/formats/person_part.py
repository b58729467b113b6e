"""PASCAL-Person-Part: ``JPEGImages/X.jpg``, ``pascal_person_part_gt/X.png``, and lists; 7 classes of body parts.

The lists are in ``pascal_person_part_trainval_list/``: ``train.txt`` and ``val.txt`` name an image and its mask on
each line, ``train_id.txt`` and ``val_id.txt`` a name. They also count in the folder itself. The images are those
of VOC 2010. Masks hold 0 background, 1 head, 2 torso, 3 upper arms, 4 lower arms, 5 upper legs, 6 lower legs, and
255 for what is ignored. Other sources of this data set number the parts in other ways: a ``classes.txt`` in the
folder says so.

Layout: http://liangchiehchen.com/projects/DeepLab.html
"""

from __future__ import annotations

from pathlib import Path

from segattn_cli.data.dataset import FileDataset, listed_files
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.lists import ListRow, Tree, read_rows
from segattn_cli.data.splits import require_split
from segattn_cli.errors import DataError

_IMAGES, _MASKS = "JPEGImages", "pascal_person_part_gt"
_LISTS = "pascal_person_part_trainval_list"
_SPLITS = ("train", "val", "trainval")


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return (root / _MASKS).is_dir()


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has a list of."""
    return tuple(split for split in _SPLITS if _list_of(root, split) is not None)


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    require_split(split, splits(root), root)
    list_path = _list_of(root, split)
    assert list_path is not None
    if not (root / _IMAGES).is_dir():
        raise DataError(f"{root / _IMAGES} is missing: link or move the folder of that name of VOC 2010 there.")
    tree = Tree(root)

    def image_of(written: str) -> Path | None:
        return tree.find(written, (_IMAGES,))

    def find(row: ListRow) -> tuple[Path | None, Path | None]:
        image = image_of(row.image)
        name = "" if image is None else image.stem
        return image, tree.find(row.mask) if row.mask else tree.find(name, (_MASKS,))

    rows = read_rows(list_path, lambda written: image_of(written) is not None or tree.find(written) is not None)
    files = listed_files(list_path, root, rows, find, _MASKS)
    return FileDataset(root.name, "person-part", split, known_classes("person-part"), files, size)


def _list_of(root: Path, split: str) -> Path | None:
    candidates = [root / folder / f"{split}{ending}.txt" for folder in (_LISTS, "") for ending in ("_id", "")]
    return next((path for path in candidates if path.is_file()), None)
