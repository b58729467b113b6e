"""Folders of runs that never ran: what a training would have left in them, and what it would not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segattn_cli.config import Config, load_config
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.runs.event_log import line_format

#: Pictures so small that a pass over them takes no time.
TINY = (
    "data.scenes={size=[24, 32], train=4, val=3}", "network.head_channels=8", "network.scale_attention_channels=8",
)


def config(*overrides: str) -> Config:
    return load_config("tiny-scenes", [*TINY, *overrides])


def started(**changes: Any) -> dict[str, Any]:
    return {
        "event": "started", "out": "run", "backend": "numpy", "step": 0, "steps": 4, "steps_per_epoch": 2,
        "parameters": 266287, "training_images": 4, "validation_images": 3, "classes": list(CLASSES),
        "scales": [1.0, 0.5], **changes,
    }


def step(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "event": "step", "step": number, "epoch": number / 2, "loss": 4.0 / number,
        "parts": {"main": 1.0 / number, "position": 3.0 / number}, "gradient_norm": 2.5, "learning_rate": 0.01,
        "gates": {"head.position.gate": 0.1 * number, "head.channel.gate": -0.2}, "scale_weights": [0.75, 0.25],
        "seconds": 0.5, "wait_share": 0.125, "images_per_second": 4.0, "memory": 10**8, "seconds_left": 1.0,
        **changes,
    }


def validated(number: int, miou: float, classes: Sequence[str] = CLASSES, **changes: Any) -> dict[str, Any]:
    """The first class has no IoU: it is neither there nor predicted."""
    ious = dict.fromkeys(classes, miou)
    return {
        "event": "validated", "step": number, "epoch": number / 2, "miou": miou, "pixel_accuracy": 0.5 + miou / 2,
        "per_class_iou": {**ious, classes[0]: None}, "scale_weights": [0.75, 0.25], "gates": {}, "seconds": 0.1,
        "best": True, **changes,
    }


def event(line: dict[str, Any]) -> Any:
    """The event that a line holds."""
    return line_format().validate_json(json.dumps(line), strict=True)


#: A run of two epochs that came to its end.
WHOLE = (started(), step(1), step(2), validated(2, 0.25), step(3), step(4), validated(4, 0.5))


def run_folder(
    path: Path,
    events: Sequence[dict[str, Any]] = WHOLE,
    *overrides: str,
    result: dict[str, Any] | None = None,
    rest: bytes = b"",
) -> Path:
    """A run's folder with ``events``, then the bytes ``rest``; with ``result`` it is finished."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.toml").write_text(config(*overrides).as_toml(), encoding="utf-8")
    (path / "events.jsonl").write_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in events) + rest)
    if result is not None:
        (path / "result.json").write_text(json.dumps(result))
    return path
