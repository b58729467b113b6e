"""``segattn data download``: fetch a data set, after its licence has been shown."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from segattn_cli.data.download.repositories import Fetched, Repository

MEGABYTE = 1e6


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
    from segattn_cli.data.download.repositories import REPOSITORIES

    if name not in REPOSITORIES:
        raise UsageError(
            f"There is no {name!r} to download, only {', '.join(REPOSITORIES)}: others want a registration; "
            "docs/data.md says how their folders are to look."
        )
    repository = REPOSITORIES[name]
    folder = out or Path(repository.folder)
    print(f"{repository.licence}\n{repository.source}", file=sys.stderr)
    if not accept_licence:
        _ask()
    try:
        last, there = _fetch(repository, folder)
    except KeyboardInterrupt:
        again = f"segattn data download {name} --out {quote(str(folder))}"
        print(f"\nWhat came so far is kept. Go on with: {again}", file=sys.stderr)
        raise
    print(f"{folder}: {last.total} files, {last.bytes_total / MEGABYTE:.0f} MB, all checked ({there} were there)")
    print(", ".join(f"{split} {count}" for split, count in _pictures(folder, repository.format).items()))
    print(f"\nNext:\n  segattn train --preset {repository.preset} --data {quote(str(folder))}")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("The licence has to be agreed to: read it, and give --accept-licence.")
    if not typer.confirm("Do you agree to it?", err=True):
        raise UsageError("Without agreeing to the licence nothing is downloaded.")


def _fetch(repository: Repository, folder: Path) -> tuple[Fetched, int]:
    """The last event, and how many files were there before; progress on stderr."""
    from segattn_cli.commands.shared.progress import progress
    from segattn_cli.data.download.repositories import download

    there = fetched = 0
    began = time.monotonic()
    with progress("files") as advance:
        for event in download(repository, folder):
            if event.was_there:
                there += 1
            else:
                fetched += event.entry.size
            rate = fetched / MEGABYTE / max(time.monotonic() - began, 1e-3)
            done, total = event.bytes_done / MEGABYTE, event.bytes_total / MEGABYTE
            advance(event.done, event.total, f"{done:.0f} of {total:.0f} MB, {rate:.1f} MB/s")
    return event, there


def _pictures(folder: Path, format: str) -> dict[str, int]:
    """How many pictures each split has, with their masks."""
    from segattn_cli.data import open_dataset, splits_of

    splits = splits_of(folder, format=format)
    return {split: len(open_dataset(folder, format=format, split=split)) for split in splits}
