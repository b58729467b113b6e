"""Lines for a terminal, which obeys more than letters."""

from __future__ import annotations

import sys

from segattn_cli.errors import printable


def say(line: str) -> None:
    """A result, on standard output."""
    print(printable(line), flush=True)


def remark(sentence: str) -> None:
    """What a person watching may want to know, on standard error."""
    print(printable(sentence), file=sys.stderr, flush=True)


def complain(sentence: str) -> None:
    """What went wrong, on standard error."""
    print(printable(f"segattn: {sentence}"), file=sys.stderr, flush=True)
