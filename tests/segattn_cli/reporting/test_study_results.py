"""The rows of a study: what is compared, what is counted, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.prediction.image_matrices import ImageMatrices, nonzero_cells
from segattn_cli.prediction.saved_evaluation import SavedEvaluation
from segattn_cli.reporting.study_results import TrainedRun, csv_rows, study_notes, study_rows, study_table
from segattn_cli.runs.history import read_history

from ..runs.folders import WHOLE, run_folder, validated


def trained(path: Path, label: str, right: int, *overrides: str) -> TrainedRun:
    """A run whose network is right on ``right`` of 100 pixels of each of four images, give or take one."""
    events = [*WHOLE[:-1], validated(4, 0.5, gates={"head.position.gate": -0.25, "head.channel.gate": 0.5})]
    history = read_history(run_folder(path / label, events, *overrides, result={"steps": 4, "seconds": 90.0}))
    images = [nonzero_cells(np.array([[right + n, 100 - right - n], [5, 50]])) for n in range(4)]
    matrices = ImageMatrices.of(2, list("abcd"), images)
    return TrainedRun(label, history, SavedEvaluation(
        label, history.config, ("sky", "road"), "scenes", "val", {}, (0.75, 0.25), matrices,
    ))


def test_rows_with_seeds(tmp_path: Path) -> None:
    runs = {
        name: [trained(tmp_path, f"{name}/seed-{n}", right + n * n, f"training.seed={n}") for n in range(3)]
        for name, right in (("one", 60), ("two", 80))
    }
    rows = study_rows(runs, {}, 3, None)
    headings, cells = study_table(rows)
    assert headings == [
        "row", "runs", "mIoU", "difference", "95 % interval", "", "minutes", "parameters", "gates", "scale weights",
    ]
    assert cells[0][3:6] == ["", "", ""]
    comparison = rows[1].comparison
    assert comparison is not None
    assert comparison.over == "seeds"
    assert cells[1][5] == comparison.miou.verdict == "better"
    gates = "α −0.250 −0.250 −0.250; β +0.500 +0.500 +0.500"
    assert cells[1][6:] == ["1.5", "266,287", gates, "×1 0.75, ×0.5 0.25"]
    assert "Differences are to one." in study_notes(rows)
    assert csv_rows(rows)[1][5] == comparison.miou.value


def test_columns_that_are_empty_are_left_out(tmp_path: Path) -> None:
    run = trained(tmp_path, "one/seed-0", 60)
    run = replace(run, evaluation=replace(run.evaluation, scale_weights=None))
    headings, cells = study_table(study_rows({"one": [run]}, {}, 1, None))
    assert headings == ["row", "runs", "mIoU", "minutes", "parameters", "gates"]
    assert cells[0][2] == f"{run.evaluation.matrices.miou:.3f}"


def test_a_row_of_which_nothing_is_finished(tmp_path: Path) -> None:
    failed = {"two": {"two/seed-0": "The loss is not finite."}}
    runs = {"one": [trained(tmp_path, "one/seed-0", 60)], "two": []}
    rows = study_rows(runs, failed, 1, None)
    _, cells = study_table(rows)
    assert [line[:3] for line in cells[1:]] == [["two", "0 of 1", "–"], ["two/seed-0", "", ""]]
    assert study_notes(rows)[0] == "two/seed-0 failed: The loss is not finite."
    assert rows[1].as_dict()["miou"] is None


def test_a_seed_counts_once_all_its_folds_are_finished(tmp_path: Path) -> None:
    folds = [
        trained(tmp_path, f"one/seed-{seed}/fold-{fold}", 60 + fold, f"training.seed={seed}", "data.folds=2",
                f"data.fold={fold}", "data.source=photos")
        for seed, fold in ((0, 1), (0, 2), (1, 1))
    ]  # fmt: skip
    (row,) = study_rows({"one": folds}, {}, 4, 2)
    assert row.group is not None
    assert row.group.seeds == (0,)
    parts = [run.evaluation.matrices for run in folds[:2]]
    assert row.group.miou == pytest.approx(ImageMatrices.joined(parts).miou)
    assert study_table([row])[1][0][1] == "3 of 4"
