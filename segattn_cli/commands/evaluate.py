"""``segattn eval``: how good is a trained network?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.options import (
    Backend,
    Flip,
    Precision,
    ReducedSize,
    Run,
    Scales,
    Stride,
    Window,
    open_predictor,
)
from segattn_cli.commands.shared.output_paths import require_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from segattn_cli.data import Dataset
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.runs import Model

WHAT, RESULTS = "What to evaluate on", "Where results go, beside the tables"
#: The confusion matrix is printed for up to so many classes: more do not fit into a terminal.
WIDEST = 15


def evaluate(
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(metavar="scenes|PATH", help="The data set; by default the run's own.", rich_help_panel=WHAT),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="auto|camvid|cityscapes|voc|…|folder", help="Its layout.", rich_help_panel=WHAT),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="By default the run's validation split.", rich_help_panel=WHAT)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many images.", rich_help_panel=WHAT)
    ] = None,
    scales: Scales = None,
    flip: Flip = None,
    window: Window = None,
    stride: Stride = None,
    size: ReducedSize = None,
    backend: Backend = "auto",
    precision: Precision = "float32",
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Everything as JSON; - prints it in place of the tables.",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="The confusion matrix as a picture.", rich_help_panel=RESULTS),
    ] = None,
) -> None:
    """Evaluate a network: mIoU, pixel accuracy, IoU by class, confusion matrix.

    Scales and mirroring average probabilities; windows bound the memory that a
    large picture takes. Predictions are compared at the labels' own size.

    \b
    Examples:
      segattn eval runs/first
      segattn eval runs/first --split test --scales 0.75,1,1.25 --flip
      segattn eval best.safetensors --data CamVid --json result.json
    """
    from segattn_cli.prediction.evaluation import open_data_of
    from segattn_cli.rendering.charts import draw_confusion

    model, predictor = open_predictor(
        run, backend=backend, precision=precision, scales=scales, flip=flip, window=window, stride=stride,
        size=size,
    )
    dataset = open_data_of(model, data, format, split)
    require_parent(json_file, confusion)
    found = _watch(predictor, dataset, limit)
    everything = {**_circumstances(model, predictor, dataset), **found.as_dict()}
    show_and_write(everything, json_file, lambda: _print(found, everything, model.config.network.scales))
    if confusion is not None:
        draw_confusion(found.confusion, found.classes, confusion)


def _watch(predictor: Predictor, dataset: Dataset, limit: int | None) -> EvaluationResult:
    """Evaluate, with the mIoU so far on stderr."""
    from segattn_cli.commands.shared.progress import progress
    from segattn_cli.prediction.evaluation import Evaluated
    from segattn_cli.prediction.evaluation import evaluate as evaluate_network

    with progress("images") as advance:
        for event in evaluate_network(predictor, dataset, limit=limit):
            if isinstance(event, Evaluated):
                advance(event.done, event.total, f"mIoU {event.miou:.3f}")
    assert not isinstance(event, Evaluated)  # an evaluation ends with its result
    return event


def _circumstances(model: Model, predictor: Predictor, dataset: Dataset) -> dict[str, Any]:
    """What was evaluated, on what, and how."""
    return {
        "checkpoint": str(model.path),
        "data": dataset.name,
        "format": dataset.format,
        "split": dataset.split,
        "backend": predictor.ops.name,
        "size": predictor.size,
        "scales": predictor.scales,
        "flip": predictor.flip,
        "window": predictor.window,
        "stride": predictor.stride,
    }


def _print(found: EvaluationResult, circumstances: dict[str, Any], scales: Sequence[float]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE

    console = Console(highlight=False)
    console.print(
        f"[bold]{escape(circumstances['checkpoint'])}[/] on {escape(circumstances['data'])} "
        f"({escape(circumstances['split'])}, {found.images} images), "
        f"by {circumstances['backend']} in {found.seconds:.1f} s",
        soft_wrap=True,
    )
    console.print(_classes(found))
    console.print(
        f"[bold]mIoU {found.miou:.3f}[/]   pixel accuracy {found.pixel_accuracy:.3f}   "
        f"mean accuracy {found.mean_accuracy:.3f}"
    )
    console.print(ABSENT_CLASS_RULE, style="dim", soft_wrap=True)
    if found.scale_weights:
        weights = zip(scales, found.scale_weights, strict=True)
        console.print(
            "Mean weight of each scale: " + ", ".join(f"×{scale:g} {weight:.3f}" for scale, weight in weights)
        )
    if len(found.classes) <= WIDEST:
        console.print(_confusion(found))


def _classes(found: EvaluationResult) -> Table:
    """IoU and accuracy of each class, and how common it is."""
    from rich import box
    from rich.bar import Bar
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    table.add_column("IoU", justify="right")
    table.add_column("", width=20)
    for heading in ("accuracy", "share of truth"):
        table.add_column(heading, justify="right")
    shares = found.confusion.sum(1) / found.confusion.sum()
    for name, share in zip(found.classes, shares, strict=True):
        iou = found.per_class_iou[name]
        bar = Bar(1, 0, iou or 0, width=20, color="cyan")
        table.add_row(name, _figure(iou), bar, _figure(found.per_class_accuracy[name]), f"{share:.3f}")
    return table


def _confusion(found: EvaluationResult) -> Table:
    """For each true class in %, what it was taken for."""
    from rich import box
    from rich.table import Table

    count = len(found.classes)
    table = Table(
        title="What each class was taken for, %",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column("truth", no_wrap=True)
    for number in range(count):
        table.add_column(f"{number:4d}", justify="right", no_wrap=True)
    for number, (name, row) in enumerate(zip(found.classes, found.confusion, strict=True)):
        total = row.sum()
        cells = [f"{100 * part / total:.0f}" if total else "–" for part in row]
        cells = ["·" if cell == "0" else cell for cell in cells]
        cells[number] = f"[bold]{cells[number]}[/]"
        table.add_row(f"{number:2d} {name}", *cells)
    return table


def _figure(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:.3f}"
