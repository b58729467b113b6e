"""``segattn check``: does a backend agree with the reference, and where do they first part?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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

    from segattn_cli.checking import CheckResult


def check(
    backend: Annotated[
        str,
        typer.Option(
            help="Backend to check: numpy, numba, cupy, reference, or auto.", autocompletion=completion.backends
        ),
    ] = "auto",
    op: Annotated[
        list[str] | None,
        typer.Option(help="Check only this op; may be repeated.", autocompletion=completion.ops),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="Check only this network, or that of a preset; may be repeated.",
            autocompletion=completion.networks,
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            help="float64, float32, and on a GPU tf32, float16, bfloat16; all by default. May be repeated."
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write every comparison to this file; - prints them, and no table."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only float32, small cases and small networks.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List what can be checked, and stop.")] = False,
) -> None:
    """Compare a backend with the reference: every op, then whole networks layer by layer.

    Prints the largest differences and names the first tensor that diverges. Exits with 10 on any difference
    beyond the tolerance.

    \b
    Examples:
      segattn check
      segattn check --backend numpy --op conv2d --op position_attention
      segattn check --backend cupy --dtype float16 --json check.json
    """
    from rich.console import Console

    from backends import get_backend
    from segattn_cli.checking import plan, prepare, run

    console = Console()
    if show:
        _print_choices(console)
        return
    require_parent(json_file)
    ops = get_backend(backend)
    planned = plan(op or (), network or (), dtype or (), quick=quick, gpu=ops.name == "cupy")
    for each in planned.dtypes:
        prepare(ops, each)

    start = time.perf_counter()
    results = _watch(run(ops, planned), planned.dtypes)
    seconds = time.perf_counter() - start
    failures = [result for result in results if not result.passed]
    comparisons = [result.as_json() for result in results]

    def tables() -> None:
        console.print(_table(results, planned.dtypes))
        _print_failures(console, failures)
        _print_summary(console, ops.name, len(results), failures, seconds)

    report = {"backend": ops.name, "passed": not failures, "comparisons": comparisons}
    show_and_write(report, json_file, tables)
    if failures:
        raise typer.Exit(ExitCode.DISAGREE)


def _watch(running: Iterator[CheckResult], dtypes: Sequence[str]) -> list[CheckResult]:
    """All results; on a terminal, what there is so far is shown while they come in."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        return list(running)
    results: list[CheckResult] = []
    rows = console.height - 4  # beside the table's head
    with Live(console=console, transient=True, auto_refresh=False) as live:
        for result in running:
            results.append(result)
            live.update(_table(results, dtypes, last=rows), refresh=True)
    return results


def _table(results: Sequence[CheckResult], dtypes: Sequence[str], last: int = 0) -> Table:
    """One row for each op and network (or only the ``last`` few), with the largest differences in each dtype."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("\nn", justify="right")
    for dtype in dtypes:
        for heading in ("\nabs", f"{dtype}\nrel", "\nulp"):
            table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")

    subjects = list(dict.fromkeys(result.subject for result in results))
    for subject in subjects[-last:]:
        own = [result for result in results if result.subject == subject]
        figures = [figure for dtype in dtypes for figure in _worst([each for each in own if each.dtype == dtype])]
        failed = sum(not each.passed for each in own)
        verdict = f"[red]{failed} differ[/]" if failed else "[green]agree[/]"
        table.add_row(subject, str(len(own)), *figures, verdict)
    return table


def _worst(results: Sequence[CheckResult]) -> tuple[str, str, str]:
    if not results:
        return "", "", ""
    return (
        f"{max(result.max_abs for result in results):.0e}",
        f"{max(result.max_rel for result in results):.0e}",
        f"{max(result.ulp for result in results):.0e}",
    )


def _print_failures(console: Console, failures: Sequence[CheckResult]) -> None:
    """One line for each tensor that differs, whatever the number of cases in which it does."""
    from rich.markup import escape

    grouped: dict[tuple, list[CheckResult]] = {}
    for failure in failures:
        grouped.setdefault((failure.subject, failure.direction, failure.first_divergence), []).append(failure)
    for (subject, direction, tensor), (first, *others) in grouped.items():
        where = f"{first.case}, {first.dtype}" + (f", and {len(others)} more" if others else "")
        console.print(
            f"[red]✗[/] {subject} {direction}: [bold]{tensor}[/] {escape(f'{first.reason} ({where})')}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _print_summary(
    console: Console, backend: str, count: int, failures: Sequence[CheckResult], seconds: float
) -> None:
    if not failures:
        console.print(f"[green]✓[/] {backend} agrees with the reference: {count} comparisons in {seconds:.0f} s.")
        return
    console.print(
        f"[red]✗[/] {backend} differs from the reference in {len(failures)} of {count} comparisons, first in "
        f"[bold]{failures[0].first_divergence}[/] ({failures[0].subject}).",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _print_choices(console: Console) -> None:
    from segattn_cli.checking.cases import CASES, cases
    from segattn_cli.checking.crosscheck import DTYPES, GPU_DTYPES
    from segattn_cli.checking.network_checks import NETWORKS
    from segattn_cli.config import PRESETS

    console.print("[bold]Ops[/] (--op), each forward and backward")
    for op in CASES:
        console.print(f"  {op}: {len(cases(op))} cases", highlight=False)
    for title, names in (
        ("Networks (--network), checked by default", NETWORKS),
        ("Networks of presets (--network)", PRESETS),
        ("Dtypes (--dtype)", DTYPES),
        ("Dtypes on a GPU (--dtype)", GPU_DTYPES),
    ):
        console.print(f"[bold]{title}[/]")
        console.print("  " + ", ".join(names), highlight=False)
