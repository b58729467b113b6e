"""Tables as text: Markdown for documents, CSV for spreadsheets, and the numbers in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; every column but the first is aligned to the right.

    >>> print(markdown_table(["class", "IoU"], [["sky", "0.9"], ["a|b", "–"]]), end="")
    | class | IoU |
    | --- | ---: |
    | sky | 0.9 |
    | a\\|b | – |
    """
    rule = ["---", *["---:"] * (len(headings) - 1)]
    lines = [[_escaped(each) for each in headings], rule, *([_escaped(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def csv_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a row of headings; None is an empty cell.

    >>> csv_table(["class", "iou"], [["sky", 0.5], ["road, wet", None]])
    'class,iou\\nsky,0.5\\n"road, wet",\\n'
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    return buffer.getvalue()


def signed(value: float) -> str:
    """A difference with its sign.

    >>> signed(0.0123), signed(-0.2), signed(-0.0001)
    ('+0.012', '−0.200', '−0.000')
    """
    return f"{value:+.3f}".replace("-", "−") if value else "0.000"


def fraction(value: float) -> str:
    """
    >>> fraction(0.12345), fraction(float("nan"))
    ('0.123', '–')
    """
    return "–" if value != value else f"{value:.3f}"


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("\\", "\\\\").replace("|", "\\|").split())
