"""Tables on a terminal, whose numbers are never shortened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segattn_cli.commands.shared.terminal import UNWRAPPED, console, plain

if TYPE_CHECKING:
    from rich.table import Table


def fits(table: Table) -> bool:
    """Whether the terminal is wide enough for the whole of ``table``."""
    out = console()
    return out.measure(table, options=out.options.update(width=UNWRAPPED)).maximum <= out.width


def show_text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text; where the terminal is too narrow for it, a paragraph for each row."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if number == 0 or heading == "" else "right"
        table.add_column(plain(heading), no_wrap=True, justify=justify)
    for row in rows:
        table.add_row(*map(plain, row))
    out = console()
    if fits(table):
        out.print(table)
        return
    for name, *cells in rows:
        named = zip(headings[1:], cells, strict=True)
        values = ", ".join(f"{heading} {cell}".strip() for heading, cell in named if cell)
        out.print(f"[bold]{plain(name)}[/]: {plain(values)}" if values else f"[bold]{plain(name)}[/]")
    out.print()
