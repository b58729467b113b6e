"""What ``segattn ablate`` prints: the studies, the runs of one, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segattn_cli.commands.shared.tables import show_text_table
from segattn_cli.commands.shared.terminal import console, plain, say
from segattn_cli.errors import counted

if TYPE_CHECKING:
    from segattn_cli.config.study import Study
    from segattn_cli.reporting.study_results import StudyRow
    from segattn_cli.training.study import StudyRun


def show_studies() -> None:
    """Print the name and the first line of each study."""
    from rich.table import Table

    from segattn_cli.config.study import STUDIES, study_summary

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    for name in STUDIES:
        table.add_row(name, study_summary(name))
    console().print(table)


def show_plan(study: Study, planned: Sequence[StudyRun]) -> None:
    """Print what becomes of each run; raises :class:`ConfigError` where a folder holds another one."""
    from segattn_cli.runs import CONFIG
    from segattn_cli.training.study import is_finished

    say(f"{study.name}: {counted(len(study.rows), 'row')}, {counted(len(planned), 'run')}")
    for run in planned:
        started = (run.out / CONFIG).is_file()
        state = "finished" if is_finished(run) else "continues" if started else "missing"
        say(f"{run.out}  {state}")


def show_table(study: Study, rows: Sequence[StudyRow]) -> None:
    """Print the table, and what its numbers mean."""
    from segattn_cli.reporting.study_results import study_notes, study_table

    out = console()
    out.print(f"[bold]{plain(study.name)}[/]" + (f": {plain(study.title)}" if study.title else ""))
    show_text_table(*study_table(rows))
    for note in study_notes(rows):
        out.print(plain(note), style="dim")
