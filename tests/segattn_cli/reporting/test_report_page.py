"""What the page holds; tests/segattn_cli/browser/test_report_in_browser.py opens it in a browser."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.rendering import unpack
from segattn_cli.reporting import RunReport, read_history, report_page
from segattn_cli.reporting.report_page import MOST_POINTS, page_data

from ..runs.folders import WHOLE, run_folder, started, step, validated
from .made import evaluation, report


def test_curves_are_what_was_logged(tmp_path: Path) -> None:
    (run,) = page_data([report(tmp_path / "run")])["runs"]
    steps = run["steps"]
    assert steps["together"] == 1
    assert steps["epoch"] == [0.5, 1.0, 1.5, 2.0]
    assert steps["loss"] == [4.0, 2.0, 1.3333, 1.0]
    assert steps["parts"] == {"main": [1.0, 0.5, 0.33333, 0.25], "position": [3.0, 1.5, 1.0, 0.75]}
    assert steps["gates"]["head.channel.gate"] == [-0.2] * 4
    assert steps["scale_weights"] == {"1": [0.75] * 4, "0.5": [0.25] * 4}
    assert run["validations"]["miou"] == [0.25, 0.5]
    assert run["validations"]["per_class_iou"]["sky"] == [None, None]
    assert run["best"] == {"step": 4, "epoch": 2.0, "miou": 0.5, "pixel_accuracy": 0.75}
    assert (run["state"], run["seconds"], run["memory"]) == ("finished", 3725.0, 10**8)


def test_many_steps_become_means_of_several(tmp_path: Path) -> None:
    count = 2 * MOST_POINTS + 1
    events = [started(steps=count), *(step(n + 1, loss=float(n % 3)) for n in range(count))]
    steps = page_data([RunReport(read_history(run_folder(tmp_path, events)))])["runs"][0]["steps"]
    assert steps["together"] == 3
    assert len(steps["epoch"]) == len(steps["loss"]) == len(steps["parts"]["main"]) == 667
    assert steps["loss"] == [1.0] * 667  # of 0, 1 and 2
    assert steps["epoch"][0] == pytest.approx(1.0)  # of 0.5, 1 and 1.5


def test_a_network_without_gates_and_scales(tmp_path: Path) -> None:
    events = [started(scales=[1.0]), step(1, gates={}, scale_weights=None), step(2, gates={}, scale_weights=None)]
    steps = page_data([RunReport(read_history(run_folder(tmp_path, events)))])["runs"][0]["steps"]
    assert (steps["gates"], steps["scale_weights"]) == ({}, {})


def test_half_precision_and_its_skipped_steps(tmp_path: Path) -> None:
    overflowed = step(2, loss_scale=32768.0, skipped=1, gradient_norm=None, loss=None, parts={"main": None})
    events = [started(precision="float16"), step(1, loss_scale=65536.0, skipped=0), overflowed]
    (run,) = page_data([RunReport(read_history(run_folder(tmp_path / "half", events)))])["runs"]
    assert (run["precision"], run["skipped"]) == ("float16", 1)
    assert run["steps"]["loss_scale"] == [65536.0, 32768.0]
    assert run["steps"]["gradient_norm"] == [2.5, None]
    (before,) = page_data([RunReport(read_history(run_folder(tmp_path / "before")))])["runs"]  # there were others
    assert (before["precision"], before["skipped"]) == ("float32", 0)
    assert before["steps"]["loss_scale"] == [None] * 4


def test_lines_that_lack_something_are_left_out_and_counted(tmp_path: Path) -> None:
    bare = [{"event": "started"}, {"event": "step", "step": 1}, {"event": "validated", "step": 1}]
    (run,) = page_data([RunReport(read_history(run_folder(tmp_path, bare)))])["runs"]
    assert run["unreadable"] == 3
    assert run["steps"]["loss"] == run["validations"]["miou"] == []
    assert run["steps"]["parts"] == run["steps"]["scale_weights"] == {}
    assert run["best"] is None


def test_numbers_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    events = [started(), step(1, loss=None, parts={"main": None}), validated(1, 0.5) | {"miou": None}]
    (run,) = page_data([RunReport(read_history(run_folder(tmp_path, events)))])["runs"]
    assert run["steps"]["loss"] == run["steps"]["parts"]["main"] == run["validations"]["miou"] == [None]
    assert run["best"] is None


def test_pictures_and_calibration(tmp_path: Path) -> None:
    made = report(tmp_path / "run")
    assert made.validation is not None
    found = page_data([made])["runs"][0]["validation"]
    for kind in ("worst", "best"):
        for held, each in zip(found[kind], getattr(made.validation, kind), strict=True):
            np.testing.assert_array_equal(unpack(held["truth"]), each.truth)
            np.testing.assert_array_equal(unpack(held["prediction"]), each.prediction)
            assert held["picture"].startswith("data:image/jpeg;base64,/9j/")
    assert found["calibration"]["accuracy"][0] is None  # nothing is so little sure
    assert sum(found["calibration"]["counts"]) == 60 * 80


def test_values_of_every_kind_can_be_told_apart(tmp_path: Path) -> None:
    made = [
        report(tmp_path / "a", looked=False),
        report(tmp_path / "b", "training.ema=0.5", "network.scales=[1.0, 0.75]", "name=b", looked=False),
    ]
    assert page_data(made)["differences"] == [
        {"key": "name", "values": ["tiny-scenes", "b"]},
        {"key": "network.scales", "values": [[1.0, 0.5], [1.0, 0.75]]},
        {"key": "training.ema", "values": [None, 0.5]},
    ]


def test_the_page_is_the_same_for_the_same_run(tmp_path: Path) -> None:
    written = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    one, two = (report_page([report(tmp_path / "run")], written=written) for _ in range(2))
    assert one == two
    assert "2026-03-04 05:06 UTC" in one


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    page = report_page([report(tmp_path / evil, f'name="{evil}"', classes=(evil, "b", "c"), missing=evil)])
    assert evil not in page


def test_it_stays_small_with_large_pictures_of_noise(tmp_path: Path) -> None:
    history = read_history(run_folder(tmp_path, WHOLE))
    made = RunReport(history, evaluation(11, pictures=4, size=(480, 640)), palette=np.zeros((11, 3), np.uint8))
    assert len(report_page([made])) < 4e6


def test_all_of_it_is_json(tmp_path: Path) -> None:
    json.dumps(page_data([report(tmp_path / "run")]), allow_nan=False)
