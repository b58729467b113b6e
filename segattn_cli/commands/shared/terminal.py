"""Printed text: wrapped at words on a terminal, never wrapped in a file or a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from segattn_cli.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from segattn_cli.data.listing import LeftOut

#: A width that no table or sentence reaches.
UNWRAPPED = 100_000


def console() -> Console:
    """Standard output for Rich's tables and markup."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else UNWRAPPED)


def plain(text: object) -> str:
    """``text`` for a :func:`console`, with markup escaped and control characters removed."""
    from rich.markup import escape

    return escape(printable(str(text)))


def say(line: str) -> None:
    """Print a result on standard output."""
    _print(line, sys.stdout)


def show_next(*commands: str) -> None:
    """Print ``commands`` that can come next, each on one line, so that it can be copied."""
    print("\nNext:", *(printable(f"  {each}") for each in commands), sep="\n", flush=True)


def remark(line: str) -> None:
    """Print information that is not a result on standard error."""
    _print(line, sys.stderr)


def remark_left_out(left_out: Iterable[LeftOut]) -> None:
    """Print which files of a folder are left out, and why."""
    from segattn_cli.data.listing import summarise_left_out

    clauses = summarise_left_out(left_out)
    if clauses:
        remark(f"Left out: {'; '.join(clauses)}.")


def complain(sentence: str) -> None:
    """Print a problem on standard error."""
    _print(f"segattn: {sentence}", sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    line = printable(line)
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
    print(line, file=stream, flush=True)
