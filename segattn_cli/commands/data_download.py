"""``segattn data download``: download a data set after its licence is accepted."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import remark, say, show_next
from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from segattn_cli.data.download.repositories import Fetched, Repository

MEGABYTE = 1e6


def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Data set to download: camvid.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write. The default for camvid is CamVid.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence of the data set without a question.")
    ] = False,
) -> None:
    """Download a data set.

    The licence is shown first. Every file is checked against its checksum. After
    an interruption, the same command continues the download.

    \b
    Examples:
      segattn data download camvid --out CamVid
      segattn data download camvid --accept-licence
    """
    from segattn_cli.data.download.repositories import REPOSITORIES
    from segattn_cli.rendering.style import megabytes

    if name not in REPOSITORIES:
        raise UsageError(
            f"{name!r} cannot be downloaded, only {', '.join(REPOSITORIES)}: other data sets need a registration "
            "with their authors."
        )
    repository = REPOSITORIES[name]
    folder = out or Path(repository.folder)
    remark(repository.licence)
    remark(repository.source)
    if not accept_licence:
        _ask()
    try:
        last, there = _fetch(repository, folder)
    except KeyboardInterrupt:
        again = f"segattn data download {name} --out {quote(str(folder))}"
        remark(f"The files so far are kept. Continue with: {again}")
        raise
    say(f"{folder}: {last.total} files, {megabytes(last.bytes_total, 0)}, all checked ({there} existed before)")
    say(", ".join(f"{split} {count}" for split, count in _image_counts(folder, repository.format).items()))
    show_next(f"segattn train --preset {repository.preset} --data {quote(str(folder))}")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("The licence must be accepted: read it, and give --accept-licence.")
    if not typer.confirm("Do you accept the licence?", err=True):
        raise UsageError("Nothing is downloaded, because the licence is not accepted.")


def _fetch(repository: Repository, folder: Path) -> tuple[Fetched, int]:
    """Download; return the last event and the number of files that existed before."""
    from segattn_cli.data.download.repositories import download

    existed: list[bool] = []
    fetched = 0
    began = time.monotonic()

    def count(event: Fetched) -> None:
        nonlocal fetched
        existed.append(event.was_there)
        fetched += 0 if event.was_there else event.entry.size

    def note(event: Fetched) -> str:
        rate = fetched / MEGABYTE / max(time.monotonic() - began, 1e-3)
        done, total = event.bytes_done / MEGABYTE, event.bytes_total / MEGABYTE
        return f"{done:.0f} of {total:.0f} MB, {rate:.1f} MB/s"

    last = follow(download(repository, folder), "files", note, show=count)
    assert last is not None  # no data set is without files
    return last, sum(existed)


def _image_counts(folder: Path, format: str) -> dict[str, int]:
    """The number of images with masks in each split."""
    from segattn_cli.data import open_dataset, splits_of

    splits = splits_of(folder, format=format)
    return {split: len(open_dataset(folder, format=format, split=split)) for split in splits}
