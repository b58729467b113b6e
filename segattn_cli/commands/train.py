"""``segattn train``: a configuration in, a run's folder out."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.terminal import complain
from segattn_cli.errors import DataError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segattn_cli.config import Config
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.training import RunFinished

WHAT, WHERE, HOW = "What to train", "From where to where", "How to run"


def train(
    file: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.toml", help="A configuration file.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Start from this preset; tiny-scenes if nothing is given.", rich_help_panel=WHAT,
            autocompletion=completion.presets,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one key; may be repeated.", rich_help_panel=WHAT,
            autocompletion=completion.settings,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.", rich_help_panel=WHAT)] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Length in steps, in place of epochs.", rich_help_panel=WHAT)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="scenes|PATH", help="Built-in scenes or a data set's folder.", rich_help_panel=WHERE),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="auto|camvid|cityscapes|voc|…|folder", help="Its layout.", rich_help_panel=WHERE,
            autocompletion=completion.formats,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Weights to start from: .safetensors, .npz, .pth.", rich_help_panel=WHERE
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The run's folder; runs/NAME-TIME by default.", rich_help_panel=WHERE),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="auto|numpy|cupy|reference", help="Who computes.", rich_help_panel=HOW,
            autocompletion=completion.backends,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What a GPU computes in: float32, tf32, float16 or bfloat16.",
            rich_help_panel=HOW, autocompletion=completion.precisions,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=HOW)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print configuration, parameters, memory and cost; train nothing.",
                     rich_help_panel=HOW),
    ] = False,
) -> None:
    """Train a network, and leave its weights, curves and figures in a folder.

    Ctrl-C finishes the step, saves, and exits with 130. With --resume, the run
    goes on from there and ends in the very same weights.

    \b
    Examples:
      segattn train --out runs/first
      segattn train --preset danet-resnet18-camvid --data CamVid
      segattn train --preset danet-resnet50-cityscapes --weights resnet50.pth
      segattn train --backend cupy --precision float16
      segattn train --set network.head=fcn --set training.epochs=2 --dry-run
      segattn train my.toml --set optimiser.learning_rate=0.003 --seed 1
      segattn train --resume --out runs/first
    """
    from segattn_cli.config import load_config
    from segattn_cli.runs import CONFIG

    if resume and out is None:
        raise UsageError("--resume needs to know which run to go on with: name its folder by --out RUN.")
    source: Path | str | None = file
    if resume and file is None and preset is None and out is not None and (out / CONFIG).exists():
        source = out / CONFIG
    if data is not None and format is None:
        format = "auto"  # a preset's format is that of its own data
    named = {
        "training.seed": seed, "training.max_steps": max_steps, "data.source": data, "data.format": format,
        "network.weights": weights, "training.backend": backend, "training.precision": precision,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    config = load_config(source, [*(settings or ()), *overrides], preset=preset)
    if dry_run:
        _print_plan(config)
        return
    folder = out or Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    _print_result(_run(config, folder, resume))


def _run(config: Config, out: Path, resume: bool) -> RunFinished:
    """Train, drawing on stderr, and write the report; ends the command when interrupted."""
    from segattn_cli.commands.shared.signals import asked_to_stop
    from segattn_cli.commands.train_display import display
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.training import Interrupted, RunFinished
    from segattn_cli.training import train as train_network

    best = None  # the evaluation of the best checkpoint, where this session saved it
    with asked_to_stop("step") as should_stop:
        with display() as show:
            for event in train_network(config, out, resume=resume, should_stop=should_stop):
                show(event)
                if isinstance(event, EvaluationResult):
                    best = event
        if isinstance(event, Interrupted):
            print(f"Saved. Go on with: segattn train --resume --out {out}", file=sys.stderr)
            raise typer.Exit(ExitCode.INTERRUPTED)
        try:
            _write_report(config, out, best, should_stop)
        except MemoryError:
            complain(f"There is not enough memory for {out}/report.html: segattn report {out} writes it.")
    assert isinstance(event, RunFinished)
    return event


def _write_report(
    config: Config, out: Path, best: EvaluationResult | None, should_stop: Callable[[], bool]
) -> None:
    """Write ``report.html``; the run itself is complete by now."""
    from segattn_cli.commands.report import evaluated_report
    from segattn_cli.files import write_atomically
    from segattn_cli.reporting import read_history, report_of, report_page
    from segattn_cli.runs import REPORT

    history = read_history(out)
    if best is not None:
        report = report_of(history, best)
    else:
        report = evaluated_report(
            history, backend=config.training.backend, limit=config.evaluation.limit, should_stop=should_stop
        )
    if report.missing:
        report = replace(report, missing=f"{report.missing} For the rest: segattn report {out}")
        complain(report.missing)
    write_atomically(out / REPORT, report_page([report]).encode())


def _print_plan(config: Config) -> None:
    """The resolved configuration as TOML, and after it, as comments, what it costs: stdout stays valid TOML."""
    from reference.networks import build_network
    from segattn_cli.costs.cost import configured_step
    from segattn_cli.data.formats.class_lists import likely_count
    from segattn_cli.training.setup import open_splits, steps_per_epoch
    from segattn_cli.weights import weights_for

    print(config.as_toml())
    classes, plan = likely_count(config.data.format), []
    try:
        training, validation = open_splits(config)
        classes = len(training.classes)
        epoch = steps_per_epoch(config, training)
        steps = config.training.max_steps or epoch * config.training.epochs
        plan.append(f"images        {len(training)} to train, {len(validation)} to validate, {classes} classes")
        plan.append(f"steps         {steps}, {epoch} an epoch")
    except DataError as error:
        print(f"segattn: {error} The cost is for {classes} classes.", file=sys.stderr)
    if config.network.weights is not None:
        found = weights_for(build_network(config.network_config(classes)), config.network.weights)
        plan.append(f"weights       {len(found.params)} parameters from {found.file.path} ({found.naming.layout})")
    size = config.augmentation.crop
    batch = config.training.batch_size
    cost = configured_step(config, classes, batch, size)
    plan += [
        f"parameters    {cost.parameters:,}",
        f"one step      {cost.multiply_adds / 1e9:,.1f} billion multiply-adds, "
        f"{batch * config.optimiser.accumulate} images of {size[0]}×{size[1]}",
        f"memory        about {cost.peak_bytes / 1e6:,.0f} MB at its peak, of which "
        f"{cost.saved_bytes / 1e6:,.0f} MB are saved for the backward pass",
    ]
    print("\n".join(f"# {line}" for line in plan))


def _print_result(finished: RunFinished) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    result = finished.result
    console = Console(highlight=False)
    minutes, seconds = divmod(round(result["seconds"]), 60)
    console.print(
        f"[bold]{finished.out}[/]: validation mIoU [bold]{result['miou']:.3f}[/], pixel accuracy "
        f"{result['pixel_accuracy']:.3f} (best at step {result['best_step']} of {result['steps']}), "
        f"{minutes} min {seconds} s on {result['backend']}",
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, iou in result["per_class_iou"].items():
        table.add_row(name, "–" if iou is None else f"{iou:.3f}")
    console.print(table)
    console.print(
        f"Report: {finished.out}/report.html (and curves.png, predictions.png)\n"
        f"Next:\n  segattn eval {finished.out}\n  segattn infer {finished.out} IMAGE… --out predictions --overlay",
        soft_wrap=True,
    )
