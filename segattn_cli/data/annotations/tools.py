"""The annotation tools whose files can be imported, and which of them a source is from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from segattn_cli.data.annotations import coco, colours, cvat, label_studio, labelme, yolo
from segattn_cli.data.annotations.model import Annotations, Notes
from segattn_cli.data.annotations.source import Source
from segattn_cli.errors import DataError


class Tool(Protocol):
    """What a module for the files of a tool offers."""

    NAME: str

    def recognise(self, source: Source) -> bool: ...
    def read(self, source: Source, notes: Notes) -> Annotations: ...


#: How many files of a folder tell what it is.
MOST_FILES = 10_000
#: By the names of their formats.
TOOLS: dict[str, Tool] = {
    "coco": coco,
    "labelme": labelme,
    "cvat": cvat,
    "label-studio": label_studio,
    "yolo": yolo,
    "colours": colours,
}


def recognised(source: Source) -> list[str]:
    """The formats of which ``source`` has files."""
    return [name for name, tool in TOOLS.items() if tool.recognise(source)]


def foreign_annotations(root: Path) -> str | None:
    """The tool whose polygons a folder has, if it has some; of a large folder only a part is looked at."""
    formats = [name for name in recognised(Source(root, most_files=MOST_FILES)) if name != "colours"]
    return TOOLS[formats[0]].NAME if formats else None


def resolve_tool(source: Source, format: str) -> str:
    """The one format that ``auto`` stands for; another is returned as it is.

    Raises:
        DataError: where ``source`` has files of no format, or of several.
    """
    if format != "auto":
        return format
    formats = recognised(source)
    given = source.document or source.root
    if len(formats) > 1:
        raise DataError(f"{given} has annotations as {' and as '.join(formats)}: choose one with --format.")
    if not formats:
        raise DataError(
            f"{given} has no annotations that are known ({', '.join(TOOLS)}): give a tool's export, unpacked, or "
            "say with --format what it is."
        )
    return formats[0]
