"""``segattn weights``: weights of other tools, looked at and made ours."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.output_paths import require_writable
from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from segattn_cli.weights import Imported, WeightsFile

app = typer.Typer(
    name="weights", no_args_is_help=True, help="Look at weights of other tools, and import them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help=".safetensors, .npz, .pth, .pt or .pth.tar.", show_default=False)
]
Layout = Annotated[
    str, typer.Option(metavar="auto|torchvision|danet|mmseg|segattn|pytorch", help="Whose names the file has.")
]


@app.command("import")
def import_(
    file: File,
    out: Annotated[
        Path, typer.Option(metavar="X.safetensors", help="The checkpoint to write.", show_default=False)
    ],
    kind: Annotated[
        str | None,
        typer.Option("--as", metavar="backbone|network", help="What to make of it; by default what it holds."),
    ] = None,
    layout: Layout = "auto",
    classes: Annotated[
        str, typer.Option(metavar="keep|reset", help="Keep the classifiers, or start them anew.")
    ] = "keep",
    names: Annotated[
        str | None,
        typer.Option(metavar="DATASET|FILE", help="The classes: cityscapes, voc, …, or a file, one a line."),
    ] = None,
    fully_connected: Annotated[
        str,
        typer.Option(
            "--fc", metavar="decimate|reset", help="VGG-16's fc6 and fc7: thinned out for LargeFOV, or left out."
        ),
    ] = "decimate",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What no tensor tells: network.multi_grid=none."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace --out if it is there.")] = False,
) -> None:
    """Make a checkpoint of weights from elsewhere: ImageNet backbones, DANets of others.

    A backbone is something to train from (--weights), a network predicts at
    once (segattn infer). Nothing in FILE is executed; PyTorch is not needed.
    What was matched, missing, reset and unused is printed, and a file that
    fits by half is refused.

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
    require_writable(out, force=force)
    imported = import_weights(
        file, kind=kind, layout=layout, names=names, reset_classes=classes == "reset",  # type: ignore[arg-type]
        decimate=fully_connected == "decimate", settings=settings or (),
    )  # fmt: skip
    save_checkpoint(out, imported.arrays, imported.metadata)
    _print_import(imported, out)


@app.command("show")
def show(
    file: File,
    layout: Layout = "auto",
    everything: Annotated[bool, typer.Option("--all", help="Every tensor by itself.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every tensor.")] = False,
) -> None:
    """Show what a file of weights holds, and what would be made of it.

    \b
    Examples:
      segattn weights show resnet50-11ad3fa6.pth
      segattn weights show DANet101.pth.tar --all
    """
    from segattn_cli.weights import read_weights

    _check_layout(layout)
    found = read_weights(file)
    described = _described(found, layout)
    if as_json:
        tensors = {
            name: {"shape": list(tensor.shape), "dtype": tensor.dtype} for name, tensor in found.tensors.items()
        }
        print_json({**described, "tensors": tensors})
    else:
        _print_file(found, described, everything)


def _one_of(option: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} must be {' or '.join(str(each) for each in choices if each)}, got {value!r}.")


def _check_layout(layout: str) -> None:
    from segattn_cli.weights import LAYOUTS

    _one_of("--layout", layout, ("auto", *LAYOUTS))


def _print_import(imported: Imported, out: Path) -> None:
    from segattn_cli.weights import summary

    found = imported.match
    parts = imported.metadata["weights" if imported.kind == "backbone" else "config"]
    settings = parts.get("network", parts)
    network = f"{settings['backbone']}" + (f", head {settings['head']}" if imported.kind == "network" else "")
    print(f"layout    {found.naming.layout}: {network}")
    print(f"matched   {len(found.params)} parameters, {sum(each.size for each in found.params.values()):,} numbers")
    for what, listed in (("missing", found.missing), ("reset", found.reset), ("unused", found.unused)):
        print(f"{what:9} {summary(listed, most=8) or 'nothing'}")
    for note in imported.notes:
        print(f"note      {note}")
    print(f"written   {out}, {out.stat().st_size / 1e6:.1f} MB")
    if imported.kind == "network" and not (found.missing or found.reset):
        print(f"\nNext:\n  segattn infer {out} IMAGE… --out predictions --overlay")
    else:
        print(f"\nNext:\n  segattn train --set network.backbone={settings['backbone']} --weights {out} …")


def _described(file: WeightsFile, layout: str) -> dict[str, Any]:
    """What the file is, in plain values."""
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
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    where = f", under {file.wrapper}" if file.wrapper else ""
    counts = Counter(tensor.dtype for tensor in file.tensors.values())
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in counts.items())
    megabytes = file.nbytes / 1e6
    console.print(f"{file.path}: {file.kind}, {len(file.tensors)} tensors{where} ({dtypes}), {megabytes:.1f} MB")
    if described["layout"]:
        parts = ", ".join(f"{key} {value}" for key, value in described["network"].items())
        console.print(f"layout {described['layout']}: {parts}", soft_wrap=True)
    for note in described.get("notes", ()):
        console.print(note, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tensor")
    table.add_column("shape" if everything else "tensors", justify="right")
    table.add_column("dtype" if everything else "numbers", justify="right")
    if everything:
        for name, tensor in file.tensors.items():
            table.add_row(name, "×".join(map(str, tensor.shape)) or "()", tensor.dtype)
    else:
        modules: dict[str, list[int]] = {}
        for name, tensor in file.tensors.items():
            modules.setdefault(_module(name), []).append(tensor.values.size)
        for module, sizes in modules.items():
            table.add_row(module, str(len(sizes)), f"{sum(sizes):,}")
    console.print(table)
    if "problem" in described:
        print(f"segattn: {described['problem']}", file=sys.stderr)


def _module(name: str) -> str:
    """The first two parts of a tensor's name, which tell the stage of a backbone or the branch of a head.

    >>> _module("pretrained.layer1.0.conv1.weight"), _module("conv1.weight")
    ('pretrained.layer1', 'conv1')
    """
    return ".".join(name.split(".")[:-1][:2]) or name
