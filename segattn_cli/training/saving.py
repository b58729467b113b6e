"""The files that a training writes: its checkpoints and its result."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from segattn_cli import runs
from segattn_cli.files import write_atomically
from segattn_cli.json_text import json_text
from segattn_cli.machine.versions import versions
from segattn_cli.prediction.evaluation import EvaluationResult
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.saved_evaluation import evaluation_of, keep_evaluation, path_of
from segattn_cli.ranks.communicator import from_first
from segattn_cli.runs.checkpoint import save_checkpoint
from segattn_cli.runs.events import CheckpointSaved
from segattn_cli.training.find_nan import require_finite
from segattn_cli.training.setup import TrainingRun
from segattn_cli.training.step import to_numbers

#: Packages on whose versions a result may depend.
PACKAGES = ("segattn", "numpy", "scipy", "pillow")


def save_last(run: TrainingRun) -> CheckpointSaved:
    """Write ``last.safetensors``, from which the run can go on; it covers all that the event log holds by now."""
    progress = run.state.progress
    progress.loss_scale = to_numbers(run.ops, run.scaler.state())
    progress.seconds = time.perf_counter() - run.started
    path = run.out / runs.LAST
    arrays = require_finite(run, run.state.arrays(run.ops))

    def save() -> None:
        assert run.event_log is not None  # on rank 0
        progress.journal = run.event_log.length()
        save_checkpoint(path, arrays, {**_metadata(run, "training"), "progress": asdict(progress)})

    from_first(run.comm, save, "the end of its checkpoint")
    return CheckpointSaved(progress.step, path)


def save_best(run: TrainingRun) -> None:
    """Write ``best.safetensors``: only what predicts."""
    best = run.state.progress.best
    assert best is not None
    arrays = require_finite(run, {name: run.ops.to_numpy(array) for name, array in run.state.weights.items()})
    metadata = {**_metadata(run, "model"), "validated": asdict(best)}
    from_first(
        run.comm, lambda: save_checkpoint(run.out / runs.BEST, arrays, metadata), "the end of its checkpoint"
    )


def save_best_evaluation(run: TrainingRun, predictor: Predictor, result: EvaluationResult) -> None:
    """Save what the best checkpoint predicted, so that ``segattn compare`` need not predict it again."""
    checkpoint = run.out / runs.BEST
    path = path_of(checkpoint, predictor, run.validation, result.images)
    evaluation = evaluation_of(checkpoint, run.config, predictor, result)
    from_first(run.comm, lambda: keep_evaluation(path, evaluation, only=True), "the end of its evaluation")


def write_result(run: TrainingRun) -> dict[str, Any]:
    """Write ``result.json`` and return its content: the metrics of the best checkpoint on the validation set."""
    progress = run.state.progress
    best, last = progress.best, progress.last
    assert best is not None  # a run ends with a validation
    assert last is not None
    result = {
        "name": run.config.name,
        "miou": best.miou,
        "pixel_accuracy": best.pixel_accuracy,
        "per_class_iou": best.per_class_iou,
        "gates": best.gates,
        "scale_weights": best.scale_weights,
        "best_step": best.step,
        "last_miou": last.miou,
        "epochs": last.epoch,
        "steps": progress.step,
        "seconds": round(progress.seconds, 3),
        "backend": run.ops.name,
        "precision": run.config.training.precision,
        "seed": run.config.training.seed,
        "versions": versions(PACKAGES),
    }
    content = (json_text(result, indent=2) + "\n").encode()
    from_first(run.comm, lambda: write_atomically(run.out / runs.RESULT, content), "the end of its result")
    return result


def _metadata(run: TrainingRun, kind: str) -> dict[str, Any]:
    """The description in a checkpoint: enough to open it without the run's folder."""
    return {
        "kind": kind,
        "config": run.config.model_dump(mode="json", exclude_none=True),
        "classes": list(run.training.classes),
        "palette": run.training.palette.tolist(),
        "backend": run.ops.name,
        "versions": versions(PACKAGES),
    }
