"""Plain folders of images and of masks, and the list of classes beside them (``classes.txt`` and others).

    images/{split}/X.*   masks/{split}/X.png     also img_dir/ and ann_dir/ (mmsegmentation), images/ and labels/
    {split}/images/X.*   {split}/masks/X.png     also NAME/img/ and NAME/masks_machine/ (Supervisely)
    images/X.*           masks/X.png             splits are lists (train.txt, val.txt), or drawn
    {split}/X.*          {split}/X_mask.png      masks beside their images (Roboflow), also without splits

``classes.txt`` names one class per line, in the order of the mask values from 0, optionally followed by its
colour (``road 128 64 128``). Blank lines and lines that begin with ``#`` do not count. 255 is ignored. The mask of
``X`` may also be called ``X_mask.png``, ``X_label.png`` and the like.

Without folders and lists for splits, they are drawn: of the names in the order of their CRC-32, the first fifth (at
least one) is ``val`` and the rest ``train``; ``all`` is every image, in the order of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from segattn_cli.data.class_files import CLASS_FILES, class_lines, find_class_file, read_class_file
from segattn_cli.data.dataset import MASK_ENDINGS, Dataset, FileDataset, Files, listed_files, mask_of, match_masks
from segattn_cli.data.images import image_png
from segattn_cli.data.listing import (
    NO_SPLIT,
    NOT_LISTED,
    OTHER_MASKS,
    LeftOut,
    Listing,
    has_image_ending,
    is_hidden,
    list_images,
    name_key,
    subfolders,
)
from segattn_cli.data.lists import ListRow, Tree, read_rows
from segattn_cli.data.palettes import label_png
from segattn_cli.data.splits import ALIASES, DRAWN, draw_split, named_splits, require_split, split_name
from segattn_cli.errors import DataError, OutputError
from segattn_cli.files import write_atomically

CLASSES_FILE = "classes.txt"
#: Folders of images and of their masks, as people and tools call them.
FOLDERS = (
    ("images", "masks"), ("images", "labels"), ("images", "annotations"), ("img_dir", "ann_dir"),
    ("img", "masks_machine"), ("imgs", "masks"), ("image", "mask"),
)  # fmt: skip
#: Where the lists of a folder lie, and their endings.
_LIST_FOLDERS = ("", "splits", "lists", "ImageSets", "ImageSets/Segmentation", "ImageSets/Main")
_LIST_ENDINGS = (".txt", ".csv")


class SplitFolders(NamedTuple):
    """The folders of the images and of the masks of a split: one folder where masks are called ``X_mask``."""

    images: Path
    masks: Path


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return bool(_split_folders(root))


def has_masks(root: Path) -> bool:
    """Whether there is any image where this layout has its masks."""
    mask_folders = {folders.masks for folders in _split_folders(root).values() if folders.masks.is_dir()}
    return any(has_image_ending(path.name) for folder in mask_folders for path in folder.iterdir())


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has: folders, lists, or those that are drawn."""
    folders_of = _split_folders(root)
    if list(folders_of) != [""]:
        return tuple(folders_of)
    return tuple(_lists(root)) or DRAWN


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    known = splits(root)
    split = split if split in known else split_name(split)
    require_split(split, known, root)
    folders_of = _split_folders(root)
    folders = folders_of.get(split) or folders_of[""]
    class_file = find_class_file(root) or find_class_file(folders.images) or find_class_file(folders.images.parent)
    classes = read_class_file(class_file or root / CLASSES_FILE)
    if not folders.masks.is_dir():
        raise DataError(f"{folders.images} has images, but the folder {folders.masks} of their masks is missing.")
    images, masks = _listings(folders)
    if split in folders_of:
        files = match_masks(images, masks, folders.masks)
    elif lists := _lists(root):
        files = _listed(root, folders, images, masks, lists, split)
    else:
        files = match_masks(images, masks, folders.masks, chosen=draw_split(list(images.images), split))
        left_out = (*files.left_out, *_unused_lists(root, folders))
        files = replace(files, left_out=left_out, origin="split by file name")
    files = replace(files, left_out=(*files.left_out, *_other_masks(root, folders)))
    return FileDataset(root.name, "folder", split, classes, files, size)


def _other_masks(root: Path, folders: SplitFolders) -> list[LeftOut]:
    """Folders in ``root`` that could have been taken for that of the masks, and have images."""
    inside = {name: path for name, path in subfolders(root).items() if path not in folders.masks.parents}
    names = {masks for _, masks in FOLDERS if masks in inside and inside[masks] != folders.masks}
    return [
        LeftOut(inside[name], OTHER_MASKS) for name in sorted(names)
        if any(list_images(path).images for path in (inside[name], *subfolders(inside[name]).values()))
    ]  # fmt: skip


def _split_folders(root: Path) -> dict[str, SplitFolders]:
    """The folders of each split; of all images, under the name ``""``, where no folders divide them."""
    if not root.is_dir():
        return {}
    inside = subfolders(root)
    candidates = [pair for pair in FOLDERS if pair[0] in inside]
    for images, masks in sorted(candidates, key=lambda pair: pair[1] not in inside):
        return _divided(inside[images], root / masks)
    for images, masks in FOLDERS:
        parents = [path for path in inside.values() if (path / images).is_dir() and (path / masks).is_dir()]
        named = [path for path in parents if split_name(path.name) in ALIASES]
        if named:
            divided = named_splits(named)
            return {split: SplitFolders(path / images, path / masks) for split, path in divided.items()}
        if len(parents) == 1 and images == "img":  # Supervisely
            return {"": SplitFolders(parents[0] / images, parents[0] / masks)}
    beside = {
        name: path for name, path in inside.items() if split_name(name) in ALIASES and _has_masks_beside(path)
    }
    if beside:
        return {split: SplitFolders(path, path) for split, path in named_splits(beside.values()).items()}
    return {"": SplitFolders(root, root)} if _has_masks_beside(root) else {}


