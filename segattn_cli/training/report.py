"""What a run says of itself in its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backends.contract import Ops
from segattn_cli import runs
from segattn_cli.config import Config
from segattn_cli.data import Dataset
from segattn_cli.files import write_atomically
from segattn_cli.machine.versions import versions
from segattn_cli.training.state import Progress

#: What a result may depend on.
PACKAGES = ("segattn", "numpy", "scipy", "pillow")


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


def write_result(out: Path, config: Config, progress: Progress, ops: Ops) -> dict[str, Any]:
    """Write ``result.json`` and return what it holds: the metrics of the best checkpoint on the validation set."""
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
    return result
