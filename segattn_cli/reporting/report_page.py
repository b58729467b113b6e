"""Reports as one page: everything that it shows is a number in its JSON block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from segattn_cli.config import differences
from segattn_cli.prediction.calibration import BINS
from segattn_cli.prediction.evaluation import EvaluationResult
from segattn_cli.prediction.examples import Example
from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE
from segattn_cli.rendering import cividis, data_url, pack, render_page
from segattn_cli.runs.history import History
from segattn_cli.runs.names import labels

TEMPLATE = Path(__file__).with_name("web") / "report.html.jinja"
SCRIPTS = (
    "arrays.js", "dom.js", "maps.js", "charts.js", "series.js", "overview.js", "curves.js",
    "classes.js", "confusion.js", "calibration.js", "examples.js", "report.js",
)
STYLES = ("base.css", "report.css")
#: A curve has at most so many points: beyond, each is the mean of several steps.
MOST_POINTS = 1000
#: Significant digits of the numbers in curves.
DIGITS = 5
JPEG_QUALITY = 85
#: The title names so many runs at most.
MOST_NAMED = 3


@dataclass(frozen=True)
class RunReport:
    """What is known of one run."""

    history: History
    validation: EvaluationResult | None = None
    missing: str = ""  # why there is no validation
    palette: np.ndarray | None = None  # (K, 3) uint8, of the classes; None where no checkpoint says it
    checkpoint: str = "best"  # which of the run's checkpoints the validation is of


def report_of(history: History, evaluation: EvaluationResult, checkpoint: str = "best") -> RunReport:
    """The report of a run with the evaluation of a checkpoint, or without it where that holds no probabilities."""
    if not evaluation.calibration.non_finite:
        return RunReport(history, evaluation, palette=evaluation.palette, checkpoint=checkpoint)
    missing = "The network's scores hold a NaN or an infinity: take an earlier checkpoint."
    return RunReport(history, missing=missing, palette=evaluation.palette)


def report_page(reports: Sequence[RunReport], *, written: datetime | None = None) -> str:
    """The page about one run, or about several beside each other. ``written`` is now by default."""
    written = written or datetime.now(UTC)
    names = labels([report.history.folder for report in reports])
    several = f"{len(names)} trainings" + (f": {', '.join(names)}" if len(names) <= MOST_NAMED else "")
    title = f"Training: {names[0]}" if len(names) == 1 else several
    return render_page(
        TEMPLATE, page_data(reports), scripts=SCRIPTS, styles=STYLES, title=title,
        written=f"{written:%Y-%m-%d %H:%M %Z}", names=names, reports=reports,
        configurations=[report.history.config.as_toml() for report in reports], absent_classes=ABSENT_CLASS_RULE,
    )


def page_data(reports: Sequence[RunReport]) -> dict[str, Any]:
    """What the page's JSON block holds; docs/report.md describes it."""
    histories = [report.history for report in reports]
    return {
        "runs": [
            run_data(report, name)
            for report, name in zip(reports, labels([each.folder for each in histories]), strict=True)
        ],
        "differences": [
            {"key": key, "values": [_json(value) for value in values]}
            for key, values in differences([each.config for each in histories])
        ],
        "colours": cividis(),
    }


def run_data(report: RunReport, name: str) -> dict[str, Any]:
    """What a page's JSON block holds of one run."""
    history = report.history
    best, started = history.best, history.started[-1] if history.started else None
    return {
        "name": name,
        "folder": str(history.folder),
        "state": history.state,
        "step": history.step,
        "last_step": history.last_step,
        "non_finite": history.non_finite and {"step": history.non_finite.step, "tensor": history.non_finite.tensor},
        "unreadable": history.unreadable,
        "missing": report.missing,
        "warnings": list(started.warnings) if started else [],
        "backend": started and started.backend,
        "precision": started.precision if started else "float32",
        "skipped": max((event.skipped for event in history.steps), default=0),
        "parameters": started and started.parameters,
        "weights": history.weights and {
            "file": history.weights.file.name,
            "layout": history.weights.layout,
            "matched": history.weights.matched,
        },
        "training_images": started and started.training_images,
        "validation_images": started and started.validation_images,
        "memory": max((event.memory for event in history.steps), default=None),
        "seconds": history.result.seconds if history.result and history.state == "finished" else None,
        "best": best and {key: getattr(best, key) for key in ("step", "epoch", "miou", "pixel_accuracy")},
        "classes": list(history.classes),
        "palette": None if report.palette is None else report.palette.tolist(),
        "steps": _steps(history),
        "validations": _validations(history),
        "checkpoint": report.checkpoint,
        "validation": report.validation and _validation(report.validation),
    }


