"""``segattn report``: show how one training or several went, on one page."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared.options import OUTPUT, Backend, ConfiguredFormat, Data, Force, Limit
from segattn_cli.commands.shared.output_paths import require_writable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import complain, say
from segattn_cli.errors import CheckpointError, DataError, ExitCode, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.reporting import History, RunReport
    from segattn_cli.runs import Model

def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of one run or more.", show_default=False)
    ],
    curves_only: Annotated[
        bool,
        typer.Option(
            "--curves-only", help="Show the curves only, without a prediction of the validation images."
        ),
    ] = False,
    pictures: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Number of the worst and of the best images to show."),
    ] = 4,
    data: Data = None,
    format: ConfiguredFormat = None,
    limit: Limit = None,
    backend: Backend = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
            help="Write the page to FILE. The default is RUN/report.html for one run, and report.html for more.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Show how training went, on one HTML page.

    The page has the configuration, the curves of loss and validation, and the
    IoU of each class over the epochs. The best checkpoint also predicts the
    validation images, for the confusion matrix, the worst and the best images,
    and the calibration. Several runs are shown side by side. A run may still
    be training, or may have been stopped.

    \b
    Examples:
      segattn report runs/first
      segattn report runs/fcn runs/danet --out comparison.html
      segattn report runs/first --data /mnt/CamVid --limit 50 --pictures 8
      segattn report runs/* --curves-only --out all.html --force
    """
    from segattn_cli.files import write_atomically
    from segattn_cli.rendering.style import megabytes
    from segattn_cli.reporting import RunReport, read_history, report_page
    from segattn_cli.runs import REPORT

    folders = list({os.path.realpath(folder): folder for folder in runs}.values())
    histories = [read_history(folder) for folder in folders]
    if out is None and len(folders) == 1:
        out = folders[0] / REPORT
        require_writable(out, force=True)  # the run's own file, which the training writes, too
    else:
        out = out or Path(REPORT)
        require_writable(out, force=force, read=folders)
    reports, not_finite = [], False
    for history in histories:
        if curves_only:
            reports.append(RunReport(history, missing="Left out by --curves-only."))
            continue
        try:
            reports.append(evaluated_report(
                history, backend=backend, data=data, format=format, limit=limit, images=pictures,
            ))
        except NonFiniteError as error:
            not_finite = True
            reports.append(RunReport(history, missing=str(error)))
        if reports[-1].missing:
            complain(f"{reports[-1].missing} The report of {history.folder} has its curves only.")
    page = report_page(reports).encode()
    write_atomically(out, page)
    count = f"{len(reports)} runs, " if len(reports) > 1 else ""
    say(f"{out}  {count}{megabytes(len(page))}: open it in a browser")
    if not_finite:
        raise typer.Exit(ExitCode.NON_FINITE)


def evaluated_report(
    history: History, *, backend: str, data: str | None = None, format: str | None = None, limit: int | None = None,
    images: int = 4, should_stop: Callable[[], bool] = lambda: False,
) -> RunReport:
    """The report of a run with the evaluation of its best checkpoint, or without one, and why.

    Raises :class:`DataError` where the ``data`` that somebody named cannot be used, and :class:`NonFiniteError` for
    weights or scores that are not finite.
    """
    from segattn_cli.prediction.evaluation import EvaluationResult, evaluate, open_data_of
    from segattn_cli.reporting import RunReport, report_of
    from segattn_cli.runs import BEST, LAST, open_model

    model: Model | None = None
    try:
        if not any((history.folder / name).exists() for name in (BEST, LAST)):
            raise CheckpointError(f"{history.folder} has no network yet: it has not written a checkpoint.")
        model = open_model(history.folder)
        dataset = open_data_of(model, data, format)
        evaluation = evaluate(predictor_of_validation(model, backend), dataset, limit=limit, examples=images)
        event = follow(
            takewhile(lambda _: not should_stop(), evaluation), "images",
            lambda event: f"{history.folder}: mIoU {event.miou:.3f}",
        )
        if isinstance(event, EvaluationResult):
            return report_of(history, event, model.path.stem)
        missing = "The evaluation was stopped."
    except (CheckpointError, DataError, MemoryError) as error:
        if data is not None and isinstance(error, DataError):
            raise  # that is what was asked for
        missing = f"There is not enough memory ({error})." if isinstance(error, MemoryError) else str(error)
    return RunReport(history, missing=missing, palette=None if model is None else model.palette)


def predictor_of_validation(model: Model, backend: str) -> Predictor:
    """The predictor of the run's own validation; in float32 where the backend does not have the run's precision."""
    from backends import BackendError, get_backend
    from segattn_cli.prediction.predictor import Predictor

    precision = model.config.training.precision
    try:
        return Predictor.of(model, get_backend(backend, precision))
    except BackendError:
        return Predictor.of(model, get_backend(backend), precision="float32")
