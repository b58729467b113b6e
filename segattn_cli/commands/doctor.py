"""``segattn doctor``: what this machine offers, and what holds it back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from segattn_cli.commands.shared.json import print_json


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show versions, BLAS and its kernels, threads, GPU or why none, and what slows this machine down."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from segattn_cli.machine.doctor import VARIABLES, diagnose

    diagnosis = diagnose()
    if as_json:
        print_json(asdict(diagnosis))
        return

    rows = {
        "Versions": [", ".join(f"{name} {value}" for name, value in diagnosis.versions.items())],
        "Machine": [f"{name}: {_plain(value)}" for name, value in diagnosis.machine.items()],
        "BLAS": [
            f"{each['library']} {each['version']} (of {each['of']}): {each['architecture']} kernels, "
            f"{each['threads']} threads by {each['threading']}"
            for each in diagnosis.blas
        ],
        "Matrix product": [f"{value:.0f} GFLOP/s in {dtype}" for dtype, value in diagnosis.gflops.items()],
        "Environment": [f"{name}={value}: {VARIABLES[name]}" for name, value in diagnosis.environment.items()],
        "Backends": [
            f"numpy: runs, on {diagnosis.threads} threads",
            *[f"{name}: {value}" for name, value in diagnosis.backends.items()],
        ],
        **({"GPU": [f"{name}: {value}" for name, value in diagnosis.gpu.items()]} if diagnosis.gpu else {}),
    }
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(highlight=False)
    for title, lines in rows.items():
        table.add_row(title, escape("\n".join(lines) or "none set"))
    console = Console()
    console.print(table)
    for warning in diagnosis.warnings:
        console.print(f"[yellow]![/] {escape(warning)}", highlight=False)
    if not diagnosis.warnings:
        console.print("[green]✓[/] Nothing here slows segattn down.")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
