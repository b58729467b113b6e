"""``segattn data check --suggest``: a configuration for a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from segattn_cli.commands.shared.terminal import complain, remark
from segattn_cli.errors import DataError, ExitCode, UsageError

if TYPE_CHECKING:
    from segattn_cli.data import Dataset
    from segattn_cli.data.inspect import SplitReport

#: Number of kinds of problems that are printed.
SHOWN_PROBLEMS = 20


def splits_to_use(format: str, available: Sequence[str]) -> list[str]:
    """The split to train on and, where there is one, that to validate on."""
    if format == "scenes":
        raise UsageError("--suggest is for a folder of images; the preset tiny-scenes trains on scenes.")
    if not available:
        raise DataError("The data set has no split: is it in another format?")
    train = "train" if "train" in available else available[0]
    return [train, *(["val"] if "val" in available and train != "val" else [])]


def print_suggestion(
    source: str, format: str, reports: Sequence[SplitReport], dataset: Dataset | None, val_fraction: float | None
) -> None:
    """Print the configuration on standard output, and warnings on standard error.

    Where training would fail, the reasons are printed in place of a configuration, and the command ends.
    """
    from segattn_cli.data.dataset import FileDataset
    from segattn_cli.data.formats.recognition import splits_of
    from segattn_cli.data.inspect import summarise_problems
    from segattn_cli.data.review import review, warnings_of
    from segattn_cli.data.segments import measure_segments
    from segattn_cli.data.splits import DRAWN
    from segattn_cli.training.suggestion import DataFacts, suggest

    train, val = reports[0], reports[1] if len(reports) > 1 else None
    verdict = review(train, val, dataset.classes if dataset else ())
    for warning in (*(each for report in reports for each in warnings_of(report)), *verdict.warnings):
        remark(f"! {warning}")
    problems = [each for report in reports for each in summarise_problems(report.problems)]
    if problems or verdict.refusals or not isinstance(dataset, FileDataset):
        for sentence in (*problems[:SHOWN_PROBLEMS], *verdict.refusals):
            complain(sentence)
        raise typer.Exit(ExitCode.DATA)
    facts = DataFacts(
        source=source, format=format, is_divided=splits_of(source, format=format) != DRAWN, train=train,
        val_images=val.images if val else 0, classes=dataset.classes, segments=measure_segments(dataset),
        val_fraction=val_fraction, intensity=dataset.intensity,
    )  # fmt: skip
    print(suggest(facts).as_toml())
