"""The report at the end of ``segattn train``: what it holds, and that nothing in its way costs the run."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segattn_cli.errors import DataError, ExitCode
from segattn_cli.prediction import evaluation
from segattn_cli.prediction.predictor import Predictor

from ..runs.folders import TINY

SETTINGS = [
    f"--set={each}"
    for each in (
        *TINY, "data.workers=1", "augmentation.crop=[24, 32]", "training.batch_size=2", "training.epochs=1",
        "training.log_every=1",
    )
]


@pytest.fixture
def train(cli: Any, tmp_path: Path) -> Any:
    """``train(*options)``: two steps of a training with one validation of three images."""
    return lambda *options: cli("train", *SETTINGS, "--backend", "reference", "--out", tmp_path / "run", *options)


def page_of(run: Path) -> Any:
    page = (run / "report.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    (found,) = json.loads(data[1])["runs"]
    return found


def fail(error: Exception) -> Any:
    def failing(*_: Any, **__: Any) -> Any:
        raise error

    return failing


def test_it_has_the_metrics_of_the_best_validation(train: Any, tmp_path: Path) -> None:
    assert train().code == ExitCode.OK
    page, result = page_of(tmp_path / "run"), json.loads((tmp_path / "run" / "result.json").read_text())
    assert page["state"] == "finished"
    assert page["validation"]["miou"] == result["miou"]
    assert (page["validation"]["images"], page["validation"]["available"]) == (3, 3)
    assert len(page["validation"]["worst"]) + len(page["validation"]["best"]) == 3
    assert len(page["steps"]["epoch"]) == 2
    assert page["seconds"] == result["seconds"]


def test_a_resumed_training_evaluates_the_best_checkpoint_of_an_earlier_session(train: Any, tmp_path: Path) -> None:
    assert train().code == ExitCode.OK
    whole = page_of(tmp_path / "run")
    done = train("--resume")
    assert done.code == ExitCode.OK
    assert "3/3 images" in done.err
    assert page_of(tmp_path / "run")["validation"] == whole["validation"]


@pytest.mark.parametrize("error", ["truth.png is damaged.", "There is not enough memory (1 TiB)."])
def test_what_prevents_the_evaluation_is_said(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    assert train().code == ExitCode.OK
    (tmp_path / "run" / "report.html").unlink()
    raised = MemoryError("1 TiB") if "TiB" in error else DataError(error)
    monkeypatch.setattr("segattn_cli.prediction.evaluation.evaluate", fail(raised))
    done = train("--resume")
    assert done.code == ExitCode.OK
    missing = f"{error} For the rest: segattn report {tmp_path / 'run'}"
    assert f"segattn: {missing}\n" in done.err
    page = page_of(tmp_path / "run")
    assert (page["validation"], page["missing"]) == (None, missing)
    assert page["steps"]["loss"]
    assert page["palette"]


def test_scores_that_are_not_finite_leave_the_curves(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confidence_of = Predictor.confidence_of
    monkeypatch.setattr(
        Predictor, "confidence_of", lambda self, prediction: np.nan * confidence_of(self, prediction)
    )
    assert train().code == ExitCode.OK  # a network that overflows in validation goes on learning
    assert page_of(tmp_path / "run")["missing"].startswith("The network's scores hold a NaN or an infinity")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("segattn_cli.training.loop.draw_predictions", "predictions.png"),
        ("segattn_cli.training.loop.draw_curves", "curves.png"),
        ("segattn_cli.reporting.report_page", "report.html"),
    ],
)
def test_want_of_memory_for_an_image_or_the_page_costs_no_finished_training(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    monkeypatch.setattr(where, fail(MemoryError("1 TiB")))
    done = train()
    assert done.code == ExitCode.OK
    assert "validation mIoU" in done.out
    (line,) = [line for line in done.err.splitlines() if name in line]
    assert "not enough memory" in line
    assert not (tmp_path / "run" / name).exists()
    files = {"result.json", "predictions.png", "curves.png", "report.html", "best.safetensors"}
    assert all((tmp_path / "run" / file).exists() for file in files - {name})


def test_a_stop_during_the_evaluation_leaves_the_curves(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train().code == ExitCode.OK
    evaluate = evaluation.evaluate

    def interrupted(*arguments: Any, **options: Any) -> Any:
        for event in evaluate(*arguments, **options):
            os.kill(os.getpid(), signal.SIGINT)
            yield event

    monkeypatch.setattr("segattn_cli.prediction.evaluation.evaluate", interrupted)
    assert train("--resume").code == ExitCode.OK
    missing = page_of(tmp_path / "run")["missing"]
    assert missing == f"The evaluation was stopped. For the rest: segattn report {tmp_path / 'run'}"


def test_where_it_cannot_be_written_the_result_is_there(train: Any, tmp_path: Path) -> None:
    assert train().code == ExitCode.OK
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "report.html").unlink()
    (tmp_path / "run" / "report.html").mkdir()
    done = train("--resume")
    assert done.code == ExitCode.OUTPUT
    assert "report.html cannot be written" in done.err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 2
