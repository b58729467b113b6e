"""What a run says of itself in its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backends.contract import Ops
from segattn_cli import runs
from segattn_cli.config import Config
from segattn_cli.data import Dataset
from segattn_cli.errors import DataError, NonFiniteError
from segattn_cli.files import write_atomically
from segattn_cli.machine.versions import versions
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.rendering import charts
from segattn_cli.rendering import overlays as pictures
from segattn_cli.reporting import Looked, RunReport, look, predictor_of, read_history, report_page
from segattn_cli.training.state import Progress

#: What a result may depend on.
PACKAGES = ("segattn", "numpy", "scipy", "pillow")
#: How many validation images the picture of predictions shows.
PICTURED = 4
#: How many the last look at them takes at most: `segattn report` looks at all.
MOST_LOOKED_AT = 200


def metadata(kind: str, config: Config, dataset: Dataset, ops: Ops) -> dict[str, Any]:
    """What a checkpoint says beside its arrays: enough to open it without the run's folder."""
    return {
        "kind": kind,
        "config": config.model_dump(mode="json", exclude_none=True),
        "classes": list(dataset.classes),
        "palette": dataset.palette.tolist(),
        "backend": ops.name,
        "versions": versions(PACKAGES),
    }


def write_report(out: Path, config: Config, progress: Progress, validation: Dataset, ops: Ops) -> dict[str, Any]:
    """Write ``result.json`` and the two pictures; returns what stands in ``result.json``.

    The figures are those of the best checkpoint on the validation set, which is what `segattn eval` opens.
    """
    best, last = progress.best, progress.last
    assert best is not None  # a run ends with a validation
    assert last is not None
    result = {
        "name": config.name,
        "miou": best["miou"],
        "pixel_accuracy": best["pixel_accuracy"],
        "per_class_iou": best["per_class_iou"],
        "gates": best["gates"],
        "scale_weights": best["scale_weights"],
        "best_step": best["step"],
        "last_miou": last["miou"],
        "epochs": last["epoch"],
        "steps": progress.step,
        "seconds": round(progress.seconds, 3),
        "backend": ops.name,
        "precision": config.training.precision,
        "seed": config.training.seed,
        "versions": versions(PACKAGES),
    }
    write_atomically(out / runs.RESULT, (json.dumps(result, indent=2) + "\n").encode())
    charts.draw_curves(out / runs.EVENTS, out / runs.CURVES, scales=config.network.scales)
    _draw_predictions(out, validation, ops)
    return result


def write_page(
    out: Path, validation: Dataset, ops: Ops, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Looked]:
    """Write ``report.html``: a last look at the validation set by the best checkpoint, an event for each picture.

    It looks at no more pictures than a validation does, and at :data:`MOST_LOOKED_AT` at most. Whatever comes in
    its way, or a stop, leaves a page with the curves alone: the run itself is complete by now.
    """
    model = runs.open_model(out)
    limit = min(model.config.evaluation.limit or MOST_LOOKED_AT, MOST_LOOKED_AT)
    found, missing = None, ""
    try:
        for event in look(predictor_of(model, ops), validation, limit=limit):
            if isinstance(event, Looked):
                yield event
            else:
                found = event
            if should_stop():
                break
    except (DataError, MemoryError, NonFiniteError) as error:
        missing = str(error)
    if found is None:
        missing = f"{missing or 'Stopped before the end.'} For the rest: segattn report {out}"
    page = report_page([RunReport(read_history(out), found, missing, model.palette)])
    write_atomically(out / runs.REPORT, page.encode())


def _draw_predictions(out: Path, validation: Dataset, ops: Ops) -> None:
    model = runs.open_model(out)
    predictor = Predictor(model.network, model.params, ops, size=model.config.data.size)
    shown = range(0, len(validation), max(1, len(validation) // PICTURED))[:PICTURED]
    samples = [validation.load(index) for index in shown]
    rows = [(sample.image, sample.label, predictor.label(sample.image)) for sample in samples]
    pictures.draw_predictions(rows, validation.palette, validation.classes, out / runs.PREDICTIONS)
