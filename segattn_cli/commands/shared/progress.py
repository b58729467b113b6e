"""Progress on standard error: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from segattn_cli.errors import printable

E = TypeVar("E")

#: Seconds between lines where stderr is no terminal.
QUIET = 5.0


def follow(
    events: Iterable[E], unit: str, note: Callable[[Any], str], *,
    show: Callable[[E], object] = lambda event: None, each: bool = False, total: int | None = None,
) -> E | None:
    """Go through ``events``, show each, and return the last one; None if there is none.

    A progress bar counts ``unit``, with a ``note`` beside it. It follows the events that have ``done`` and
    ``total``; with ``each``, every event is one more, of ``total`` if that is known.
    """
    event = None
    with progress(unit) as advance:
        for number, event in enumerate(events, start=1):
            show(event)
            done = number if each else getattr(event, "done", None)
            if done is not None:
                advance(done, getattr(event, "total", total), printable(note(event)))
    return event


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A function ``advance(done, total, note)`` that shows the progress, counted in ``unit``.

    ``total`` is None where it is unknown. Text can be printed meanwhile.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines(unit)
        return
    bar = Progress(
        TextColumn(unit),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else results would go to the terminal
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, note: bar.update(task, completed=done, total=total, description=note)


def _lines(unit: str) -> Callable[[int, int | None, str], None]:
    shown = time.monotonic()

    def advance(done: int, total: int | None, note: str) -> None:
        nonlocal shown
        if done == total or time.monotonic() - shown >= QUIET:
            shown = time.monotonic()
            of = "" if total is None else f"/{total}"
            print(f"{done}{of} {unit}  {note}", file=sys.stderr, flush=True)

    return advance
