"""The folder of a run: its configuration, events and result, as ``report`` and ``ablate`` read them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate
from fuzz.parts import divided, joined, mutated_parts, write_parts
from segattn_cli.config import load_config
from segattn_cli.reporting.report_page import RunReport, report_page
from segattn_cli.runs import CONFIG, EVENTS, RESULT
from segattn_cli.runs.history import read_history

RUN = FOLDER / "run"


def seeds() -> Iterator[bytes]:
    """A run that is finished, one that goes on, and one that a NaN ended."""
    config = load_config().as_toml()
    step = {
        "event": "step", "step": 1, "epoch": 0.5, "loss": 1.5, "parts": {"main": 1.0}, "gradient_norm": None,
        "learning_rate": 0.01, "gates": {"head.position.gate": 0.1}, "scale_weights": [0.75, 0.25], "seconds": 0.5,
        "wait_share": 0.1, "images_per_second": 4.0, "memory": 10**8, "seconds_left": 1.0, "loss_scale": 1024.0,
    }  # fmt: skip
    validated = {
        "event": "validated", "step": 2, "epoch": 1.0, "miou": 0.5, "pixel_accuracy": 0.75,
        "per_class_iou": {"sky": 0.5, "road": None}, "scale_weights": [0.75, 0.25], "gates": {}, "seconds": 0.1,
        "best": True, "change": 0.1, "seconds_left": 3.0,
    }  # fmt: skip
    previewed = {
        "event": "previewed", "step": 1, "epoch": 0.5, "miou": 0.5, "pixel_accuracy": 0.75,
        "per_class_iou": {"sky": None}, "images": 2, "seconds": 0.1, "seconds_left": None,
    }  # fmt: skip
    started = {
        "event": "started", "out": "run", "backend": "numpy", "step": 0, "steps": 2, "steps_per_epoch": 2,
        "parameters": 1000, "training_images": 4, "validation_images": 3, "classes": ["sky", "road"],
        "scales": [1.0, 0.5], "warnings": ["a"],
    }  # fmt: skip
    weights = {
        "event": "weights",
        "file": "w.pth",
        "layout": "mmseg",
        "matched": 3,
        "untouched": [],
        "reset": [],
        "unused": [],
    }
    broken = {"event": "non_finite", "step": 2, "tensor": "loss"}
    result = {"steps": 2, "seconds": 3.5, "miou": 0.5}
    for events, ended in (
        ([started, weights, step, previewed, {**step, "step": 2}, validated], result),
        ([started, step], None),
        ([started, step, broken], None),
        ([], result),
    ):
        lines = "".join(json.dumps(event) + "\n" for event in events)
        yield joined({EVENTS: lines, CONFIG: config, **({RESULT: json.dumps(ended)} if ended else {})})
    yield joined({CONFIG: config})


def one_input(data: bytes) -> None:
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    write_parts(RUN, divided(data, (CONFIG, EVENTS, RESULT)))
    history = attempt(read_history, RUN)
    if history is not None:
        assert history.state in ("finished", "not finite", "unfinished")
        attempt(report_page, [RunReport(history)])


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    return mutated_parts(data, mutate, size, rng)
