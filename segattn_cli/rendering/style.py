"""Colours of charts and overlays, and how fractions, amounts of memory and shapes are written."""

from __future__ import annotations

from collections.abc import Iterable

PAPER = (250, 250, 248)
INK = (38, 38, 42)
PALE_INK = (120, 120, 126)
#: The colours of Okabe and Ito for lines on white; yellow is left out, black is for totals.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def hex_colour(colour: tuple[int, int, int]) -> str:
    """A colour as Matplotlib takes it.

    >>> hex_colour((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage; one that would round to 0 and is not 0 is written as ``< 0.1 %``.

    >>> percent(0.1234), percent(0.0001), percent(0), percent(0.0001, 2)
    ('12.3 %', '< 0.1 %', '0.0 %', '0.01 %')
    """
    least = 10**-digits
    return f"< {least:.{digits}f} %" if 0 < 100 * fraction < least / 2 else f"{100 * fraction:.{digits}f} %"


def megabytes(size: int, digits: int = 1) -> str:
    """A number of bytes.

    >>> megabytes(1_234_567), megabytes(5_300_000_000, 0)
    ('1.2 MB', '5,300 MB')
    """
    return f"{size / 1e6:,.{digits}f} MB"


def dimensions(shape: Iterable[int]) -> str:
    """
    >>> dimensions((360, 480))
    '360×480'
    """
    return "×".join(map(str, shape))
