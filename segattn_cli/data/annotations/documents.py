"""JSON, XML and text of other people: whatever is wrong with a file ends in one sentence that names it."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Annotated, TypeVar
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from segattn_cli.data.class_files import read_text
from segattn_cli.errors import DataError

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
#: No coordinate is larger, in pixels; products of two are exact up to here.
LARGEST = 1e7
Coordinate = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
#: Of an image, in pixels.
Length = Annotated[int, Field(ge=0, le=int(LARGEST))]
T = TypeVar("T")
_SEEN = 1 << 18  # bytes


class Schema(BaseModel):
    """What a file has to hold; what else is in it does not matter."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


def read_json(path: Path, kind: TypeAdapter[T]) -> T:
    """The content of a JSON file, which has to be of this ``kind``."""
    text = read_text(path)
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = _place(first["loc"])
        raise DataError(f"{path} cannot be used{place}: {first['msg']}.") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply.") from None


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of an XML file without definitions: an entity of a few letters can stand for gigabytes."""
    try:
        data = path.read_bytes()
        return ElementTree.fromstring(data, ElementTree.XMLParser(target=_WithoutDoctype()))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path} is not well-formed XML ({error}).") from None
    except _Doctype:
        raise DataError(f"{path} has a document type definition, which no annotation tool writes.") from None


class _Doctype(Exception):
    pass


class _WithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _Doctype


def _place(parts: tuple[int | str, ...]) -> str:
    """
    >>> _place(("images", 3, "file_name"))
    ' at images[3].file_name'
    """
    keys = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts if "[" not in str(part)]
    return f" at {''.join(keys).lstrip('.')}" if keys else ""



def has_keys(path: Path, opening: str, *keys: str) -> bool:
    """Whether a JSON file seems to be an object (``opening`` is ``{``) or a list (``[``) with these keys in it.

    Looks into the beginning and the end of it: some are as large as a data set.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_SEEN)
            if len(text) == _SEEN:
                file.seek(max(_SEEN, path.stat().st_size - _SEEN))
                text += file.read(_SEEN)
    except OSError:
        return False
    for bom, encoding in _BOMS.items():
        if text.startswith(bom):
            text = text.decode(encoding, "ignore").encode()
    return text.lstrip().startswith(opening.encode()) and all(f'"{key}"'.encode() in text for key in keys)
