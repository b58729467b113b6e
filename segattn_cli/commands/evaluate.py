"""``segattn eval``: evaluate a network on a data set."""

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

    require_parent(json_file, confusion)
    model, predictor = open_predictor(
        run, backend=backend, precision=precision, scales=scales, flip=flip, window=window, stride=stride,
        size=size,
    )
    grey = None if intensity is None else parse_intensity(intensity)
    dataset = open_data_of(model, data, format, split, grey)
    result = follow(
        evaluate_network(predictor, dataset, limit=limit), "images", lambda event: f"mIoU {event.miou:.3f}"
    )
    assert isinstance(result, EvaluationResult)
    report = {**_circumstances(model, predictor, dataset), **result.as_dict()}
    show_and_write(report, json_file, lambda: _print(result, report, model.config.network.scales))
    if confusion is not None:
        draw_confusion(result.confusion, result.classes, confusion)


def _circumstances(model: Model, predictor: Predictor, dataset: Dataset) -> dict[str, Any]:
    """The network, the data and the settings of the evaluation."""
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


def _print(result: EvaluationResult, circumstances: dict[str, Any], scales: Sequence[float]) -> None:
    from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE

    out = console()
    out.print(
        f"[bold]{plain(circumstances['checkpoint'])}[/] on {plain(circumstances['data'])} "
        f"({plain(circumstances['split'])}, {result.images} images), "
        f"by {circumstances['backend']} in {result.seconds:.1f} s"
    )
    out.print(_classes(result))
    out.print(
        f"[bold]mIoU {result.miou:.3f}[/]   pixel accuracy {result.pixel_accuracy:.3f}   "
        f"mean accuracy {result.mean_accuracy:.3f}"
    )
    out.print(ABSENT_CLASS_RULE, style="dim")
    if result.scale_weights:
        weights = zip(scales, result.scale_weights, strict=True)
        out.print(
            "Mean weight of each scale: " + ", ".join(f"×{scale:g} {weight:.3f}" for scale, weight in weights)
        )
    if len(result.classes) <= WIDEST:
        out.print(_confusion(result))


def _classes(result: EvaluationResult) -> Table:
    """IoU, accuracy and frequency of each class."""
    from rich import box
    from rich.bar import Bar
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", no_wrap=True)  # names are shortened, numbers never
    table.add_column("IoU", justify="right", no_wrap=True, min_width=5)
    table.add_column("", width=20)
    for heading in ("accuracy", "fraction of labels"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    fractions = result.confusion.sum(1) / result.confusion.sum()
    for name, fraction in zip(result.classes, fractions, strict=True):
        iou = result.per_class_iou[name]
        bar = Bar(1, 0, iou or 0, width=20, color="cyan")
        accuracy = _fraction(result.per_class_accuracy[name])
        table.add_row(plain(name), _fraction(iou), bar, accuracy, _fraction(fraction))
    return table


def _confusion(result: EvaluationResult) -> Table:
    """In each row, the predicted classes of the pixels of one true class, in %."""
    from rich import box
    from rich.table import Table

    count = len(result.classes)
    table = Table(
        title="Predicted class (column) of the pixels of each true class (row), in %",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column("truth", no_wrap=True)
    for number in range(count):
        table.add_column(f"{number:4d}", justify="right", no_wrap=True, min_width=4)
    for number, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True)):
        total = row.sum()
        cells = [f"{100 * part / total:.0f}" if total else "–" for part in row]
        cells = ["·" if cell == "0" else cell for cell in cells]
        cells[number] = f"[bold]{cells[number]}[/]"
        table.add_row(f"{number:2d} {plain(name)}", *cells)
    return table


def _fraction(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:.3f}"
