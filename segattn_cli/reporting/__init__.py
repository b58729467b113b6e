"""A training's report: its history and what its network makes of the validation set, on one page."""

from segattn_cli.reporting.differences import differences
from segattn_cli.reporting.history import History, read_history
from segattn_cli.reporting.page import Report, report_page
from segattn_cli.reporting.validation import Looked, Validation, look, predictor_of

__all__ = [
    "History", "Looked", "Report", "Validation", "differences", "look", "predictor_of", "read_history",
    "report_page",
]
