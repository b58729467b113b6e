"""``segattn presets``: the configurations that come with segattn."""

from __future__ import annotations

from typing import Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.help import Command, Group
from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.options import PrintJson
from segattn_cli.commands.shared.terminal import console

app = typer.Typer(cls=Group)


@app.callback(invoke_without_command=True)
def presets(ctx: typer.Context, as_json: PrintJson = False) -> None:
    """List the presets, or show one of them.

    A preset is a configuration that comes with segattn: a network, a data set
    and the settings of its training. Start from it with segattn train --preset.
    """
    if ctx.invoked_subcommand is not None:
        return
    from rich.table import Table

    from segattn_cli.config import PRESETS, preset_summary

    if as_json:
        print_json([{"name": name, "summary": preset_summary(name)} for name in PRESETS])
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    for name in PRESETS:
        table.add_row(name, preset_summary(name))
    console().print(table)


@app.command(cls=Command)
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the preset.", show_default=False, autocompletion=completion.presets
        ),
    ],
    as_json: PrintJson = False,
) -> None:
    """Print the configuration file of a preset.

    The file is TOML, with the sources of its settings in comments. Keys that it
    does not set have their defaults, which segattn config shows.

    \b
    Examples:
      segattn presets show danet-resnet18-camvid
      segattn presets show tiny-scenes > my.toml
    """
    from segattn_cli.config import preset_text, preset_tree

    if as_json:
        print_json(preset_tree(name))
    else:
        print(preset_text(name), end="")
