"""``segattn summary``: show the layers, memory and cost of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.options import CONFIGURATION, ConfiguredImageSize, JsonFile, Settings
from segattn_cli.commands.shared.output_paths import require_replaceable
from segattn_cli.commands.shared.terminal import console, plain

if TYPE_CHECKING:
    from rich.table import Table

    from segattn_cli.config import Config
    from segattn_cli.costs.cost import Cost
    from segattn_cli.costs.layers import LayerCost


def summary(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="NETWORK", show_default=False, autocompletion=completion.presets,
            help="Preset, run, checkpoint or configuration file. The default is the preset tiny-scenes.",
        ),
    ] = None,
    settings: Settings = None,
    classes: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", rich_help_panel=CONFIGURATION,
            help="Number of classes. The default is that of the checkpoint or of the data set.",
        ),
    ] = None,
    size: ConfiguredImageSize = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=65_536, metavar="N",
            help="Number of images in one training pass. The default is training.batch_size.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every layer instead of every module.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Show the layers, parameters, memory and cost of a network.

    The tables have the output shape, parameters and multiply-adds of each
    module, and the memory of inference and of a training step. Only shapes are
    computed, which takes a moment for any size. Memory is estimated for the
    backend numba, which auto chooses on a CPU; the peak of a training step is
    good to 7 %. Without --size, the image has the size of the crops in training.

    \b
    Examples:
      segattn summary danet-resnet101-cityscapes --classes 19
      segattn summary runs/first --size 360,480
      segattn summary tiny-scenes --set network.head=fcn --all
    """
    from reference.networks import build_network
    from segattn_cli.commands.shared.networks import classes_of_data, described_network
    from segattn_cli.commands.shared.options import parse_size
    from segattn_cli.costs.cost import configured_step, inference
    from segattn_cli.costs.layers import grouped, layer_costs

    require_replaceable(json_file, read=[Path(source)] if source else [])
    height, width = (parse_size("--size", size) if size else None) or (0, 0)
    config, known = described_network(source, settings or ())
    count = classes or known or classes_of_data(config, "; --classes changes that")
    network = build_network(config.network_config(count))
    if not height:
        height, width = config.augmentation.crop
    batch = batch or config.training.batch_size

    layers = layer_costs(network, height, width)
    predict = inference(network, 1, height, width)
    step = configured_step(config, count, batch, (height, width))
    cost = (predict, step)
    show_and_write(
        _report(config, count, (height, width), batch, layers, *cost), json_file,
        lambda: _print(config, count, (height, width), batch, layers if every else grouped(layers), *cost),
    )


def _report(
    config: Config, classes: int, size: tuple[int, int], batch: int, layers: Sequence[LayerCost], predict: Cost,
    step: Cost,
) -> dict[str, Any]:
    """All results as JSON; costs are for one image unless they say otherwise."""
    from backends.numpy.threads import thread_count

    return {
        "name": config.name,
        "network": config.network.parts(),
        "classes": classes,
        "size": size,
        "threads": thread_count(),
        "parameters": step.parameters,
        "running_statistics": step.statistics,
        "inference": _costs_as_json(predict),
        "training": {"batch_size": batch, "accumulate": config.optimiser.accumulate, **_costs_as_json(step)},
        "layers": [layer._asdict() for layer in layers],
    }


def _costs_as_json(cost: Cost) -> dict[str, int]:
    return {
        "multiply_adds": cost.multiply_adds,
        "state_bytes": cost.state_bytes,
        "kept_bytes": cost.saved_bytes,
        "pass_bytes": cost.pass_bytes,
        "peak_bytes": cost.peak_bytes,
    }


def _print(
    config: Config, classes: int, size: tuple[int, int], batch: int, rows: Sequence[LayerCost], predict: Cost,
    step: Cost,
) -> None:
    from segattn_cli.rendering.style import dimensions

    out = console()
    network = config.network
    parts = f"{network.backbone} with output stride {network.output_stride}, head {network.head}, {classes} classes"
    out.print(f"[bold]{plain(config.name)}[/]: {parts}, one image of {dimensions(size)}")
    out.print(_layers(rows))
    out.print(
        f"{step.parameters:,} parameters are trained; {step.statistics:,} running statistics follow the batches."
        + ("  [dim]* only in training[/]" if any(row.training_only for row in rows) else ""),
    )
    out.print(_passes(predict, step, batch * config.optimiser.accumulate))
    average = "" if config.training.ema is None else ", their average"
    optimiser = {"sgd": "momentum", "adamw": "AdamW's two means"}[config.optimiser.kind]
    out.print(
        f"State: weights; in training{average} and {optimiser}, too.\n"
        "Pass: images, activations, gradients and workspaces at their peak.\n"
        "Saved: arrays that wait for the backward pass.\n"
        "Memory is an estimate for the backend numba: measured training steps are within 7 % of it.",
        style="dim",
    )  # fmt: skip


def _layers(rows: Sequence[LayerCost]) -> Table:
    """One line for each layer or group of layers; with several scales, those of each below its sum."""
    from segattn_cli.rendering.style import dimensions

    table = _empty("\nlayer", "output\nH×W×C", "\nparameters", "multiply-adds\nmillions", "outputs\nMB")
    scopes = list(dict.fromkeys(_scope(row) for row in rows))
    for scope in scopes:
        own = [row for row in rows if _scope(row) == scope]
        if len(scopes) > 1:
            table.add_row(f"[bold]{scope or 'fusion'}[/]", "", *_sums(own))
        for row in own:
            name = row.name.removeprefix(f"{scope}/") + (" *" if row.training_only else "")
            table.add_row(" " * (len(scopes) > 1) + name, dimensions(row.shape[1:]), *_sums([row]))
    table.add_section()
    table.add_row("[bold]all[/]", "", *_sums(rows))
    return table


def _passes(predict: Cost, step: Cost, images: int) -> Table:
    table = _empty("", "\nimages", "multiply-adds\nbillions", "peak\nMB", "state\nMB", "pass\nMB", "saved\nMB")
    for name, count, cost in (("inference", 1, predict), ("training step", images, step)):
        sizes = (cost.peak_bytes, cost.state_bytes, cost.pass_bytes, cost.saved_bytes)
        megabytes = [f"{each / 1e6:,.1f}" if each else "" for each in sizes]
        table.add_row(name, str(count), f"{cost.multiply_adds / 1e9:,.2f}", *megabytes)
    return table


def _empty(first: str, *headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")  # in a narrow terminal names are folded before numbers are cut
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _scope(row: LayerCost) -> str:
    return row.name.rpartition("/")[0]


def _sums(rows: Sequence[LayerCost]) -> tuple[str, str, str]:
    """Parameters, millions of multiply-adds, and megabytes of outputs; nothing for none."""
    parameters = sum(row.parameters for row in rows)
    multiply_adds = sum(row.multiply_adds for row in rows)
    output_bytes = sum(row.output_bytes for row in rows)
    return (
        f"{parameters:,}" if parameters else "",
        f"{multiply_adds / 1e6:,.1f}" if multiply_adds else "",
        f"{output_bytes / 1e6:,.2f}",
    )
