"""``segattn train``: a configuration in, a run's folder out."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.options import (
    CONFIGURATION,
    OUTPUT,
    ConfiguredBackend,
    ConfiguredFormat,
    ConfiguredPrecision,
    Data,
    Settings,
    ValFraction,
)
from segattn_cli.commands.shared.ranks import Ranks, on_ranks, require_cores
from segattn_cli.commands.shared.terminal import complain, console, plain, remark, say, show_next
from segattn_cli.errors import DataError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segattn_cli.config import Config
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.ranks.communicator import Communicator
    from segattn_cli.training import RunFinished

def train(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="Configuration file in TOML.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=CONFIGURATION, autocompletion=completion.presets,
            help="Start from this preset. The command segattn presets lists all presets. Without a preset and a "
            "file, it is tiny-scenes.",
        ),
    ] = None,
    settings: Settings = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=CONFIGURATION, help="Seed for all random numbers."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=CONFIGURATION, help="Number of passes over the data set."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=CONFIGURATION, help="Number of images in a batch."),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", rich_help_panel=CONFIGURATION, help="Largest learning rate of the schedule."
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", rich_help_panel=CONFIGURATION, help="Number of training steps, instead of epochs."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", rich_help_panel=CONFIGURATION,
            help="Start from the weights in this file: .safetensors, .npz or .pth.",
        ),
    ] = None,
    data: Data = None,
    format: ConfiguredFormat = None,
    val: ValFraction = None,
    backend: ConfiguredBackend = None,
    precision: ConfiguredPrecision = None,
    ranks: Ranks = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", rich_help_panel=OUTPUT,
            help="Folder of the run. The default is runs/NAME-TIME.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", rich_help_panel=OUTPUT, help="Continue the run in --out from its checkpoint."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=OUTPUT,
            help="Print the configuration and the parameters, memory and cost of the network. Train nothing.",
        ),
    ] = False,
) -> None:
    """Train a network.

    A folder, the run, receives the weights, the event log, curves and a report.
    Ctrl-C finishes the current step, saves a checkpoint and exits with code 130.
    Continue with --resume: the final weights are the same, bit by bit, as those
    of a run without interruption.

    \b
    Examples:
      segattn train --out runs/first
      segattn train --preset danet-resnet18-camvid --data CamVid
      segattn train --preset danet-resnet50-cityscapes --weights resnet50.pth
      segattn train --backend cupy --precision float16
      segattn train --data photos --val 0.2 --epochs 50 --batch-size 4 --lr 0.005
      segattn train --set network.head=fcn --epochs 2 --dry-run
      segattn train my.toml --set optimiser.learning_rate=0.003 --seed 1
      segattn train --resume --out runs/first
      segattn train --ranks 2 --set optimiser.accumulate=2 --out runs/second
    """
    from segattn_cli.config import load_config
    from segattn_cli.ranks.communicator import from_first, together
    from segattn_cli.runs import CONFIG

    with on_ranks(None if dry_run else ranks) as comm:
        with together(comm):
            if resume and out is None:
                raise UsageError("--resume needs to know which run to go on with: name its folder by --out RUN.")
            source: Path | str | None = file
            if resume and file is None and preset is None and out is not None and (out / CONFIG).exists():
                source = out / CONFIG
            if data is not None and format is None:
                format = "auto"  # a preset's format is that of its own data
            named = {
                "training.epochs": epochs, "training.batch_size": batch_size, "optimiser.learning_rate": lr,
                "training.seed": seed, "training.max_steps": max_steps, "data.source": data, "data.format": format,
                "data.val_fraction": val,
                "network.weights": weights, "training.backend": backend, "training.precision": precision,
            }
            if epochs is not None and max_steps is None:
                named["training.max_steps"] = "none"  # a preset's may not win over what was asked
            overrides = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
            config = load_config(source, [*(settings or ()), *overrides], preset=preset)
        if dry_run:
            if ranks is not None:
                require_cores(ranks)
            from_first(comm, lambda: _print_plan(config, ranks or comm.size), "its plan")
            return
        folder = out or Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        finished = _run(config, comm.gather(folder)[0], resume, comm)
    _print_result(finished)


def _run(config: Config, out: Path, resume: bool, comm: Communicator) -> RunFinished:
    """Train, drawing on stderr, and write the report; ends the command when interrupted."""
    from segattn_cli.commands.shared.first_use import compiled_at_first_use
    from segattn_cli.commands.shared.signals import asked_to_stop
    from segattn_cli.commands.train_display import display
    from segattn_cli.prediction.evaluation import EvaluationResult
    from segattn_cli.ranks.communicator import from_first
    from segattn_cli.training import Interrupted, RunFinished, RunStarted
    from segattn_cli.training import train as train_network

    best = None  # the evaluation of the best checkpoint, where this session saved it
    with asked_to_stop("step") as should_stop:
        with display() as show:
            for event in train_network(config, out, resume=resume, should_stop=should_stop, comm=comm):
                show(event)
                if isinstance(event, RunStarted) and comm.size == 1:
                    for compiled in compiled_at_first_use(event.backend):
                        show(compiled)
                        if should_stop():
                            break
                if isinstance(event, EvaluationResult):
                    best = event
        if isinstance(event, Interrupted):
            remark(f"Saved. Continue with: segattn train --resume --out {out}")
            raise typer.Exit(ExitCode.INTERRUPTED)
        try:
            from_first(comm, lambda: _write_report(config, out, best, should_stop), "the end of its report")
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


def _print_plan(config: Config, ranks: int) -> None:
    """The resolved configuration as TOML, and after it, as comments, what it costs: stdout stays valid TOML."""
    from backends import get_backend
    from reference.networks import build_network
    from segattn_cli.costs.cost import configured_step
    from segattn_cli.data.formats.class_lists import likely_count
    from segattn_cli.training.setup import (
        open_splits,
        require_divisible,
        steps_per_epoch,
        warnings_before_training,
    )
    from segattn_cli.weights import weights_for

    require_divisible(config, ranks)
    print(config.as_toml())
    classes, plan = likely_count(config.data.format), []
    wrong: DataError | None = None
    try:
        training, validation = open_splits(config)
        for warning in warnings_before_training(config, training, validation):
            remark(f"! {warning}")
        classes = len(training.classes)
        epoch = steps_per_epoch(config, training)
        steps = config.training.max_steps or epoch * config.training.epochs
        plan.append(f"images        {len(training)} to train, {len(validation)} to validate, {classes} classes")
        plan.append(f"steps         {steps}, {epoch} an epoch")
    except DataError as error:
        wrong = error
        plan.append(f"data          cannot be used; the cost is for {classes} classes")
    if config.network.weights is not None:
        match = weights_for(build_network(config.network_config(classes)), config.network.weights)
        plan.append(f"weights       {len(match.params)} parameters from {match.file.path} ({match.naming.layout})")
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
    if wrong is not None:
        raise wrong
    get_backend(config.training.backend, config.training.precision)  # raises what a training would


def _print_result(finished: RunFinished) -> None:
    from rich import box
    from rich.table import Table

    result = finished.result
    out = console()
    minutes, seconds = divmod(round(result["seconds"]), 60)
    out.print(
        f"[bold]{plain(finished.out)}[/]: validation mIoU [bold]{result['miou']:.3f}[/], pixel accuracy "
        f"{result['pixel_accuracy']:.3f} (best at step {result['best_step']} of {result['steps']}), "
        f"{minutes} min {seconds} s on {result['backend']}"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", no_wrap=True)  # names are shortened, numbers never
    table.add_column("IoU", justify="right", no_wrap=True, min_width=5)
    for name, iou in result["per_class_iou"].items():
        table.add_row(plain(name), "–" if iou is None else f"{iou:.3f}")
    out.print(table)
    say(f"Report: {finished.out}/report.html (and curves.png, predictions.png)")
    run = quote(str(finished.out))
    show_next(f"segattn eval {run}", f"segattn infer {run} IMAGE… --out predictions --overlay")
