"""What an import reads: the files of a folder, and which of its images an annotation means."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from segattn_cli.data.listing import has_image_ending, is_hidden, name_key
from segattn_cli.data.splits import ALIASES
from segattn_cli.errors import DataError

ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}
_SPLITS = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
_NOT_RELATIVE = re.compile(r"/|[a-z]:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def split_called(name: str) -> str | None:
    """The split that a folder, a list or a subset of this name is, where it is one.

    >>> split_called("Valid"), split_called("train2017"), split_called("instances_test"), split_called("default")
    ('val', 'train', 'test', None)
    """
    words = re.findall(r"[a-z]+", name.lower())
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    return splits.pop() if len(splits) == 1 else None


def folded(name: str) -> str:
    """``name`` in the form in which names are compared: composed, without case."""
    return name_key(name).casefold()


class Source:
    """A folder, or one document in a folder.

    Args:
        path: the folder or the document.
        images: the folder that has the images, where it is another one.
        classes: a list of classes that the user gave.
        most_files: how many files are looked at; all by default.

    Raises:
        DataError: where one of them does not exist.
    """

    def __init__(
        self, path: Path, images: Path | None = None, classes: Path | None = None, most_files: int | None = None
    ) -> None:
        for each in filter(None, (path, images)):
            if not os.path.exists(each):
                raise DataError(f"{each} does not exist.")
        if images is not None and not images.is_dir():
            raise DataError(f"{images} is not a folder of images.")
        self.document = None if path.is_dir() else path
        self.root = path.parent if self.document else path
        self.classes = classes
        self.most_files = most_files
        self.images_given = images is not None
        self.images_root = images or self.root
        if path.suffix.lower() in ARCHIVES and self.document:
            raise DataError(f"{path} is an archive: unpack it, and give the folder.")

    @cached_property
    def files(self) -> list[Path]:
        """All files of the folder; hidden and system folders are left out, links are followed."""
        return sorted(islice(_walk(self.root), self.most_files))

    @cached_property
    def images(self) -> list[Path]:
        """All images below the folder, by their endings."""
        files = sorted(_walk(self.images_root)) if self.images_given else self.files
        return [path for path in files if has_image_ending(path.name)]

    def documents(self, *suffixes: str) -> list[Path]:
        """The document that was given, or else all files of the folder, where they have one of these endings."""
        files = [self.document] if self.document else self.files
        return [path for path in files if path.suffix.lower() in suffixes]

    def find_image(self, written: str, document: Path) -> Path | None:
        """The image that a document calls ``written``, or None where there is none.

        It is the file at that path, seen from the document. Otherwise it is the image of that name below the
        nearest folder around the document that has images; of several, the one that has more folders in common with
        the path, or that is in the split that the document is named for. It may have another ending than written.

        Raises:
            DataError: where several are equally likely; and where none is and the path leads out of the folder, or
                is absolute or a URL.
        """
        relative = written.replace("\\", "/")
        parts = [part for part in PurePosixPath(relative).parts if part not in ("/", "..")]
        leads_out = bool(_NOT_RELATIVE.match(relative)) or ".." in PurePosixPath(relative).parts
        here = Path(os.path.normpath(document.parent / relative))
        if not self.images_given and not _NOT_RELATIVE.match(relative) and here in self._all_images:
            return here
        scope = self._scope(document.parent)
        name = parts[-1] if parts else ""
        for index, key in ((self._by_name, name), (self._by_stem, PurePosixPath(name).stem)):
            candidates = [path for path in index.get(folded(key), ()) if path.is_relative_to(scope)]
            likeness = {path: self._likeness(path, parts, document) for path in candidates}
            best = [path for path in candidates if likeness[path] == max(likeness.values())]
            if len(best) > 1:
                raise DataError(
                    f"{document} names the image {written}, which may be {best[0]} or {best[1]}: give the folder "
                    "with the right ones as --images DIR."
                )
            if best:
                return best[0]
        if leads_out:
            raise DataError(
                f"{document} names the image {written}, and {scope} has none of that name: give the folder with "
                "the images as --images DIR."
            )
        return None

    def _likeness(self, path: Path, parts: list[str], document: Path) -> tuple[int, bool]:
        folders = path.relative_to(self.images_root).parts[:-1]
        common = 0
        for have, want in zip(reversed(folders), reversed(parts[:-1]), strict=False):
            if folded(have) != folded(want):
                break
            common += 1
        split = split_called(document.stem)
        return common, split is not None and split in map(split_called, folders)

    def _scope(self, folder: Path) -> Path:
        """The nearest folder from this one upwards that has images below it."""
        if self.images_given:
            return self.images_root
        return next((each for each in (folder, *folder.parents) if each in self._folders_of_images), self.root)

    @cached_property
    def _all_images(self) -> set[Path]:
        return {Path(os.path.normpath(path)) for path in self.images}

    @cached_property
    def _folders_of_images(self) -> set[Path]:
        return {parent for path in self.images for parent in path.parents if parent.is_relative_to(self.root)}

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _index(self.images, lambda path: path.name)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _index(self.images, lambda path: path.stem)


def _index(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    index = defaultdict(list)
    for path in paths:
        index[folded(key(path))].append(path)
    return index


def _walk(root: Path) -> Iterator[Path]:
    """The files below ``root``; each folder once, whatever links lead to it."""
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        paths = (Path(folder, name) for name in names if not is_hidden(name))
        yield from (path for path in paths if path.is_file() or not path.exists())  # no pipes, which block
