"""The page of a study: its table, and curves with a colour for each row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segattn_cli.prediction.image_matrices import ImageMatrices, nonzero_cells
from segattn_cli.prediction.saved_evaluation import SavedEvaluation
from segattn_cli.reporting.study_page import study_page
from segattn_cli.reporting.study_results import TrainedRun, study_rows
from segattn_cli.runs.history import read_history

from ..runs.folders import WHOLE, run_folder


def trained(path: Path, label: str, right: int, *overrides: str) -> TrainedRun:
    history = read_history(run_folder(path / label, WHOLE, *overrides, result={"steps": 4, "seconds": 90.0}))
    images = [nonzero_cells(np.array([[right + n, 10], [5, 50]])) for n in range(4)]
    matrices = ImageMatrices.of(2, ["a", "b", "c", "d"], images)
    return TrainedRun(label, history, SavedEvaluation(
        label, history.config, ("sky", "road"), "scenes", "val", {}, (0.75, 0.25), matrices,
    ))


def test_the_table_and_the_curves(visit: Callable[..., Any], tmp_path: Path) -> None:
    seeds = [f"training.seed={seed}" for seed in (0, 1)]
    runs = {
        "one": [trained(tmp_path, f"one/seed-{n}", 60 + n, seed) for n, seed in enumerate(seeds)],
        "two <b>": [trained(tmp_path, f"two/seed-{n}", 80 + n, seed) for n, seed in enumerate(seeds)],
    }
    # The truth differs from row to row, and so there is nothing to compare.
    rows = study_rows(runs, {"two <b>": {"two/seed-2": "A <tensor> is not finite."}}, 3, None)
    assert rows[1].comparison is None
    path = tmp_path / "study.html"
    changes = [("one", "network.scales=[1.0]"), ("two <b>", "network.scales=[1.0, 0.5]")]
    path.write_text(study_page("scales", "One scale and two.", changes, rows), encoding="utf-8")
    page = visit(path).page
    cells = page.locator("table.study tbody tr").all_inner_texts()
    assert [line.split("\t")[0] for line in cells] == ["one", "two <b>", "two/seed-2"]
    assert "2 of 3" in cells[0]
    assert f"{rows[0].group.miou:.3f} ± {rows[0].group.sd:.3f}" in cells[0]
    assert "1.5" in cells[0].split("\t")
    assert "×1 0.75, ×0.5 0.25" in cells[0]
    assert "other images" in cells[1]
    assert "failed" in cells[2]
    assert "two/seed-2 failed: A <tensor> is not finite." in page.locator("#s-table").inner_text()
    validation = page.locator(".chart", has_text="validation")
    names = validation.locator(".chart-legend button").all_inner_texts()
    assert names == ["one/seed-0", "one/seed-1", "two/seed-0", "two/seed-1"]
    lines = validation.locator("svg[role=img] path.line")
    colours = lines.evaluate_all("lines => lines.map((line) => line.style.stroke)")
    dashes = lines.evaluate_all("lines => lines.map((line) => line.getAttribute('stroke-dasharray'))")
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert dashes[0] == dashes[2] != dashes[1] == dashes[3]
