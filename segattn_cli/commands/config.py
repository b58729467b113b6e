"""``segattn config``: what the keys of a configuration mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.options import PrintJson
from segattn_cli.commands.shared.terminal import console, plain, say

if TYPE_CHECKING:
    from segattn_cli.config import Key


def config(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", show_default=False, autocompletion=completion.keys,
            help="Key such as training.epochs, or table such as training. Without it, all keys are listed.",
        ),
    ] = "",
    as_json: PrintJson = False,
) -> None:
    """Explain the keys of a configuration.

    For one key, show its meaning, its type and limits, its default, and what
    presets set it to. For a table, or without an argument, list the keys.

    \b
    Examples:
      segattn config
      segattn config training
      segattn config optimiser.learning_rate
    """
    from segattn_cli.config.description import find_keys

    chosen = find_keys(key)
    one = chosen[0].path == key
    if as_json:
        described = [_described(each) for each in chosen]
        print_json(described[0] if one else described)
    elif one:
        _print_key(chosen[0])
    else:
        _print_list(chosen)


def _described(key: Key) -> dict[str, Any]:
    from segattn_cli.config.description import type_in_words, values_in_presets

    return {
        "key": key.path, "meaning": key.meaning, "type": type_in_words(key), "default": key.default,
        "presets": values_in_presets(key),
    }  # fmt: skip


def _print_key(key: Key) -> None:
    from segattn_cli.config.description import toml_value, type_in_words, values_in_presets

    say(key.path)
    say(f"  {key.meaning[0].upper()}{key.meaning[1:]}")
    say(f"type      {type_in_words(key)}")
    say(f"default   {toml_value(key.default)}")
    for preset, value in values_in_presets(key).items():
        say(f"preset    {preset}: {toml_value(value)}")


def _print_list(chosen: Sequence[Key]) -> None:
    from rich.table import Table

    from segattn_cli.config.description import toml_value

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("key", "default"):
        table.add_column(heading, no_wrap=True)
    table.add_column("meaning")
    for key in chosen:
        table.add_row(key.path, plain(toml_value(key.default)), plain(key.meaning))
    console().print(table)
