"""``segattn ablate``: the table of a study, by one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands import ablate_display
from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import STDOUT, show_and_write
from segattn_cli.commands.shared.options import (
    CONFIGURATION,
    OUTPUT,
    ConfiguredBackend,
    ConfiguredFormat,
    ConfiguredPrecision,
    Data,
    JsonFile,
    ListChoices,
    Settings,
)
from segattn_cli.commands.shared.output_paths import require_empty, require_replaceable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import complain, remark, say
from segattn_cli.errors import ExitCode, SegattnError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segattn_cli.config.study import Study
    from segattn_cli.reporting.study_results import StudyRow, TrainedRun
    from segattn_cli.training.study import StudyRun


def ablate(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", show_default=False, autocompletion=completion.studies,
            help="Study file in TOML, or the name of one that comes with segattn.",
        ),
    ] = None,
    list_studies: ListChoices = False,
    show: Annotated[bool, typer.Option("--show", help="Print the study file, and exit.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1000, rich_help_panel=CONFIGURATION, show_default=False,
            help="Number of seeds for each row, from 0. The default is that of the study.",
        ),
    ] = None,
    settings: Settings = None,
    data: Data = None,
    format: ConfiguredFormat = None,
    backend: ConfiguredBackend = None,
    precision: ConfiguredPrecision = None,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Number of runs that train at the same time and share the cores."),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=OUTPUT, show_default=False,
            help="Folder for the runs and the page. The default is runs/STUDY.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", rich_help_panel=OUTPUT, help="Keep finished runs in --out, and continue the others."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=OUTPUT, help="Print which runs there are. Train nothing."),
    ] = False,
    json_file: JsonFile = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Write the table to FILE in Markdown."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Write the table to FILE as CSV."),
    ] = None,
) -> None:
    """Train the rows of a table, and compare them.

    A study is a configuration, rows that change some of its keys, and a number
    of seeds. Each run is an ordinary run, in DIR/ROW/seed-N. The table has the
    mIoU of each row, its difference to the first row with a 95 % interval, time,
    parameters, gates and scale weights; DIR/study.html also has the curves. A run
    that fails has a line in the table, and the exit code is then 8. Ctrl-C saves
    all runs that are going on and exits with code 130; --resume continues.

    \b
    Examples:
      segattn ablate --list
      segattn ablate danet-scenes
      segattn ablate danet-camvid --data CamVid --seeds 5 --jobs 2
      segattn ablate danet-camvid --data CamVid --seeds 5 --resume
      segattn ablate my-study.toml --set training.epochs=50 --markdown table.md
    """
    from segattn_cli.config.study import load_study
    from segattn_cli.training.study import runs_of

    if list_studies:
        ablate_display.show_studies()
        return
    if study is None:
        raise UsageError("Missing argument 'STUDY': name a study file, or a study of segattn ablate --list.")
    if data is not None and format is None:
        format = "auto"
    named = {
        "data.source": data, "data.format": format, "training.backend": backend, "training.precision": precision,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    loaded = load_study(study, [*(settings or ()), *overrides], seeds=seeds)
    if show:
        print(loaded.text, end="")
        return
    folder = out or Path("runs") / loaded.name
    planned = runs_of(loaded, folder)
    if dry_run:
        ablate_display.show_plan(loaded, planned)
        return
    require_replaceable(json_file, markdown, csv, read=[Path(study)])
    require_empty(folder, resume=resume)
    failures = _train(planned, jobs, folder, study)
    rows = _rows(loaded, planned, failures)
    _write(loaded, rows, folder, json_file, markdown, csv)
    if any(failures.values()):
        raise typer.Exit(ExitCode.PARTIAL)


def _train(planned: Sequence[StudyRun], jobs: int, out: Path, study: str) -> dict[str, dict[str, str]]:
    """Train what is not finished; by row, why each run failed, by its label. Ends the command if stopped."""
    from segattn_cli.commands.shared.signals import asked_to_stop
    from segattn_cli.training.study import RunEnded, RunProgress, do_runs

    failures: dict[str, dict[str, str]] = {}
    stopped = []

    def ended(event: RunEnded | RunProgress) -> None:
        if not isinstance(event, RunEnded):
            return
        if event.state == "failed":
            failures.setdefault(event.run.row, {})[event.run.label] = event.reason
            complain(f"{event.run.label} failed: {event.reason}")
        elif event.state == "stopped":
            stopped.append(event.run)

    with asked_to_stop("step") as should_stop:
        events = do_runs(planned, jobs=jobs, should_stop=should_stop)
        follow(events, "runs", lambda event: event.note, show=ended)
        if should_stop() or stopped:
            remark(f"Saved. Continue with: segattn ablate {study} --out {out} --resume, and the same options.")
            raise typer.Exit(ExitCode.INTERRUPTED)
    return failures


def _rows(study: Study, planned: Sequence[StudyRun], failures: dict[str, dict[str, str]]) -> list[StudyRow]:
    """The rows of the table; a finished run that cannot be evaluated any more counts as failed."""
    from segattn_cli.reporting.study_results import study_rows

    trained: dict[str, list[TrainedRun]] = {row: [] for row in study.rows}
    for run in planned:
        if run.label in failures.get(run.row, {}):
            continue
        try:
            trained[run.row].append(_evaluated(run))
        except (SegattnError, MemoryError) as error:
            reason = f"There is not enough memory ({error})." if isinstance(error, MemoryError) else str(error)
            failures.setdefault(run.row, {})[run.label] = reason
            complain(f"{run.label} cannot be evaluated: {reason}")
    return study_rows(trained, failures, study.seeds * (study.folds or 1), study.folds)


def _evaluated(run: StudyRun) -> TrainedRun:
    """A finished run, with the evaluation that its training saved, or a new one."""
    from segattn_cli.commands.report import predictor_of_validation
    from segattn_cli.prediction.evaluation import open_data_of
    from segattn_cli.prediction.run_comparison import evaluate_once
    from segattn_cli.prediction.saved_evaluation import SavedEvaluation
    from segattn_cli.reporting.study_results import TrainedRun
    from segattn_cli.runs import open_model
    from segattn_cli.runs.history import read_history

    model = open_model(run.out)
    predictor = predictor_of_validation(model, run.config.training.backend)
    events = evaluate_once(model, predictor, open_data_of(model), limit=run.config.evaluation.limit)
    event = follow(events, "images", lambda event: f"{run.label}: mIoU {event.miou:.3f}")
    assert isinstance(event, SavedEvaluation)
    return TrainedRun(run.label, read_history(run.out), event)


def _write(
    study: Study, rows: Sequence[StudyRow], out: Path, json_file: Path | None, markdown: Path | None,
    csv: Path | None,
) -> None:
    """Print the table, and write it and the page."""
    from segattn_cli.files import write_atomically
    from segattn_cli.rendering.tables import csv_table, markdown_table
    from segattn_cli.reporting.study_page import study_page
    from segattn_cli.reporting.study_results import CSV_HEADINGS, csv_rows, study_notes, study_table

    page = study_page(study.name, study.title, [(row, _keys(tree)) for row, tree in study.changes.items()], rows)
    write_atomically(out / "study.html", page.encode())
    result = {
        "study": study.name, "title": study.title, "seeds": study.seeds, "folds": study.folds,
        "rows": [row.as_dict() for row in rows],
    }
    show_and_write(result, json_file, lambda: ablate_display.show_table(study, rows))
    if json_file != STDOUT:
        say(f"{out}/study.html has the curves: open it in a browser")
    if markdown is not None:
        parts = [markdown_table(*study_table(rows)), *(f"{note}\n" for note in study_notes(rows))]
        write_atomically(markdown, "\n".join(parts).encode())
    if csv is not None:
        write_atomically(csv, csv_table(CSV_HEADINGS, csv_rows(rows)).encode())


def _keys(tree: Mapping[str, Any], table: str = "") -> str:
    """The keys of a row as the command line has them.

    >>> _keys({"network": {"head": "fcn", "scales": [1.0]}})
    'network.head="fcn" network.scales=[1.0]'
    """
    return " ".join(
        _keys(value, f"{table}{key}.") if isinstance(value, dict) else f"{table}{key}={json.dumps(value)}"
        for key, value in tree.items()
    )
