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
    BatchOption,
    ConfiguredFormat,
    ConfiguredIntensity,
    Data,
    Demo,
    Flip,
    JsonFile,
    Limit,
    OptionalRun,
    Others,
    Precision,
    ReducedSize,
    Scales,
    ShardOption,
    Stride,
    Window,
    open_predictor,
    parse_intensity,
    run_or_demo,
)
from segattn_cli.commands.shared.output_paths import require_replaceable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.ranks import Ranks, on_ranks
from segattn_cli.commands.shared.tables import fits, show_text_table
from segattn_cli.commands.shared.terminal import console, plain
from segattn_cli.errors import UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from segattn_cli.data import Dataset
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.prediction.shards import Shard
    from segattn_cli.runs import Model

METRICS = "Metrics"
#: The confusion matrix is printed for up to so many classes: more do not fit into a terminal.
WIDEST = 15


def evaluate(
    run: OptionalRun = None,
    demo: Demo = False,
    others: Others = None,
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
    shard: ShardOption = None,
    scales: Scales = None,
    flip: Flip = None,
    window: Window = None,
    stride: Stride = None,
    size: ReducedSize = None,
    intensity: ConfiguredIntensity = None,
    backend: Backend = "auto",
    precision: Precision = "float32",
    batch: BatchOption = 1,
    ranks: Ranks = None,
    json_file: JsonFile = None,
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Draw the confusion matrix to this PNG file."),
    ] = None,
    boundary: Annotated[
        bool,
        typer.Option(
            "--boundary", rich_help_panel=METRICS,
            help="Compute the boundary IoU of each class, which judges the outlines.",
        ),
    ] = False,
    boundary_width: Annotated[
        float,
        typer.Option(
            metavar="FRACTION", rich_help_panel=METRICS,
            help="Width of the boundary as a fraction of the diagonal of the image.",
        ),
    ] = 0.02,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
            help="Write the confusion matrix of each image to this file (.npz), for segattn compare and merge.",
        ),
    ] = None,
) -> None:
    """Evaluate a network on a data set.

    The results are mIoU with its 95 % interval over the images, pixel accuracy,
    IoU, Dice, precision and recall of each class, and the confusion matrix.
    Images are predicted as in the validation of the run, unless options change
    that. With --scales or --flip, the class probabilities of all passes are
    averaged. Predictions are compared with the masks at the size of the masks.

    \b
    Examples:
      segattn eval runs/first
      segattn eval --demo
      segattn eval runs/first --split test --scales 0.75,1,1.25 --flip
      segattn eval best.safetensors --data CamVid --json result.json
      segattn eval runs/first --boundary --save first.npz
      segattn eval runs/seed-0 --with runs/seed-1 --with runs/seed-2
      segattn eval runs/first --shard 3/8 --save part-3.npz
    """
    from segattn_cli.prediction.boundary import WIDTH
    from segattn_cli.prediction.evaluation import EvaluationResult, open_data_of
    from segattn_cli.prediction.evaluation import evaluate as evaluate_network
    from segattn_cli.prediction.saved_evaluation import ENDING, evaluation_of, save_evaluation
    from segattn_cli.prediction.shards import WHOLE, Shard
    from segattn_cli.ranks.communicator import require_one_backend, together
    from segattn_cli.rendering.charts import draw_confusion

    run, more = run_or_demo(demo, run)
    if more:
        raise UsageError(f"--demo is the network: leave out {more[0]}, or --demo.")
    if save is not None and save.suffix != ENDING:
        raise UsageError(f"--save must name a file that ends in {ENDING}, such as first{ENDING}, got {save}.")
    if boundary_width != WIDTH and not boundary:
        raise UsageError("--boundary-width is for --boundary: give both.")
    grey = None if intensity is None else parse_intensity(intensity)
    part = WHOLE if shard is None else Shard.of_text(shard)
    if part != WHOLE and limit is not None:
        raise UsageError("--shard divides all images: leave out --limit.")
    if part != WHOLE and save is None:
        raise UsageError(f"--shard {part} evaluates some of the images: give --save FILE, for segattn merge.")
    with on_ranks(ranks) as comm:
        with together(comm):
            require_replaceable(json_file, confusion, save, read=[run, *(others or ())])
            model, predictor = open_predictor(
                run, backend=backend, precision=precision, scales=scales, flip=flip, window=window, stride=stride,
                size=size, others=others, batch=batch,
            )
            dataset = open_data_of(model, data, format, split, grey)
        require_one_backend(comm, predictor.ops)
        events = evaluate_network(
            predictor, dataset, limit=limit, boundary_width=boundary_width if boundary else None, shard=part,
            comm=comm,
        )
        result = follow(events, "images", lambda event: f"mIoU {event.miou:.3f}")
    if comm.rank > 0:
        return
    assert isinstance(result, EvaluationResult)
    report = {**_circumstances(model, predictor, dataset, part), **result.as_dict()}
    heading = (
        f"[bold]{plain(_checkpoints(report))}[/] on {plain(dataset.name)} ({plain(dataset.split)}, "
        f"{counted(result.images, 'image')}), by {predictor.ops.name} in {result.seconds:.1f} s"
    )
    show_and_write(report, json_file, lambda: show_evaluation(result, heading, model.config.network.scales))
    if confusion is not None:
        draw_confusion(result.confusion, result.classes, confusion)
    if save is not None:
        save_evaluation(save, evaluation_of(model.path, model.config, predictor, result, part))


