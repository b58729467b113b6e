"""``segattn compare``: whether runs differ by more than chance."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands import compare_display
from segattn_cli.commands.compare_display import number
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
    Scales,
    Stride,
    Window,
    open_predictor,
    parse_intensity,
)
from segattn_cli.commands.shared.output_paths import require_replaceable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segattn_cli.prediction.run_comparison import Group, GroupComparison
    from segattn_cli.prediction.saved_evaluation import SavedEvaluation


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", show_default=False,
            help="Folders of runs, checkpoints, or files that segattn eval --save wrote. The first one is compared "
            "with all others.",
        ),
    ],
    data: Data = None,
    format: ConfiguredFormat = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=DATA,
            help="Split to compare on. The default is the validation split of the runs.",
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
    images: Annotated[
        int,
        typer.Option(metavar="N", min=0, rich_help_panel=OUTPUT, help="Number of images to list."),
    ] = 5,
    json_file: JsonFile = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Write the tables to FILE in Markdown."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Write all differences to FILE as CSV."),
    ] = None,
) -> None:
    """Tell whether runs differ by more than chance.

    The IoU of the mean, of each class and of each image is compared with that of
    the first run, on the same images, with a 95 % interval of the difference.
    Where the interval holds 0, the two cannot be told apart. Runs that differ in
    the seed alone are one group: with several seeds in both groups, the interval
    is over the seeds, else over the images. Runs of several folds count as one
    on all images. An evaluation that is missing is made, and saved in the run.

    \b
    Examples:
      segattn compare runs/fcn runs/danet
      segattn compare runs/fcn-0 runs/fcn-1 runs/danet-0 runs/danet-1
      segattn compare runs/fcn runs/danet --data CamVid --split test --flip
      segattn compare fcn.npz danet.npz --json difference.json
    """
    from segattn_cli.files import write_atomically
    from segattn_cli.prediction.run_comparison import GroupComparison, grouped, join_folds, require_comparable
    from segattn_cli.runs.names import labels

    require_replaceable(json_file, markdown, csv, read=runs)
    paths = list({os.path.realpath(path): path for path in runs}.values())
    if len(paths) < 2:
        raise UsageError("A comparison needs two different runs or more: name another one.")
    if intensity is not None:
        parse_intensity(intensity)
    options = {
        "backend": backend, "precision": precision, "scales": scales, "flip": flip, "window": window,
        "stride": stride, "size": size,
    }
    found = [_evaluated(path, options, data, format, split, intensity, limit) for path in paths]
    names, evaluations = join_folds(labels(paths), found)
    require_comparable(names, evaluations)
    groups = grouped(names, evaluations)
    comparisons = [GroupComparison(groups[0], group) for group in groups[1:]]
    show_and_write(
        _as_dict(groups, comparisons), json_file, lambda: compare_display.show(groups, comparisons, images)
    )
    if markdown is not None:
        write_atomically(markdown, compare_display.markdown(groups, comparisons, images).encode())
    if csv is not None:
        write_atomically(csv, compare_display.csv(groups, comparisons).encode())


def _evaluated(
    path: Path, options: dict[str, Any], data: str | None, format: str | None, split: str | None,
    intensity: str | None, limit: int | None,
) -> SavedEvaluation:
    """The evaluation in the file ``path``, or that of the run there."""
    from segattn_cli.prediction.evaluation import open_data_of
    from segattn_cli.prediction.run_comparison import evaluate_once
    from segattn_cli.prediction.saved_evaluation import ENDING, SavedEvaluation, load_evaluation

    if path.suffix == ENDING and not path.is_dir():
        return load_evaluation(path)
    model, predictor = open_predictor(path, **options)
    dataset = open_data_of(model, data, format, split, None if intensity is None else parse_intensity(intensity))
    event = follow(
        evaluate_once(model, predictor, dataset, limit=limit), "images",
        lambda event: f"{path}: mIoU {event.miou:.3f}",
    )
    assert isinstance(event, SavedEvaluation)
    return event


def _as_dict(groups: Sequence[Group], comparisons: Sequence[GroupComparison]) -> dict[str, Any]:
    """All results in types of JSON."""
    one = groups[0].evaluations[0]
    return {
        "data": one.data,
        "split": one.split,
        "classes": list(one.classes),
        "images": list(one.matrices.names),
        "groups": [
            {
                "name": group.name,
                "checkpoints": [each.checkpoint for each in group.evaluations],
                "seeds": list(group.seeds),
                "miou": group.miou,
                "sd": group.sd,
                "mious": group.mious.tolist(),
                "per_class_iou": dict(zip(one.classes, map(number, group.ious.mean(0).tolist()), strict=True)),
                "image_mious": [number(value) for value in group.image_mious.tolist()],
            }
            for group in groups
        ],
        "differences": [
            {
                "name": each.other.name,
                "from": each.first.name,
                "paired": each.is_paired,
                "miou": each.miou.as_dict(),
                "per_class": {
                    name: difference and difference.as_dict()
                    for name, difference in zip(one.classes, each.per_class, strict=True)
                },
                "images": [
                    {"image": row.image, "first": row.first, "other": row.other, "difference": row.value}
                    for row in each.images
                ],
            }
            for each in comparisons
        ],
    }
