"""Fonts that can write the names of classes in any script, where the system has one; and no markup in names.

DejaVu Sans comes with Matplotlib. What it lacks is taken from the first of :data:`FAMILIES` that is installed. A
character that no font has is written as its code (``\\u5929``), not as a box.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Families with many scripts, of Linux, Windows and macOS.
FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Source Han Sans",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Microsoft YaHei", "Yu Gothic", "Meiryo",
    "Malgun Gothic", "SimHei", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS",
    "Noto Sans", "Noto Sans Devanagari", "Noto Sans Thai", "Unifont",
)  # fmt: skip
_DEFAULT = "DejaVu Sans"
#: Characters of a name that are drawn: a longer one would make an image of any size.
LONGEST = 60


def writable(text: str) -> str:
    """``text``, shortened to :data:`LONGEST` characters, with a code in place of each that no font has.

    >>> writable("Straße ≤ 3"), writable("\\U0010fffd")
    ('Straße ≤ 3', '\\\\U0010fffd')
    """
    known = frozenset[int]().union(*map(_characters, _paths().values()))
    return "".join(each if ord(each) in known else _code(each) for each in _shortened(text))


def font_for(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """``text`` as it can be written, and the font that has the most of its characters, for Pillow.

    A longer text is shortened to :data:`LONGEST` characters.
    """
    text = _shortened(text)
    wanted = set(map(ord, text))
    path = max(_paths().values(), key=lambda path: len(wanted & _characters(path)))  # the first of equals
    return "".join(each if ord(each) in _characters(path) else _code(each) for each in text), _font(path, size)


def write_plainly(figure: Figure) -> None:
    """Let the texts of ``figure`` be what they are: ``$`` begins no formula, and all scripts are written."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    families = list(_paths())
    for text in figure.findobj(Text):
        text.set(parse_math=False, fontfamily=families)
    with rc_context({"text.parse_math": False, "font.family": families}):
        figure.draw_without_rendering()  # ticks are made, and their labels get their texts
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(text.get_text().startswith("$\\mathdefault"))  # Matplotlib's own powers of ten


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _code(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


@cache
def _paths() -> dict[str, str]:
    """The file of each family that is installed, the default first.

    Matplotlib's own list is from its first use, and lacks what has been installed since.
    """
    from matplotlib import get_data_path
    from matplotlib.font_manager import findSystemFonts, fontManager

    for path in sorted({*findSystemFonts()} - {entry.fname for entry in fontManager.ttflist}):
        with suppress(Exception):  # damaged, or of a kind that Matplotlib does not know
            fontManager.addfont(path)
    installed = {entry.name: entry.fname for entry in fontManager.ttflist if entry.style == "normal"}
    others = {name: installed[name] for name in FAMILIES if name in installed}
    return {_DEFAULT: str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), **others}


@cache
def _characters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
