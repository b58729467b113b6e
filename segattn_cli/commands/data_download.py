"""``segattn data download``: fetch a data set, after its licence has been shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from segattn_cli.errors import OutputError, UsageError


def download(
    name: Annotated[str, typer.Argument(metavar="camvid", help="The data set.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to write; CamVid by default.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Agree to the licence that would be shown and asked for.")
    ] = False,
) -> None:
    """Fetch a data set: its licence is shown first, every file is checked.

    Stopped at any point, the same command goes on where it was: what is whole
    is kept, and of a file that was cut off, its beginning.

    \b
    Examples:
      segattn data download camvid --out CamVid
      segattn data download camvid --accept-licence
    """
    from segattn_cli.commands.progress import progress
    from segattn_cli.data.download import REPOSITORIES
    from segattn_cli.data.download import download as fetch

    if name not in REPOSITORIES:
        raise UsageError(
            f"There is no {name!r} to download, only {', '.join(REPOSITORIES)}: others want a registration; "
            "docs/data.md says how their folders are to look."
        )
    repository = REPOSITORIES[name]
    folder = out or Path(repository.folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--out {folder} is a file: give a folder.")
    print(f"{repository.licence}\n{repository.source}", file=sys.stderr)
    if not accept_licence:
        _ask()
    megabyte = 1e6
    there = 0
    try:
        with progress("files") as advance:
            for event in fetch(repository, folder):
                there += event.was_there
                megabytes = f"{event.bytes_done / megabyte:.0f} of {event.bytes_total / megabyte:.0f} MB"
                advance(event.done, event.total, megabytes)
    except KeyboardInterrupt:
        print(f"\nWhat is whole is kept. Go on with: segattn data download {name} --out {folder}", file=sys.stderr)
        raise
    print(f"{folder}: {event.total} files, {event.bytes_total / megabyte:.0f} MB, all checked ({there} were there)")
    print(f"\nNext:\n  segattn data check {folder}\n  segattn train --preset fcn-resnet18-camvid --data {folder}")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("The licence has to be agreed to: read it, and give --accept-licence.")
    if not typer.confirm("Do you agree to it?", err=True):
        raise UsageError("Without agreeing to the licence nothing is downloaded.")