def _circumstances(model: Model, predictor: Predictor, dataset: Dataset, part: Shard) -> dict[str, Any]:
    """The network, the data and the settings of the evaluation."""
    return {
        "checkpoint": str(model.path),
        "data": dataset.name,
        "format": dataset.format,
        "split": dataset.split,
        "shard": str(part),
        "backend": predictor.ops.name,
        **predictor.settings,
    }


def show_evaluation(result: EvaluationResult, heading: str, scales: Sequence[float]) -> None:
    """Print the metrics of a network with these ``scales`` under a ``heading``."""
    from segattn_cli.prediction.image_matrices import CONFIDENCE
    from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE

    out = console()
    out.print(heading)
    if not result.is_labelled:
        out.print("No pixel of this shard is labelled. segattn merge puts it together with the others.")
        return
    _show_classes(result)
    drawn = result.miou_interval
    span = "" if drawn is None else f" ({drawn.low:.3f} to {drawn.high:.3f})"
    boundary = "" if result.boundary is None else f"   mean boundary IoU {result.boundary.mean:.3f}"
    out.print(
        f"[bold]mIoU {result.miou:.3f}[/]{span}   pixel accuracy {result.pixel_accuracy:.3f}   "
        f"mean recall {result.mean_accuracy:.3f}   mean Dice {result.mean_dice:.3f}{boundary}"
    )
    if drawn is not None:
        out.print(
            f"The interval holds the mIoU of such images with {100 * CONFIDENCE:.0f} % confidence (bootstrap over "
            f"the {result.images} images).", style="dim",
        )
    out.print(ABSENT_CLASS_RULE, style="dim")
    if result.scale_weights:
        weights = zip(scales, result.scale_weights, strict=True)
        out.print(
            "Mean weight of each scale: " + ", ".join(f"×{scale:g} {weight:.3f}" for scale, weight in weights)
        )
    if len(result.classes) <= WIDEST:
        out.print(_confusion(result))


def _checkpoints(circumstances: dict[str, Any]) -> str:
    """The checkpoint, or all that are averaged."""
    return " + ".join(each["checkpoint"] for each in circumstances.get("averaged", [circumstances]))


def _show_classes(result: EvaluationResult) -> None:
    """Print the metrics of each class, and the fraction of the labelled pixels that it has."""
    from rich import box
    from rich.bar import Bar
    from rich.table import Table

    metrics = {
        "IoU": result.per_class_iou, "Dice": result.per_class_dice, "precision": result.per_class_precision,
        "recall": result.per_class_accuracy,
    }
    if result.boundary is not None:
        metrics["boundary IoU"] = dict(zip(result.classes, result.boundary.per_class, strict=True))
    fractions = result.confusion.sum(1) / result.confusion.sum()
    metrics["frequency"] = dict(zip(result.classes, fractions, strict=True))
    headings = ["class", *metrics]
    rows = [[name, *(_fraction(values[name]) for values in metrics.values())] for name in result.classes]

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "class" else "right", no_wrap=True)
        if heading == "IoU":
            table.add_column("", width=12)
    for name, iou, *others in rows:
        bar = Bar(1, 0, result.per_class_iou[name] or 0, width=12, color="cyan")
        table.add_row(plain(name), iou, bar, *others)
    if fits(table):
        console().print(table)
    else:
        show_text_table(headings, rows)


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
