"""A training's report: its history and what its network makes of the validation set, on one page."""

from segattn_cli.reporting.differences import differences
from segattn_cli.reporting.report_page import RunReport, report_page
from segattn_cli.reporting.validation import Looked, Validation, look, predictor_of
from segattn_cli.runs.history import History, read_history

__all__ = [
    "History", "Looked", "RunReport", "Validation", "differences", "look", "predictor_of", "read_history",
    "report_page",
]
