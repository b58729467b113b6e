"""``segattn bench``: how fast is a backend beside PyTorch, on this machine?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands import completion
from segattn_cli.errors import ExitCode, OutputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segattn_cli.benchmarking import Event, Row
    from segattn_cli.benchmarking.machine import Machine

WHAT, HOW, RESULTS = "What to time", "How to time it", "Where results go, beside the table"


def bench(
    suite: Annotated[
        str,
        typer.Option(
            metavar="ops|networks|attention|memory|all", help="Which computations.", rich_help_panel=WHAT,
            autocompletion=completion.suites,
        ),
    ] = "all",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="Only what has this text in its title; may be repeated.", rich_help_panel=WHAT
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List what can be timed, and stop.", rich_help_panel=WHAT)
    ] = False,
    backend: Annotated[
        str,
        typer.Option(
            help="Backend to time: numpy, numba, cupy, reference, or auto.", rich_help_panel=HOW,
            autocompletion=completion.backends,
        ),
    ] = "numpy",
    against: Annotated[
        str,
        typer.Option(
            metavar="torch|reference", help="What to compare it with.", rich_help_panel=HOW,
            autocompletion=completion.peers,
        ),
    ] = "torch",
    repeat: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", rich_help_panel=HOW, show_default=False,
            help="Timed rounds; by default 3 to 15, as many as 5 seconds have room for.",
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Whether to measure peaks, too.", rich_help_panel=HOW)
    ] = True,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile", rich_help_panel=HOW,
            help="Whether to try torch.compile on networks, which takes minutes and a C++ compiler.",
        ),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", rich_help_panel=RESULTS,
            help="Every figure as JSON; - prints it in place of the table.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="The ratios as a picture.", rich_help_panel=RESULTS)
    ] = None,
) -> None:
    """Time a backend beside PyTorch: ops, networks, attentions, memory.

    Both sides first have to compute the same numbers; then they take turns in one
    process, on as many threads. Of PyTorch's ways (layouts, attentions), the
    fastest is the peer. GFLOP/s count the arithmetic of the plain algorithm: what
    needs less, as Winograd's convolution, can exceed the peak of a matrix product.
    Exits with 10 where the numbers differ.

    \b
    Examples:
      segattn bench --suite networks
      segattn bench --suite ops --only conv2d --no-memory
      segattn bench --suite attention --json times.json --plot times.png
      segattn bench --suite ops --against reference
    """
    from rich.console import Console

    from backends import get_backend
    from segattn_cli.benchmarking import SUITES, plan, run
    from segattn_cli.benchmarking.competitors import require_compiler, require_peer
    from segattn_cli.benchmarking.machine import examine

    console = Console() if sys.stdout.isatty() else Console(width=200)
    if show:
        for name, make in SUITES.items():
            console.print(f"[bold]{name}[/]")
            for case in make():
                console.print(f"  {case.title}: {', '.join(case.works)}", highlight=False)
        return
    for path in (json_file, plot):
        if path is not None and not path.absolute().parent.is_dir():
            raise OutputError(f"There is no folder {path.parent} to write {path.name} to.")
    planned = plan(suite, only or (), against=against, repeat=repeat, memory=memory, compiled=compiled)
    ops = get_backend(backend)
    require_peer(against, ops)
    if compiled:
        require_compiler()
    machine = examine()

    rows: list[Row] = []
    differences: list[str] = []
    interrupted = False
    try:
        _watch(run(ops, planned, machine.peak), rows, differences)
    except KeyboardInterrupt:
        interrupted = True
    _report(console, ops.name, machine, rows, differences, json_file, plot)
    if interrupted:
        print("segattn: Interrupted; what was measured until then is kept.", file=sys.stderr)
        raise typer.Exit(ExitCode.INTERRUPTED)
    if differences:
        raise typer.Exit(ExitCode.DISAGREE)


def _watch(events: Iterator[Event], rows: list[Row], differences: list[str]) -> None:
    """Collect rows and differences as they come in; notes go to stderr."""
    from segattn_cli.benchmarking import Difference, Note, Started
    from segattn_cli.commands.progress import progress

    total = 0
    with progress("cases") as advance:
        for event in events:
            if isinstance(event, Started):
                total = event.total
                advance(event.number, total, event.case.title)
            elif isinstance(event, Note):
                print(event.sentence, file=sys.stderr)
            elif isinstance(event, Difference):
                differences.append(event.sentence)
            else:
                rows.append(event)
        advance(total, total, "")


def _report(
    console: Console, backend: str, machine: Machine, rows: Sequence[Row], differences: Sequence[str],
    json_file: Path | None, plot: Path | None,
) -> None:
    from rich.markup import escape

    from segattn_cli.benchmarking.plot import draw_ratios
    from segattn_cli.checkpoint import write_atomically

    report = {"backend": backend, **machine.as_json(), "rows": [row.as_json() for row in rows]}
    text = json.dumps(report | {"differences": differences}, indent=1, allow_nan=False)
    if plot is not None and any(row.ratio for row in rows):
        draw_ratios(rows, plot)
    if json_file == Path("-"):
        print(text)
        return
    if json_file is not None:
        write_atomically(json_file, f"{text}\n".encode())
    console.print(_describe(machine), highlight=False, soft_wrap=True)
    console.print(_table(backend, rows))
    for sentence in differences:
        console.print(f"[red]✗[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def _describe(machine: Machine) -> str:
    kernels = dict.fromkeys(f"{each['architecture'] or each['library']} ({each['of']})" for each in machine.kernels)
    versions = [f"{name} {value}" for name, value in machine.versions.items() if value != "not installed"]
    return (
        f"{machine.machine['processor']}, {machine.machine['threads']} threads, kernels {', '.join(kernels)}, "
        f"matrix product {machine.peak:.0f} GFLOP/s\n{', '.join(versions)}"
    )


def _table(backend: str, rows: Sequence[Row]) -> Table:
    """One line for each work; what repeats is said once."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    table.add_column("")
    table.add_column("")
    for heading in (backend, "GFLOP/s", "of peak", "peer", "ratio", "memory", "peer's"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the peer")
    last: tuple[str, str, str] | None = None
    for row in rows:
        if last is not None and last[0] != row.suite:
            table.add_section()
        subject = row.suite, row.subject, row.shape
        table.add_row(
            *(("", "") if subject == last else subject[1:]), row.work,
            _duration(row.seconds, row.spread),
            "" if row.gflops is None else f"{row.gflops:.0f}",
            "" if row.peak_share is None else f"{100 * row.peak_share:.0f} %",
            "" if row.peer_seconds is None else _duration(row.peer_seconds, row.peer_spread or 0.0),
            _ratio(row.ratio),
            _bytes(row.extra_bytes),
            _bytes(row.peer_extra_bytes),
            row.peer or "none",
        )  # fmt: skip
        last = subject
    return table


def _duration(seconds: float, spread: float) -> str:
    factor, unit = (1, "s ") if seconds >= 1 else (1e3, "ms")
    value = factor * seconds
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} ± {factor * spread:.{digits}f} {unit}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"[{'green' if ratio < 1 else 'red'}]{ratio:.2f}[/]"


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e6:.0f} MB"
