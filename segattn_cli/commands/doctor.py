"""``segattn doctor``: facts about the machine, and advice."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.options import PrintJson
from segattn_cli.commands.shared.terminal import console, plain


def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Only compile all loops of numba, once, and store their machine code.")
    ] = False,
    as_json: PrintJson = False,
) -> None:
    """Show what this machine has, and what makes segattn slow on it.

    The report has the versions of all packages, BLAS and its kernels, the threads
    and the cores that they get beside other programs, and the GPU, or why it
    cannot be used.

    With --warm, the loops of the backend numba are compiled for all networks,
    losses and optimisers, so that no later command has to wait for that.
    """
    if warm:
        _compile()
        return

    from rich import box
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
            f"numpy: runs, on {diagnosis.threads} threads, which got {diagnosis.cores_obtained:g} cores just now",
            *[f"{name}: {value}" for name, value in diagnosis.backends.items()],
        ],
        **({"GPU": [f"{name}: {value}" for name, value in diagnosis.gpu.items()]} if diagnosis.gpu else {}),
    }
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(highlight=False)
    for title, lines in rows.items():
        table.add_row(title, "\n".join(map(plain, lines)) or "none set")
    out = console()
    out.print(table)
    for warning in diagnosis.warnings:
        out.print(f"[yellow]![/] {plain(warning)}")
    if not diagnosis.warnings:
        out.print("[green]✓[/] Nothing here slows segattn down.")


def _compile() -> None:
    from backends import get_backend
    from segattn_cli.checking.compilation import COMMON, RARE
    from segattn_cli.commands.shared.first_use import compiled
    from segattn_cli.commands.shared.progress import follow

    get_backend("numba")  # raises where it is missing
    last = follow(compiled((*COMMON, *RARE)), "ops compiled", lambda event: event.op)
    if last is not None and last.done == last.total:
        print("The loops of all ops are compiled and stored.")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
