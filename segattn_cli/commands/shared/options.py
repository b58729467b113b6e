"""What ``segattn eval`` and ``segattn infer`` share: how to predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.runs import Model

HOW = "How to predict; by default as in the run's own validation"

Run = Annotated[
    Path,
    typer.Argument(metavar="RUN|CHECKPOINT", help="A run's folder, or a checkpoint.", show_default=False),
]
Scales = Annotated[
    str | None,
    typer.Option(metavar="S,S,…", help="Average over these sizes, such as 0.75,1,1.25.", rich_help_panel=HOW),
]
Flip = Annotated[
    bool | None,
    typer.Option("--flip/--no-flip", help="Average with mirrored pictures.", rich_help_panel=HOW),
]
Window = Annotated[
    str | None,
    typer.Option(metavar="H,W|none", help="Slide a window of this size over each picture.", rich_help_panel=HOW),
]
Stride = Annotated[
    str | None,
    typer.Option(
        metavar="H,W", help="Step between windows; two thirds of a window if not given.", rich_help_panel=HOW
    ),
]
ReducedSize = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="H,W|none",
        help="Resize each picture to this first; the result keeps its size.",
        rich_help_panel=HOW,
    ),
]
Backend = Annotated[
    str, typer.Option(
        metavar="auto|numpy|cupy|reference", help="Who computes.", rich_help_panel=HOW,
        autocompletion=completion.backends,
    ),
]

Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="What a GPU computes in: float32, tf32, float16 or bfloat16.", rich_help_panel=HOW,
        autocompletion=completion.precisions,
    ),
]


def open_predictor(
    run: Path,
    *,
    backend: str,
    precision: str,
    scales: str | None,
    flip: bool | None,
    window: str | None,
    stride: str | None,
    size: str | None,
) -> tuple[Model, Predictor]:
    """The model of ``run``, and its predictor: that of its own validation, except for the options given."""
    from backends import get_backend
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.runs import open_model

    ops = get_backend(backend, precision)
    model = open_model(run)
    changes: dict[str, Any] = {"precision": precision}
    if scales is not None:
        changes["scales"] = parse_scales(scales)
    if flip is not None:
        changes["flip"] = flip
    for setting, text in (("size", size), ("window", window), ("stride", stride)):
        if text is not None:
            changes[setting] = parse_size(f"--{setting}", text)
    return model, Predictor.of(model, ops, **changes)


def parse_size(option: str, text: str) -> tuple[int, int] | None:
    """``"512,1024"`` as height and width, ``"none"`` as None.

    >>> parse_size("--window", "512,1024"), parse_size("--window", "none")
    ((512, 1024), None)
    """
    if text == "none":
        return None
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} wants height and width, such as 512,1024; got {text!r}.") from None
    if min(height, width) < 1:
        raise UsageError(f"{option} wants at least one pixel each way, got {text!r}.")
    return height, width


def parse_scales(text: str) -> tuple[float, ...]:
    """``"0.75,1,1.25"`` as numbers.

    >>> parse_scales("0.75,1,1.25")
    (0.75, 1.0, 1.25)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--scales wants factors, such as 0.75,1,1.25; got {text!r}.") from None
