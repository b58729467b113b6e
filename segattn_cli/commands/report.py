"""``segattn report``: how trainings went, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.output_paths import require_untouched, require_writable
from segattn_cli.commands.shared.terminal import complain, say
from segattn_cli.errors import CheckpointError, DataError, NonFiniteError, printable

if TYPE_CHECKING:
    from segattn_cli.data import Dataset
    from segattn_cli.reporting import History, RunReport, Validation
    from segattn_cli.runs import Model

LOOK = "The pass over the validation pictures"


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of one run or several.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The page; RUN/report.html for one run, else report.html.", show_default=False
        ),
    ] = None,
    curves_only: Annotated[
        bool,
        typer.Option(
            "--curves-only", help="Leave it out: no confusion matrix, pictures, calibration.", rich_help_panel=LOOK
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Where the data are now, if elsewhere.", rich_help_panel=LOOK),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="auto|camvid|cityscapes|voc|…|folder", help="Their layout.", rich_help_panel=LOOK,
            autocompletion=completion.formats,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many pictures.", rich_help_panel=LOOK)
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=0, help="How many of the worst and of the best to show.", rich_help_panel=LOOK)
    ] = 4,
    backend: Annotated[
        str,
        typer.Option(
            metavar="auto|numpy|cupy|reference", help="Who computes.", rich_help_panel=LOOK,
            autocompletion=completion.backends,
        ),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
) -> None:
    """Show how a training went, or how several differ: one HTML page.

    Configuration, curves, IoU by class over the epochs; and by the best
    checkpoint confusion matrix, worst and best pictures, calibration. A run
    may still be going, or may have been killed.

    \b
    Examples:
      segattn report runs/first
      segattn report runs/fcn runs/danet --out comparison.html
      segattn report runs/first --data /mnt/CamVid --limit 50 --pictures 8
      segattn report runs/* --curves-only --out all.html --force
    """
    from segattn_cli.files import write_atomically
    from segattn_cli.reporting import RunReport, read_history, report_page
    from segattn_cli.runs import REPORT

    folders = list({folder.resolve(): folder for folder in runs}.values())
    histories = [read_history(folder) for folder in folders]
    if out is None and len(folders) == 1:
        out = folders[0] / REPORT
        require_writable(out, force=True)  # the run's own file, which the training writes, too
    else:
        out = out or Path(REPORT)
        require_writable(out, force=force)
        require_untouched([out], folders)
    reports = [
        RunReport(history, missing="Left out by --curves-only.") if curves_only
        else _look(history, backend, data, format, limit, pictures)
        for history in histories
    ]
    page = report_page(reports).encode()
    write_atomically(out, page)
    count = f"{len(reports)} runs, " if len(reports) > 1 else ""
    say(f"{out}  {count}{len(page) / 1e6:.1f} MB: open it in a browser")


def _look(
    history: History, backend: str, data: str | None, format: str | None, limit: int | None, pictures: int
) -> RunReport:
    """What there is to say of a run; where its network or its data cannot be used, its curves, and why."""
    from segattn_cli.prediction.evaluation import open_data_of
    from segattn_cli.reporting import RunReport
    from segattn_cli.runs import BEST, LAST, open_model

    model: Model | None = None
    try:
        if not any((history.folder / name).exists() for name in (BEST, LAST)):
            raise CheckpointError(f"{history.folder} has no network yet: it did not come to its first checkpoint.")
        model = open_model(history.folder)
        dataset = open_data_of(model, data, format)
        found = _watch(model, backend, dataset, limit, pictures)
        return RunReport(history, found, palette=model.palette, checkpoint=model.path.stem)
    except (CheckpointError, DataError, MemoryError, NonFiniteError) as error:
        if data is not None and isinstance(error, DataError):
            raise  # that is what was asked for
        said = str(error) if not isinstance(error, MemoryError) else f"There is not enough memory ({error})."
        complain(f"{said} The report of {history.folder} has its curves only.")
        return RunReport(history, missing=said, palette=None if model is None else model.palette)


def _watch(model: Model, backend: str, dataset: Dataset, limit: int | None, pictures: int) -> Validation:
    """Look at the pictures, with the mIoU so far on stderr."""
    from backends import get_backend
    from segattn_cli.commands.shared.progress import progress
    from segattn_cli.reporting import Looked, look, predictor_of

    predictor = predictor_of(model, get_backend(backend))
    with progress("pictures") as advance:
        for event in look(predictor, dataset, limit=limit, pictures=pictures):
            if isinstance(event, Looked):
                advance(event.done, event.total, printable(f"{model.path.parent}: mIoU {event.miou:.3f}"))
    assert not isinstance(event, Looked)  # a look ends with what was found
    return event
