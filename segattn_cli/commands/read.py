"""``segattn read``: an op, a network or an equation of the papers, as the code that runs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backends.errors import did_you_mean
from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.options import PrintJson
from segattn_cli.commands.shared.terminal import console, plain, say
from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from segattn_cli.reading.equations import Entry
    from segattn_cli.reading.op_source import OpSource


def read(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", show_default=False, autocompletion=completion.readable,
            help="Op, equation such as danet-1, paper, or network: preset, run, checkpoint or configuration file. "
            "Without it, all are listed.",
        ),
    ] = None,
    as_json: PrintJson = False,
) -> None:
    """Read an op, a network, an equation or a paper as the code that runs it.

    For an op, show its formula, and its forward and backward functions: lines
    with the same number belong together, as the line of backward differentiates
    the line of forward. For a network, show what it computes in order, with
    shapes and cost, where the code of it is, and which equations it contains. For
    an equation, show its lines of code and its tests.

    \b
    Examples:
      segattn read
      segattn read position_attention
      segattn read danet-3
      segattn read attention-to-scale
      segattn read tiny-scenes
      segattn read runs/first
    """
    from segattn_cli.commands.read_network import read_network
    from segattn_cli.config import PRESETS
    from segattn_cli.reading.equations import find_entries
    from segattn_cli.reading.op_source import op_names, read_op

    entries = find_entries(name or "")
    if name is None:
        _list_all(as_json)
    elif name in op_names():
        op = read_op(name)
        if as_json:
            print_json(_op_facts(op))
        else:
            _print_op(op)
    elif entries:
        if as_json:
            print_json([_entry_facts(each) for each in entries])
        else:
            _print_entries(entries)
    elif name in PRESETS or os.path.exists(name):
        read_network(name, as_json)
    else:
        hint = did_you_mean(name, completion.readable(""))
        raise UsageError(f"There is nothing to read about {name!r}{hint}; `segattn read` lists all.")


def _list_all(as_json: bool) -> None:
    from rich.table import Table

    from segattn_cli.config import PRESETS, preset_summary
    from segattn_cli.reading.equations import papers
    from segattn_cli.reading.op_source import op_names, read_op

    if as_json:
        names = [each.name for paper in papers() for each in paper.entries if each.name]
        print_json({
            "ops": list(op_names()), "papers": [paper.name for paper in papers()], "equations": names,
            "networks": list(PRESETS),
        })  # fmt: skip
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    for name in op_names():
        table.add_row(name, plain(read_op(name).title))
    for paper in papers():
        table.add_row("", "")
        table.add_row(paper.name, plain(paper.title.replace("*", "")))
        for each in paper.entries:
            if each.name:
                table.add_row(each.name, plain(f"{each.formula}: {each.what}"))
    table.add_row("", "")
    for name in PRESETS:
        table.add_row(name, plain(preset_summary(name)))
    console().print(table)


def _print_op(op: OpSource) -> None:
    from segattn_cli.commands.read_display import code_columns
    from segattn_cli.reading.places import implementations, where_tested

    say(op.title)
    for line in op.formulas():
        print(f"    {line}")
    print()
    console().print(code_columns(op, console().width))
    print()
    for field, about in op.saved:
        say(f"saved     {field}{'  ' if about else ''}{about}")
    for each in implementations(op.name):
        say(f"{each.backend:<9} {each.place}: {each.about}")
    for tested in where_tested(op.name):
        say(f"tests     {tested.place}: {', '.join(tested.names)}")
    say(f"file      {op.path}")


def _print_entries(entries: list[Entry]) -> None:
    from segattn_cli.reading.op_source import op_names

    for entry in entries:
        say(f"{entry.name or entry.where}: {entry.what}")
        if entry.formula:
            print(f"    {entry.formula}")
        for place in entry.places:
            numbers = place.numbers()
            say(f"  {place.file}, {place.function}")
            for number, line in zip(numbers, place.lines or ("",), strict=True):
                print(f"    {number:>4}  {line}".rstrip())
        for test in entry.tests:
            say(f"  test {test}")
        ops = [place.function for place in entry.places if place.function in op_names()]
        if ops:
            say(f"  segattn read {ops[0]} shows all of it")
        print()


def _op_facts(op: OpSource) -> dict[str, Any]:
    from segattn_cli.reading.places import implementations, where_tested

    return {
        "op": op.name, "title": op.title, "file": str(op.path), "formulas": op.formulas(),
        "saved": dict(op.saved),
        "backward": [
            {
                "lines": [undoing.span.first, undoing.span.last], "quotes": list(undoing.quotes),
                "undoes": [[span.first, span.last] for span in undoing.undone],
            }
            for undoing in op.undoings
        ],
        "backends": {each.backend: each.place for each in implementations(op.name)},
        "tests": {each.place: list(each.names) for each in where_tested(op.name)},
    }  # fmt: skip


def _entry_facts(entry: Entry) -> dict[str, Any]:
    places = [
        {"file": place.file, "function": place.function, "lines": place.numbers()} for place in entry.places
    ]
    return {
        "name": entry.name, "where": entry.where, "what": entry.what, "formula": entry.formula, "places": places,
        "tests": list(entry.tests),
    }  # fmt: skip