def _steps(history: History) -> dict[str, Any]:
    """The curves of training, each a list as long as ``epoch``."""
    events = history.steps
    together = max(1, math.ceil(len(events) / MOST_POINTS))
    scales = history.started[-1].scales if history.started else ()

    def curve(values: Iterable[Any]) -> list[float | None]:
        return _thinned(list(values), together)

    def curves(key: str) -> dict[str, list[float | None]]:
        columns: list[dict[str, float]] = [getattr(event, key) for event in events]
        names = dict.fromkeys(name for column in columns for name in column)
        return {name: curve(column.get(name) for column in columns) for name in names}

    weights = [event.scale_weights or () for event in events]
    weighed = scales[: max(map(len, weights), default=0)]
    return {
        "together": together,
        **{
            key: curve(getattr(event, key) for event in events)
            for key in (
                "epoch", "loss", "learning_rate", "gradient_norm", "loss_scale", "images_per_second", "wait_share",
            )
        },
        "parts": curves("parts"),
        "gates": curves("gates"),
        "scale_weights": {
            f"{scale:g}": curve(each[number] if number < len(each) else None for each in weights)
            for number, scale in enumerate(weighed)
        },
    }


def _validations(history: History) -> dict[str, Any]:
    """The metrics of every validation, each a list as long as ``epoch``."""
    events = history.validations
    metrics = {
        key: [_rounded(getattr(event, key)) for event in events] for key in ("epoch", "miou", "pixel_accuracy")
    }
    return metrics | {
        "per_class_iou": {
            name: [_rounded(event.per_class_iou.get(name)) for event in events]
            for name in dict.fromkeys(name for event in events for name in event.per_class_iou)
        }
    }


def _validation(evaluation: EvaluationResult) -> dict[str, Any]:
    calibration = evaluation.calibration
    return {
        "data": evaluation.data,
        "split": evaluation.split,
        "images": evaluation.images,
        "available": evaluation.available,
        "miou": evaluation.miou,
        "miou_interval": evaluation.miou_interval,
        "pixel_accuracy": evaluation.pixel_accuracy,
        "per_class_iou": list(evaluation.per_class_iou.values()),
        "per_class_dice": list(evaluation.per_class_dice.values()),
        "per_class_precision": list(evaluation.per_class_precision.values()),
        "per_class_recall": list(evaluation.per_class_accuracy.values()),
        "confusion": evaluation.confusion.tolist(),
        "calibration": {
            "bins": BINS,
            "counts": calibration.counts.tolist(),
            "confidence": [_rounded(value) for value in calibration.confidence],
            "accuracy": [_rounded(value) for value in calibration.accuracy],
            "ece": calibration.ece,
        },
        "worst": [_example(each) for each in evaluation.worst],
        "best": [_example(each) for each in evaluation.best],
    }


def _example(example: Example) -> dict[str, Any]:
    return {
        "name": example.name,
        "size": example.image.shape[:2],
        "picture": data_url(example.image, "jpeg", quality=JPEG_QUALITY),
        "truth": pack(example.truth),
        "prediction": pack(example.prediction),
        "miou": example.miou,
        "accuracy": example.accuracy,
    }


def _thinned(values: Sequence[float | None], together: int) -> list[float | None]:
    """The mean of every ``together`` values, of those that are there and finite.

    >>> _thinned([1, 2, 3, None, 5], 2)
    [1.5, 3.0, 5.0]
    """
    groups = (values[start : start + together] for start in range(0, len(values), together))
    return [_rounded(_mean(group)) for group in groups]


def _mean(values: Iterable[float | None]) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _rounded(value: float | None) -> float | None:
    """
    >>> _rounded(0.123456789), _rounded(float("nan")), _rounded(None)
    (0.12346, None, None)
    """
    return float(f"{value:.{DIGITS}g}") if value is not None and math.isfinite(value) else None


def _json(value: Any) -> Any:
    """A value of a configuration in types of JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else list(value)
