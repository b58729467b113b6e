"""``segattn check``: compare a backend with the reference, and name the first tensor that differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.options import Backend, JsonFile, ListChoices
from segattn_cli.commands.shared.output_paths import require_replaceable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import console, plain
from segattn_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segattn_cli.checking import CheckResult

SELECTION = "Selection"


def check(
    backend: Backend = "auto",
    op: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=SELECTION, autocompletion=completion.ops,
            help="Check only this op. Can be repeated.",
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=SELECTION, autocompletion=completion.networks,
            help="Check only this network, or the network of this preset. Can be repeated.",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=SELECTION,
            help="Check only in this data type: float64 or float32, and on a GPU also tf32, float16 or bfloat16. "
            "Can be repeated.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", rich_help_panel=SELECTION, help="Check small cases and small networks in float32 only."
        ),
    ] = False,
    list_only: ListChoices = False,
    json_file: JsonFile = None,
) -> None:
    """Check that a backend computes the same as the reference.

    Every op is compared forward and backward, then whole networks layer by layer.
    The table shows the largest differences. If a tensor differs by more than its
    tolerance, the first such tensor is named, and the exit code is 10.

    \b
    Examples:
      segattn check
      segattn check --backend numpy --op conv2d --op position_attention
      segattn check --backend cupy --dtype float16 --json check.json
    """
    from backends import get_backend
    from segattn_cli.checking import plan, prepare, run

    if list_only:
        _print_choices()
        return
    require_replaceable(json_file)
    ops = get_backend(backend)
    planned = plan(op or (), network or (), dtype or (), quick=quick, gpu=ops.name == "cupy")
    for each in planned.dtypes:
        prepare(ops, each)

    start = time.perf_counter()
    results: list[CheckResult] = []
    follow(run(ops, planned), "comparisons", lambda result: result.subject, show=results.append, each=True)
    seconds = time.perf_counter() - start
    failures = [result for result in results if not result.passed]
    comparisons = [result.as_json() for result in results]

    def show() -> None:
        out = console()
        out.print(_table(results, planned.dtypes))
        _print_failures(out, failures)
        _print_summary(out, ops.name, len(results), failures, seconds)

    report = {"backend": ops.name, "passed": not failures, "comparisons": comparisons}
    show_and_write(report, json_file, show)
    if failures:
        raise typer.Exit(ExitCode.DISAGREE)


def _table(results: Sequence[CheckResult], dtypes: Sequence[str]) -> Table:
    """One row for each op and network, with the largest differences in each dtype."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("\nn", justify="right")
    for dtype in dtypes:
        for heading in ("\nabs", f"{dtype}\nrel", "\nulp"):
            table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")

    for subject in dict.fromkeys(result.subject for result in results):
        own = [result for result in results if result.subject == subject]
        largest = [value for dtype in dtypes for value in _worst([each for each in own if each.dtype == dtype])]
        failed = sum(not each.passed for each in own)
        verdict = f"[red]{failed} differ[/]" if failed else "[green]agree[/]"
        table.add_row(subject, str(len(own)), *largest, verdict)
    return table


def _worst(results: Sequence[CheckResult]) -> tuple[str, str, str]:
    if not results:
        return "", "", ""
    return (
        f"{max(result.max_abs for result in results):.0e}",
        f"{max(result.max_rel for result in results):.0e}",
        f"{max(result.ulp for result in results):.0e}",
    )


def _print_failures(out: Console, failures: Sequence[CheckResult]) -> None:
    """Print one line for each tensor that differs, however many cases it differs in."""
    grouped: dict[tuple, list[CheckResult]] = {}
    for failure in failures:
        grouped.setdefault((failure.subject, failure.direction, failure.first_divergence), []).append(failure)
    for (subject, direction, tensor), (first, *others) in grouped.items():
        where = f"{first.case}, {first.dtype}" + (f", and {len(others)} more" if others else "")
        out.print(f"[red]✗[/] {subject} {direction}: [bold]{tensor}[/] {plain(f'{first.reason} ({where})')}")


def _print_summary(
    out: Console, backend: str, count: int, failures: Sequence[CheckResult], seconds: float
) -> None:
    if not failures:
        out.print(f"[green]✓[/] {backend} agrees with the reference: {count} comparisons in {seconds:.0f} s.")
        return
    out.print(
        f"[red]✗[/] {backend} differs from the reference in {len(failures)} of {count} comparisons, first in "
        f"[bold]{failures[0].first_divergence}[/] ({failures[0].subject})."
    )


def _print_choices() -> None:
    from segattn_cli.checking.cases import CASES, cases
    from segattn_cli.checking.crosscheck import DTYPES, GPU_DTYPES
    from segattn_cli.checking.network_checks import NETWORKS
    from segattn_cli.config import PRESETS

    out = console()
    out.print("[bold]Ops[/] (--op), each forward and backward")
    for op in CASES:
        out.print(f"  {op}: {len(cases(op))} cases")
    for title, names in (
        ("Networks (--network), checked by default", NETWORKS),
        ("Networks of presets (--network)", PRESETS),
        ("Dtypes (--dtype)", DTYPES),
        ("Dtypes on a GPU (--dtype)", GPU_DTYPES),
    ):
        out.print(f"[bold]{title}[/]")
        out.print("  " + ", ".join(names))
