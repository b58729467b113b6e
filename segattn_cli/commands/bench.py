"""``segattn bench``: how fast is a backend beside PyTorch, on this machine?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.output_paths import require_parent
from segattn_cli.errors import ExitCode

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
            metavar="ops|networks|attention|memory|gpu|all", rich_help_panel=WHAT, show_default=False,
            help="Which computations; by default all, on cupy gpu.", autocompletion=completion.suites,
        ),
    ] = "",
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
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="float32|tf32|float16|bfloat16", rich_help_panel=HOW, show_default=False,
            autocompletion=completion.precisions,
            help="In what to compute, on both sides; may be repeated, or separated by commas. By default float32, "
            "on cupy all that the GPU has.",
        ),
    ] = None,
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
        bool | None,
        typer.Option(
            "--compile/--no-compile", rich_help_panel=HOW, show_default=False,
            help="Whether to try torch.compile on networks, which takes minutes and a C++ compiler; by default on "
            "position attention on a GPU alone.",
        ),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(
            metavar="HASH", rich_help_panel=RESULTS, show_default=False,
            help="The commit for the JSON, where the checkout came without git.",
        ),
    ] = None,
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
    """Time a backend beside PyTorch: ops, networks, attentions, memory, and a GPU.

    Both sides first have to compute the same numbers; then they take turns in one
    process, on as many threads. Of PyTorch's ways (layouts, attentions), the
    fastest is the peer. GFLOP/s count the arithmetic of the plain algorithm: what
    needs less, as Winograd's convolution, can exceed the peak of a matrix product.
    The backend cupy is timed on the GPU, as is PyTorch, by the GPU's own clock.
    Exits with 10 where the numbers differ.

    \b
    Examples:
      segattn bench --suite networks
      segattn bench --suite ops --only conv2d --no-memory
      segattn bench --suite attention --json times.json --plot times.png
      segattn bench --suite ops --against reference
      segattn bench --backend cupy --precision tf32,float16 --json h100.json
    """
    from rich.console import Console

    from backends import get_backend
    from segattn_cli.benchmarking import SUITES, plan, precisions_of, run
    from segattn_cli.benchmarking.machine import examine
    from segattn_cli.benchmarking.variants import require_compiler, require_peer

    console = Console() if sys.stdout.isatty() else Console(width=240)
    if show:
        for name, make in SUITES.items():
            console.print(f"[bold]{name}[/]")
            for case in make():
                console.print(f"  {case.title}: {', '.join(case.works)}", highlight=False)
        return
    require_parent(json_file, plot)
    name = get_backend(backend).name
    backend = name if backend == "auto" else backend
    asked = [each for text in precision or () for each in text.split(",")]
    precisions = precisions_of(backend, asked)
    planned = plan(
        suite or ("gpu" if name == "cupy" else "all"), only or (), backend=backend, against=against,
        precisions=precisions, repeat=repeat, memory=memory, compiled=compiled,
    )  # fmt: skip
    require_peer(against, get_backend(backend))
    if compiled:
        require_compiler()
    machine = examine(backend, precisions, commit)

    rows: list[Row] = []
    differences: list[str] = []
    interrupted = False
    try:
        _watch(run(planned, machine.peaks), rows, differences)
    except KeyboardInterrupt:
        interrupted = True
    _report(console, name, machine, rows, differences, json_file, plot)
    if interrupted:
        print("segattn: Interrupted; what was measured until then is kept.", file=sys.stderr)
        raise typer.Exit(ExitCode.INTERRUPTED)
    if differences:
        raise typer.Exit(ExitCode.DISAGREE)


def _watch(events: Iterator[Event], rows: list[Row], differences: list[str]) -> None:
    """Collect rows and differences as they come in; notes go to stderr."""
    from segattn_cli.benchmarking import Mismatch, Note, Started
    from segattn_cli.commands.shared.progress import progress

    total = 0
    with progress("cases") as advance:
        for event in events:
            if isinstance(event, Started):
                total = event.total
                advance(event.number, total, event.case.title)
            elif isinstance(event, Note):
                print(event.sentence, file=sys.stderr)
            elif isinstance(event, Mismatch):
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

    def show() -> None:
        console.print(_describe(machine), highlight=False, soft_wrap=True)
        console.print(_table(backend, rows))
        for sentence in differences:
            console.print(f"[red]✗[/] {escape(sentence)}", highlight=False, soft_wrap=True)

    report = {"backend": backend, **machine.as_json(), "rows": [row.as_json() for row in rows]}
    show_and_write(report | {"differences": differences}, json_file, show)
    if plot is not None and any(row.ratio for row in rows):
        draw_ratios(rows, plot)


def _describe(machine: Machine) -> str:
    found = machine.machine
    kernels = dict.fromkeys(f"{each['architecture'] or each['library']} ({each['of']})" for each in machine.kernels)
    versions = [f"{name} {value}" for name, value in machine.versions.items() if value != "not installed"]
    peaks = ", ".join(f"{value:.0f} ({name})" for name, value in machine.peaks.items())
    if "device" in found:
        where = (
            f"{found['device']}, driver {found['driver']}, CUDA {found['CUDA runtime']}, "
            f"convolutions by {found['convolutions']}"
        )
    else:
        where = f"{found['processor']}, {found['threads']} threads, kernels {', '.join(kernels)}"
    return f"{where}, matrix product {peaks} GFLOP/s\n{', '.join(versions)}"


def _table(backend: str, rows: Sequence[Row]) -> Table:
    """One line for each work; what repeats is said once, and a column without a figure is left out."""
    from rich import box
    from rich.table import Table

    columns: list[tuple[str, Callable[[Row], str]]] = [
        (backend, lambda row: _duration(row.seconds, row.spread)),
        ("GFLOP/s", lambda row: "" if row.gflops is None else f"{row.gflops:.0f}"),
        ("of peak", lambda row: "" if row.peak_share is None else f"{100 * row.peak_share:.0f} %"),
        ("peer", lambda row: _duration(row.peer_seconds, row.peer_spread)),
        ("ratio", lambda row: _ratio(row.ratio)),
        ("memory", lambda row: _bytes(row.extra_bytes)),
        ("peer's", lambda row: _bytes(row.peer_extra_bytes)),
        ("error", lambda row: _error(row.error)),
        ("peer's", lambda row: _error(row.peer_error)),
        ("queued", lambda row: _duration(row.queue_seconds)),
        ("peer's", lambda row: _duration(row.peer_queue_seconds)),
    ]
    columns = [(heading, figure) for heading, figure in columns if any(map(figure, rows))]
    in_float32 = all(row.precision == "float32" for row in rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for _ in range(3 if in_float32 else 4):
        table.add_column("")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the peer")
    last: tuple[str, ...] | None = None
    for row in rows:
        if last is not None and last[0] != row.suite:
            table.add_section()
        subject = row.suite, row.subject, row.shape
        table.add_row(
            *(("", "") if subject == last else subject[1:]), row.work, *(() if in_float32 else (row.precision,)),
            *(figure(row) for _, figure in columns),
            row.peer or "none",
        )  # fmt: skip
        last = subject
    return table


def _duration(seconds: float | None, spread: float | None = None) -> str:
    if seconds is None:
        return ""
    factor, unit = (1, "s ") if seconds >= 1 else (1e3, "ms")
    value = factor * seconds
    digits = 2 if value < 10 else 1 if value < 100 else 0
    around = "" if spread is None else f" ± {factor * spread:.{digits}f}"
    return f"{value:.{digits}f}{around} {unit}"


def _error(error: float | None) -> str:
    return "" if error is None else f"{error:.0e}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"[{'green' if ratio < 1 else 'red'}]{ratio:.2f}[/]"


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e6:.0f} MB"
