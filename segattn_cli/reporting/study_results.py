"""What came of a study: a row for each of its experiments, compared with the first one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segattn_cli.prediction.run_comparison import (
    Group,
    GroupComparison,
    difference_cells,
    explanations,
    is_of_the_same_images,
    join_folds,
    mean_text,
)
from segattn_cli.prediction.saved_evaluation import SavedEvaluation
from segattn_cli.runs.history import History


@dataclass(frozen=True)
class TrainedRun:
    """A run of a study that is finished: how it went, and what its best checkpoint predicted."""

    label: str
    history: History
    evaluation: SavedEvaluation


@dataclass(frozen=True)
class StudyRow:
    """The runs of one experiment."""

    name: str
    runs: tuple[TrainedRun, ...]
    group: Group | None  # None where no seed is finished
    comparison: GroupComparison | None  # with the first row; None for that row itself
    failures: dict[str, str]  # by the label of a run that is not finished, why
    planned: int  # runs

    @property
    def minutes(self) -> float | None:
        """The mean time of a run."""
        seconds = [run.history.result.seconds for run in self.runs if run.history.result is not None]
        known = [each for each in seconds if each is not None]
        return float(np.mean(known)) / 60 if known else None

    @property
    def parameters(self) -> int | None:
        """The numbers that are trained."""
        started = [run.history.started[-1].parameters for run in self.runs if run.history.started]
        return started[0] if started else None

    @property
    def gates(self) -> dict[str, list[float]]:
        """The learned factor of each attention, by the name of its parameter, of each run in its best checkpoint.

        They are not averaged: a gate may end at either side of 0.
        """
        best = [run.history.best for run in self.runs]
        found = [each.gates for each in best if each is not None]
        return {name: [gates[name] for gates in found] for name in (found[0] if found else {})}

    @property
    def scale_weights(self) -> dict[float, float]:
        """The mean weight of each scale, over the images and the runs."""
        weights = [run.evaluation.scale_weights for run in self.runs if run.evaluation.scale_weights is not None]
        scales = self.runs[0].evaluation.config.network.scales if self.runs else ()
        return dict(zip(scales, np.mean(weights, axis=0).tolist(), strict=True)) if weights else {}

    def as_dict(self) -> dict[str, Any]:
        """The row in types of JSON."""
        return {
            "name": self.name,
            "runs": {run.label: run.evaluation.matrices.miou for run in self.runs},
            "planned": self.planned,
            "failed": self.failures,
            "miou": self.group and self.group.miou,
            "sd": self.group and self.group.sd,
            "difference": self.comparison and {
                **self.comparison.miou.as_dict(), "paired": self.comparison.is_paired,
            },
            "minutes": self.minutes,
            "parameters": self.parameters,
            "gates": self.gates,
            "scale_weights": {f"{scale:g}": weight for scale, weight in self.scale_weights.items()},
        }


def study_rows(
    runs: Mapping[str, Sequence[TrainedRun]], failures: Mapping[str, Mapping[str, str]], planned: int,
    folds: int | None,
) -> list[StudyRow]:
    """The rows of a study from its finished ``runs`` and the ``failures`` of the others, by the name of the row.

    The folds of a seed count as one run on all images, where all of them are finished.

    Args:
        planned: the number of runs of each row.
    """
    rows: list[StudyRow] = []
    for name, trained in runs.items():
        evaluations = [run.evaluation for run in trained]
        if folds is not None:
            finished = Counter(each.config.training.seed for each in evaluations)
            evaluations = [each for each in evaluations if finished[each.config.training.seed] == folds]
            _, evaluations = join_folds([""] * len(evaluations), evaluations)
        evaluations.sort(key=lambda each: each.config.training.seed)
        group = Group(name, tuple(evaluations)) if evaluations else None
        first = rows[0].group if rows else None
        comparison = None
        if first and group and is_of_the_same_images(first.evaluations[0], group.evaluations[0]):
            comparison = GroupComparison(first, group)
        rows.append(StudyRow(name, tuple(trained), group, comparison, dict(failures.get(name, {})), planned))
    return rows


#: The column that has no name holds the verdict.
HEADINGS = (
    "row", "runs", "mIoU", "difference", "95 % interval", "", "minutes", "parameters", "gates", "scale weights",
)


def study_table(rows: Sequence[StudyRow]) -> tuple[list[str], list[list[str]]]:
    """The headings and the cells of each row; a run that failed has a row of its own.

    Of the columns in :data:`HEADINGS`, those that are empty in all rows are left out.
    """
    table: list[list[str]] = []
    for number, row in enumerate(rows):
        difference = difference_cells(row.comparison.miou) if row.comparison else ["", "", ""]
        if number and row.group and not row.comparison:
            difference[2] = "other images"
        weights = (f"×{scale:g} {weight:.2f}" for scale, weight in row.scale_weights.items())
        table.append([
            row.name,
            str(len(row.runs)) if len(row.runs) == row.planned else f"{len(row.runs)} of {row.planned}",
            mean_text(row.group) if row.group else "–",
            *difference,
            "–" if row.minutes is None else f"{row.minutes:.1f}",
            "–" if row.parameters is None else f"{row.parameters:,}",
            "; ".join(f"{_letter(name)} {_listed(values)}" for name, values in row.gates.items()),
            ", ".join(weights),
        ])
        table += [[label, "", "", "", "", "failed", "", "", "", ""] for label in row.failures]
    used = [column for column in range(len(HEADINGS)) if any(cells[column] for cells in table)]
    headings, *cells = ([line[column] for column in used] for line in [HEADINGS, *table])
    return headings, cells


def study_notes(rows: Sequence[StudyRow]) -> list[str]:
    """What the numbers of a table mean: sentences."""
    comparisons = [row.comparison for row in rows if row.comparison]
    has_sd = any(row.group and row.group.sd is not None for row in rows)
    notes = [
        *(f"{label} failed: {reason}" for row in rows for label, reason in row.failures.items()),
        "The mIoU is that of the best checkpoint of each run on the validation images"
        + (", ± the standard deviation over the seeds." if has_sd else "."),
        *([f"Differences are to {rows[0].name}."] if comparisons else []),
        *explanations(comparisons),
    ]
    if any(row.gates for row in rows):
        notes.append("Gates are those of each run, at its best checkpoint.")
    return notes


def _letter(parameter: str) -> str:
    """
    >>> _letter("head.position.gate"), _letter("head.channel.gate")
    ('α', 'β')
    """
    return "α" if ".position." in parameter else "β"


def _listed(values: Sequence[float]) -> str:
    """
    >>> _listed([0.123, -0.5])
    '+0.123 −0.500'
    """
    return " ".join(f"{value:+.3f}".replace("-", "−") for value in values)


CSV_HEADINGS = (
    "row", "runs", "planned", "miou", "sd", "difference", "low", "high", "over", "verdict", "minutes", "parameters",
)


def csv_rows(rows: Sequence[StudyRow]) -> list[list[object]]:
    """The numbers of each row under :data:`CSV_HEADINGS`, unrounded; None where there is none."""
    table: list[list[object]] = []
    for row in rows:
        found = row.as_dict()
        difference = found["difference"] or {}
        table.append([
            row.name, len(row.runs), row.planned, found["miou"], found["sd"],
            *(difference.get(key) for key in ("value", "low", "high", "over", "verdict")),
            row.minutes, row.parameters,
        ])
    return table
