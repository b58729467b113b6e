"""``segattn bench --suite busy``: the table of a busy machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import complain, console, remark
from segattn_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.table import Table

    from segattn_cli.benchmarking.busy import BusyRow, BusyStarted
    from segattn_cli.benchmarking.measurements import Note


def bench_busy(repeat: int | None, json_file: Path | None, commit: str | None) -> None:
    """Time a training step on a busy machine, by all implementations that are installed."""
    from segattn_cli.benchmarking.busy import BusyRow, run_busy
    from segattn_cli.benchmarking.machine import examine
    from segattn_cli.benchmarking.measurements import Note

    machine = examine("numpy", ("float32",), commit)
    rows: list[BusyRow] = []
    notes: list[str] = []

    def collect(event: BusyStarted | BusyRow | Note) -> None:
        if isinstance(event, BusyRow):
            rows.append(event)
        elif isinstance(event, Note):
            notes.append(event.sentence)
            remark(event.sentence)

    interrupted = False
    try:
        follow(run_busy(repeat), "measurements", lambda event: event.title, show=collect)
    except KeyboardInterrupt:
        interrupted = True
    report = {"suite": "busy", **machine.as_json(), "rows": [row.as_json() for row in rows], "notes": notes}
    show_and_write(report, json_file, lambda: console().print(busy_table(rows)))
    if interrupted:
        complain("Interrupted; what was measured until then is kept.")
        raise typer.Exit(ExitCode.INTERRUPTED)


def busy_table(rows: Sequence[BusyRow]) -> Table:
    """A line for each condition: the time of each implementation, and how many times as long it takes as alone."""
    from rich import box
    from rich.table import Table

    names = list(dict.fromkeys(row.implementation for row in rows))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
        table.add_column("of quiet", justify="right", no_wrap=True)
    for condition in dict.fromkeys(row.condition for row in rows):
        times = {row.implementation: row for row in rows if row.condition == condition}
        cells = [
            (f"{times[name].timing.seconds:.2f} s", f"{times[name].ratio:.2f}") if name in times else ("", "")
            for name in names
        ]
        table.add_row(condition, *(text for both in cells for text in both))
    return table
