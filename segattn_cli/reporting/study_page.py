"""A study as one page: its table, and the curves of all runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segattn_cli.rendering import render_page
from segattn_cli.reporting.report_page import RunReport, run_data
from segattn_cli.reporting.study_results import StudyRow, study_notes, study_table

TEMPLATE = Path(__file__).with_name("web") / "study.html.jinja"
SCRIPTS = ("arrays.js", "dom.js", "charts.js", "series.js", "curves.js", "study.js")
STYLES = ("base.css", "report.css")


def study_page(
    name: str, title: str, changes: Sequence[tuple[str, str]], rows: Sequence[StudyRow], *,
    written: datetime | None = None,
) -> str:
    """The page of the study ``name``; ``changes`` says of each row which keys it sets.

    Curves have a colour for each row and a dash for each of its runs. ``written`` is now by default.
    """
    written = written or datetime.now(UTC)
    headings, table = study_table(rows)
    return render_page(
        TEMPLATE, page_data(rows), scripts=SCRIPTS, styles=STYLES, title=f"Study: {name}", about=title,
        written=f"{written:%Y-%m-%d %H:%M %Z}", headings=headings, table=table, notes=study_notes(rows),
        changes=changes,
    )


def page_data(rows: Sequence[StudyRow]) -> dict[str, Any]:
    """What the page's JSON block holds: the finished runs, each with the number of its row and its own in it."""
    return {
        "runs": [
            {
                **run_data(RunReport(run.history), run.label),
                "series": series,
                "repetition": repetition,
            }
            for series, row in enumerate(rows)
            for repetition, run in enumerate(row.runs)
        ],
        "differences": [],
    }
