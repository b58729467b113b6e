"""A training's report: its history and what its network makes of the validation set, on one page."""

from segattn_cli.reporting.report_page import RunReport, report_of, report_page
from segattn_cli.runs.history import History, read_history

__all__ = [
    "History", "RunReport", "read_history", "report_of", "report_page",
]
