"""``segattn eval``: how good is a trained network?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.options import (
    DATA,
    OUTPUT,
    Backend,
    ConfiguredFormat,
    ConfiguredIntensity,
    Data,
    Flip,
    JsonFile,
    Limit,
    Precision,
    ReducedSize,
    Run,
    Scales,
    Stride,
    Window,
    open_predictor,
    parse_intensity,
)
from segattn_cli.commands.shared.output_paths import require_parent
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import console, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from segattn_cli.data import Dataset
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.runs import Model

#: The confusion matrix is printed for up to so many classes: more do not fit into a terminal.
WIDEST = 15


def evaluate(
    run: Run,
    data: Data = None,
    format: ConfiguredFormat = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=DATA,
            help="Split to evaluate on. The default is the validation split of the run.",
        ),
    ] = None,
    limit: Limit = None,
    scales: Scales = None,
    flip: Flip = None,
    window: Window = None,
    stride: Stride = None,
    size: ReducedSize = None,
    intensity: ConfiguredIntensity = None,
    backend: Backend = "auto",
    precision: Precision = "float32",
    json_file: JsonFile = None,
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Draw the confusion matrix to this PNG file."),
    ] = None,
) -> None:
    """Evaluate a network on a data set.

    The results are mIoU, pixel accuracy, IoU and accuracy of each class, and the
    confusion matrix. Images are predicted as in the validation of the run, unless
    options change that. With --scales or --flip, the class probabilities of all
    passes are averaged. Predictions are compared with the masks at the size of
    the masks.

    \b
    Examples:
      segattn eval runs/first
      segattn eval runs/first --split test --scales 0.75,1,1.25 --flip
      segattn eval best.safetensors --data CamVid --json result.json
    """
    from segattn_cli.prediction.evaluation import EvaluationResult, open_data_of
    from segattn_cli.prediction.evaluation import evaluate as evaluate_network
    from segattn_cli.rendering.charts import draw_confusion

    model, predictor = open_predictor(
        run, backend=backend, precision=precision, scales=scales, flip=flip, window=window, stride=stride,
        size=size,
    )
    grey = None if intensity is None else parse_intensity(intensity)
    dataset = open_data_of(model, data, format, split, grey)
    require_parent(json_file, confusion)
    result = follow(
        evaluate_network(predictor, dataset, limit=limit), "images", lambda event: f"mIoU {event.miou:.3f}"
    )
    assert isinstance(result, EvaluationResult)
    report = {**_circumstances(model, predictor, dataset), **result.as_dict()}
    show_and_write(report, json_file, lambda: _print(result, report, model.config.network.scales))
    if confusion is not None:
        draw_confusion(result.confusion, result.classes, confusion)


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
    from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE

    out = console()
    out.print(
        f"[bold]{plain(circumstances['checkpoint'])}[/] on {plain(circumstances['data'])} "
        f"({plain(circumstances['split'])}, {found.images} images), "
        f"by {circumstances['backend']} in {found.seconds:.1f} s"
    )
    out.print(_classes(found))
    out.print(
        f"[bold]mIoU {found.miou:.3f}[/]   pixel accuracy {found.pixel_accuracy:.3f}   "
        f"mean accuracy {found.mean_accuracy:.3f}"
    )
    out.print(ABSENT_CLASS_RULE, style="dim")
    if found.scale_weights:
        weights = zip(scales, found.scale_weights, strict=True)
        out.print(
            "Mean weight of each scale: " + ", ".join(f"×{scale:g} {weight:.3f}" for scale, weight in weights)
        )
    if len(found.classes) <= WIDEST:
        out.print(_confusion(found))


def _classes(found: EvaluationResult) -> Table:
    """IoU and accuracy of each class, and how common it is."""
    from rich import box
    from rich.bar import Bar
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", no_wrap=True)  # names are shortened, numbers never
    table.add_column("IoU", justify="right", no_wrap=True, min_width=5)
    table.add_column("", width=20)
    for heading in ("accuracy", "share of truth"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    shares = found.confusion.sum(1) / found.confusion.sum()
    for name, share in zip(found.classes, shares, strict=True):
        iou = found.per_class_iou[name]
        bar = Bar(1, 0, iou or 0, width=20, color="cyan")
        table.add_row(plain(name), _figure(iou), bar, _figure(found.per_class_accuracy[name]), f"{share:.3f}")
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
        table.add_column(f"{number:4d}", justify="right", no_wrap=True, min_width=4)
    for number, (name, row) in enumerate(zip(found.classes, found.confusion, strict=True)):
        total = row.sum()
        cells = [f"{100 * part / total:.0f}" if total else "–" for part in row]
        cells = ["·" if cell == "0" else cell for cell in cells]
        cells[number] = f"[bold]{cells[number]}[/]"
        table.add_row(f"{number:2d} {plain(name)}", *cells)
    return table


def _figure(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:.3f}"
