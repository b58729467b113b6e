"""``segattn merge``: the evaluations of all shards as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.evaluate import show_evaluation
from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.options import OUTPUT, JsonFile
from segattn_cli.commands.shared.output_paths import require_replaceable
from segattn_cli.commands.shared.terminal import plain
from segattn_cli.errors import UsageError, counted

if TYPE_CHECKING:
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.prediction.saved_evaluation import SavedEvaluation


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", show_default=False, help="What segattn eval --shard K/N --save wrote, for each K."
        ),
    ],
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
            help="Write the confusion matrix of each image to this file (.npz), for segattn compare.",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Put the evaluations of all shards of a data set together.

    The metrics are those that segattn eval has without --shard, and so is what
    --save writes. Boundary IoU is not among them.

    \b
    Examples:
      segattn merge part-*.npz
      segattn merge part-*.npz --save whole.npz --json whole.json
    """
    from segattn_cli.prediction.merge import merge_shards
    from segattn_cli.prediction.saved_evaluation import ENDING, load_evaluation, save_evaluation

    require_replaceable(save, json_file, read=files)
    if save is not None and save.suffix != ENDING:
        raise UsageError(f"--save must name a file that ends in {ENDING}, such as whole{ENDING}, got {save}.")
    whole = merge_shards(files, [load_evaluation(path) for path in files])
    result = _result(whole)
    report = {
        "checkpoint": whole.checkpoint, "data": whole.data, "split": whole.split, "shard": str(whole.shard),
        **whole.settings, **result.as_dict(), "seconds": None,
    }  # fmt: skip
    heading = (
        f"[bold]{plain(whole.checkpoint)}[/] on {plain(whole.data)} ({plain(whole.split)}, "
        f"{counted(result.images, 'image')}), from {counted(len(files), 'shard')}"
    )
    show_and_write(report, json_file, lambda: show_evaluation(result, heading, whole.config.network.scales))
    if save is not None:
        save_evaluation(save, whole)


def _result(whole: SavedEvaluation) -> EvaluationResult:
    import numpy as np

    from segattn_cli.prediction.calibration import Calibration
    from segattn_cli.prediction.evaluation import EvaluationResult, metrics_of, require_labels
    from segattn_cli.prediction.metrics import ConfusionMatrix

    classes, matrices = whole.classes, whole.matrices
    matrix = ConfusionMatrix(len(classes))
    np.add.at(matrix.counts.reshape(-1), matrices.cell, matrices.pixels)
    require_labels(matrix, whole.data, whole.split)
    images = len(matrices.names)
    return EvaluationResult(
        data=whole.data, split=whole.split, classes=classes, palette=np.zeros((len(classes), 3), np.uint8),
        **metrics_of(matrix, classes), boundary=None, image_matrices=matrices, calibration=Calibration(), worst=[],
        best=[], scale_weights=whole.scale_weights, images=images, available=images, seconds=0.0,
    )  # fmt: skip
