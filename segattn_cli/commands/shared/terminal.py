"""Lines for a terminal, which obeys more than letters."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from segattn_cli.errors import printable

if TYPE_CHECKING:
    from segattn_cli.data.listing import LeftOut


def say(line: str) -> None:
    """A result, on standard output."""
    print(printable(line), flush=True)


def remark(sentence: str) -> None:
    """What a person watching may want to know, on standard error."""
    print(printable(sentence), file=sys.stderr, flush=True)


def remark_left_out(left_out: Iterable[LeftOut]) -> None:
    """What of a folder is not taken, and why."""
    from segattn_cli.data.listing import summarise_left_out

    clauses = summarise_left_out(left_out)
    if clauses:
        remark(f"Left out: {'; '.join(clauses)}.")


def complain(sentence: str) -> None:
    """What went wrong, on standard error."""
    print(printable(f"segattn: {sentence}"), file=sys.stderr, flush=True)
