"""``segattn weights``: show and import the weights of other tools."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared.help import Command, Group
from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.options import OUTPUT, Force, PrintJson, Settings
from segattn_cli.commands.shared.output_paths import require_writable
from segattn_cli.commands.shared.terminal import complain, console, plain, say, show_next
from segattn_cli.errors import UsageError, counted

if TYPE_CHECKING:
    from segattn_cli.weights import Imported, WeightsFile

app = typer.Typer(help="Show and import weights of other tools.", no_args_is_help=True, cls=Group)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="File of weights: .safetensors, .npz, .pth, .pt or .pth.tar.", show_default=False
    ),
]
Layout = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Tool whose tensor names the file has: auto, torchvision, danet, mmseg, segattn or pytorch.",
    ),
]


@app.command("import", cls=Command)
def import_(
    file: File,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
            help="Write the checkpoint to FILE (.safetensors).",
        ),
    ],
    force: Force = False,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="KIND",
            help="Import a backbone or a network. The default follows from the content of the file.",
        ),
    ] = None,
    layout: Layout = "auto",
    classes: Annotated[
        str,
        typer.Option(metavar="MODE", help="Classifiers: keep their weights, or reset them to random weights."),
    ] = "keep",
    names: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Class names: a data set such as cityscapes, or a file with one name per line."
        ),
    ] = None,
    fully_connected: Annotated[
        str,
        typer.Option(
            "--fc", metavar="MODE", help="Layers fc6 and fc7 of VGG-16: decimate them for LargeFOV, or reset them."
        ),
    ] = "decimate",
    settings: Settings = None,
) -> None:
    """Import the weights of another tool as a checkpoint.

    An ImageNet backbone becomes a file to train from (segattn train --weights).
    A whole network becomes a checkpoint that can predict (segattn infer).
    PyTorch is not needed, and no code in the file is executed. The command
    prints which tensors are matched, missing, reset and unused. A file that
    fits only in part is refused. Use --set for settings that the file does not
    contain, such as network.align_corners.

    \b
    Examples:
      segattn weights import resnet50-11ad3fa6.pth --out resnet50.safetensors
      segattn weights import DANet101.pth.tar --out danet.safetensors
      segattn weights import danet_r50-d8_769x769.pth --out danet.safetensors \\
          --set network.align_corners=true
      segattn weights import DANet101.pth.tar --out mine.safetensors \\
          --classes reset --names my-data/classes.txt
    """
    from segattn_cli.runs.checkpoint import save_checkpoint
    from segattn_cli.weights import import_weights

    _one_of("--as", kind, (None, "backbone", "network"))
    _one_of("--classes", classes, ("keep", "reset"))
    _one_of("--fc", fully_connected, ("decimate", "reset"))
    _check_layout(layout)
    require_writable(out, force=force, read=[file])
    imported = import_weights(
        file, kind=kind, layout=layout, names=names, reset_classes=classes == "reset",  # type: ignore[arg-type]
        decimate=fully_connected == "decimate", settings=settings or (),
    )  # fmt: skip
    save_checkpoint(out, imported.arrays, imported.metadata)
    _print_import(imported, out)


@app.command("show", cls=Command)
def show(
    file: File,
    layout: Layout = "auto",
    everything: Annotated[bool, typer.Option("--all", help="Show every tensor instead of every module.")] = False,
    as_json: PrintJson = False,
) -> None:
    """Show what a file of weights contains, and which network it fits.

    \b
    Examples:
      segattn weights show resnet50-11ad3fa6.pth
      segattn weights show DANet101.pth.tar --all
    """
    from segattn_cli.weights import read_weights

    _check_layout(layout)
    contents = read_weights(file)
    described = _described(contents, layout)
    if as_json:
        tensors = {
            name: {"shape": list(tensor.shape), "dtype": tensor.dtype} for name, tensor in contents.tensors.items()
        }
        print_json({**described, "tensors": tensors})
    else:
        _print_file(contents, described, everything)


def _one_of(option: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} must be {' or '.join(str(each) for each in choices if each)}, got {value!r}.")


def _check_layout(layout: str) -> None:
    from segattn_cli.weights import LAYOUTS

    _one_of("--layout", layout, ("auto", *LAYOUTS))


def _print_import(imported: Imported, out: Path) -> None:
    from segattn_cli.rendering.style import megabytes
    from segattn_cli.weights import summary

    match = imported.match
    parts = imported.metadata["weights" if imported.kind == "backbone" else "config"]
    settings = parts.get("network", parts)
    network = f"{settings['backbone']}" + (f", head {settings['head']}" if imported.kind == "network" else "")
    say(f"layout    {match.naming.layout}: {network}")
    say(f"matched   {len(match.params)} parameters, {sum(each.size for each in match.params.values()):,} numbers")
    for what, listed in (("missing", match.missing), ("reset", match.reset), ("unused", match.unused)):
        say(f"{what:9} {summary(listed, most=8) or 'nothing'}")
    for note in imported.notes:
        say(f"note      {note}")
    say(f"written   {out}, {megabytes(out.stat().st_size)}")
    if imported.kind == "network" and not (match.missing or match.reset):
        show_next(f"segattn infer {quote(str(out))} IMAGE… --out predictions --overlay")
    else:
        show_next(f"segattn train --set network.backbone={settings['backbone']} --weights {quote(str(out))} …")


def _described(file: WeightsFile, layout: str) -> dict[str, Any]:
    """The kind, layout and network of the file, for JSON."""
    from segattn_cli.weights import naming_of
    from segattn_cli.weights.tensors import FileError

    described: dict[str, Any] = {
        "file": str(file.path), "kind": file.kind, "wrapper": file.wrapper, "bytes": file.nbytes,
        "beside": sorted(map(str, file.extra)), "layout": None,
    }  # fmt: skip
    try:
        naming = naming_of(file, layout)
    except FileError as error:
        return {**described, "problem": f"{file.path} {error}."}
    return {**described, "layout": naming.layout, "network": dict(naming.settings), "notes": list(naming.notes)}


def _print_file(file: WeightsFile, described: dict[str, Any], everything: bool) -> None:
    from rich import box
    from rich.table import Table

    from segattn_cli.rendering.style import dimensions, megabytes

    out = console()
    where = f", under {file.wrapper}" if file.wrapper else ""
    counts = Counter(tensor.dtype for tensor in file.tensors.values())
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in counts.items())
    size = megabytes(file.nbytes)
    out.print(f"{plain(file.path)}: {file.kind}, {counted(len(file.tensors), 'tensor')}{where} ({dtypes}), {size}")
    if described["layout"]:
        parts = ", ".join(f"{key} {value}" for key, value in described["network"].items())
        out.print(plain(f"layout {described['layout']}: {parts}"))
    for note in described.get("notes", ()):
        out.print(plain(note))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tensor")
    table.add_column("shape" if everything else "tensors", justify="right")
    table.add_column("dtype" if everything else "numbers", justify="right")
    if everything:
        for name, tensor in file.tensors.items():
            table.add_row(plain(name), dimensions(tensor.shape) or "()", tensor.dtype)
    else:
        modules: dict[str, list[int]] = {}
        for name, tensor in file.tensors.items():
            modules.setdefault(_module(name), []).append(tensor.values.size)
        for module, sizes in modules.items():
            table.add_row(plain(module), str(len(sizes)), f"{sum(sizes):,}")
    out.print(table)
    if "problem" in described:
        complain(described["problem"])


def _module(name: str) -> str:
    """The first two parts of a tensor's name, which tell the stage of a backbone or the branch of a head.

    >>> _module("pretrained.layer1.0.conv1.weight"), _module("conv1.weight")
    ('pretrained.layer1', 'conv1')
    """
    return ".".join(name.split(".")[:-1][:2]) or name