def _divided(images: Path, masks: Path) -> dict[str, SplitFolders]:
    """The splits for which ``images`` has folders; all in one where it has none, or images beside them."""
    folders = subfolders(images)
    if not masks.is_dir() and _has_masks_beside(images):
        masks = images
    chosen = {
        name: path for name, path in folders.items()
        if (masks / path.name).is_dir() or split_name(name) in ALIASES or not list_images(images).images
    }  # fmt: skip
    if not chosen:
        return {"": SplitFolders(images, masks)}
    named = named_splits(chosen.values())
    return {split: SplitFolders(path, masks / path.name) for split, path in named.items()}


def _has_masks_beside(folder: Path) -> bool:
    """Whether the masks of images lie beside them, as ``X_mask.png``."""
    names = {name_key(path.stem) for path in folder.iterdir() if path.suffix}
    return any(
        name.removesuffix(ending) in names for name in names for ending in MASK_ENDINGS[1:] if name.endswith(ending)
    )


def _listings(folders: SplitFolders) -> tuple[Listing, Listing]:
    """The images and the masks in ``folders``."""
    images = list_images(folders.images)
    if folders.images != folders.masks:
        return images, list_images(folders.masks)
    masks = {
        name: path for name, path in images.images.items()
        if any(name.endswith(end) and name.removesuffix(end) in images.images for end in MASK_ENDINGS[1:])
    }  # fmt: skip
    return Listing({n: p for n, p in images.images.items() if n not in masks}, images.left_out), Listing(masks, [])


def _lists(root: Path) -> dict[str, Path]:
    """The lists of splits that lie in ``root``, in the first of the folders for them that has any."""
    for folder in _LIST_FOLDERS:
        if not (root / folder).is_dir():
            continue
        paths = [path for path in (root / folder).iterdir() if path.suffix.lower() in _LIST_ENDINGS]
        known = [path for path in paths if split_name(path.stem) in ALIASES or path.stem in ("trainval", "all")]
        if known:
            return named_splits(known)
    return {}


def _unused_lists(root: Path, folders: SplitFolders) -> list[LeftOut]:
    """Files in ``root`` that list images and are not called like a split, such as ``splits.csv``."""
    tree = Tree(root)

    def exists(written: str) -> bool:
        return tree.find(written, (folders.images.relative_to(root).as_posix(),)) is not None

    unused = []
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in _LIST_ENDINGS and path.name not in CLASS_FILES and not is_hidden(path.name):
            with suppress(DataError):  # which may be anything
                unused += [LeftOut(path, NO_SPLIT)] * any(exists(row.image) for row in read_rows(path, exists))
    return unused


def _listed(
    root: Path, folders: SplitFolders, images: Listing, masks: Listing, lists: dict[str, Path], split: str
) -> Files:
    """The pairs that the list of ``split`` names; images that no list names are left out."""
    tree = Tree(root)
    image_folder, mask_folder = (path.relative_to(root).as_posix() for path in folders)

    def image_of(written: str) -> Path | None:
        return tree.find(written, (image_folder,))

    def find(row: ListRow) -> tuple[Path | None, Path | None]:
        image = image_of(row.image)
        if row.mask is not None:
            return image, tree.find(row.mask, (mask_folder,))
        return image, None if image is None else mask_of(name_key(image.stem), image, masks.images)

    def exists(written: str) -> bool:
        return image_of(written) is not None or tree.find(written, (mask_folder,)) is not None

    rows = {name: read_rows(path, exists) for name, path in lists.items()}
    files = listed_files(lists[split], root, rows[split], find, mask_folder)
    named = {image_of(row.image) for each in rows.values() for row in each}
    unlisted = [LeftOut(path, NOT_LISTED) for path in images.images.values() if path not in named]
    left_out = (*images.left_out, *masks.left_out, *unlisted, *files.left_out)
    return replace(files, left_out=left_out)


def write_folder(dataset: Dataset, out: Path) -> Iterator[str]:
    """Write ``dataset`` into ``out`` in this layout, without splits; yields the names written.

    ``classes.txt`` is written last: an incomplete folder has none, and cannot be opened.

    Raises:
        OutputError: where something cannot be written.
    """
    try:
        for folder in ("images", "masks"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for index in range(len(dataset)):
            image, label, name = dataset.load(index)
            write_atomically(out / "images" / f"{name}.png", image_png(Image.fromarray(image)))
            write_atomically(out / "masks" / f"{name}.png", label_png(label, dataset.palette))
            yield name
        write_classes(out / CLASSES_FILE, dataset.classes, dataset.palette)
    except OSError as error:
        raise OutputError(f"{error.filename or out} cannot be written: {error.strerror or error}.") from error


def write_classes(path: Path, names: Sequence[str], palette: np.ndarray) -> None:
    """Write names and colours ``(K, 3)`` as :func:`~segattn_cli.data.class_files.read_class_file` reads them."""
    write_atomically(path, class_lines(names, palette).encode())
