"""``segattn export``: a trained network for other software."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.options import Run
from segattn_cli.commands.shared.output_paths import require_writable
from segattn_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from segattn_cli.exporting.verify import ScoreDifference
    from segattn_cli.runs import Model

ONNX = "ONNX"
STATE_DICT = "State dict"
#: What is made by default, by the ending of --out.
KINDS = {".onnx": "onnx", ".safetensors": "state-dict"}


def export(
    run: Run,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The file to write: .onnx or .safetensors.", show_default=False)
    ],
    to: Annotated[
        str | None, typer.Option(metavar="onnx|state-dict", help="What to write; by default as --out ends.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace --out if it is there.")] = False,
    opset: Annotated[
        int, typer.Option(help="Version of ONNX's operators, from 13 to 21.", rich_help_panel=ONNX)
    ] = 17,
    input: Annotated[
        str,
        typer.Option(
            metavar="float32|uint8",
            help="Normalised (B, 3, H, W), or pictures as they are, (B, H, W, 3).",
            rich_help_panel=ONNX,
        ),
    ] = "float32",
    labels: Annotated[
        bool,
        typer.Option("--labels", help="A second output: the class with the highest score.", rich_help_panel=ONNX),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with onnxruntime on three sizes of picture.", rich_help_panel=ONNX),
    ] = False,
    backend: Annotated[
        str,
        typer.Option(
            help="Who computes what --check compares with.", rich_help_panel=ONNX,
            autocompletion=completion.backends,
        ),
    ] = "auto",
    layout: Annotated[
        str,
        typer.Option(
            metavar="auto|danet|mmseg|torchvision|pytorch", help="Whose names the tensors get.",
            rich_help_panel=STATE_DICT,
        ),
    ] = "auto",
) -> None:
    """Write a trained network for other software: ONNX, or a state dict for PyTorch.

    The ONNX model takes batches and pictures of any size, fuses scales itself,
    and carries classes, colours and the normalisation as metadata. With --check
    the exit code is 10 if onnxruntime's scores are not ours.

    \b
    Examples:
      segattn export runs/first --out net.onnx --check
      segattn export runs/first --out net.onnx --input uint8 --labels
      segattn export best.safetensors --out danet.safetensors --to state-dict
    """
    kind = to or KINDS.get(out.suffix.lower())
    if kind not in KINDS.values():
        asked = f"--to {to}" if to else f"--out {out}"
        raise UsageError(f"{asked} does not say what to write: give --to onnx or --to state-dict.")
    if kind == "state-dict" and (check or labels or input != "float32" or opset != 17):
        raise UsageError("--opset, --input, --labels and --check are for --to onnx.")
    if kind == "onnx" and layout != "auto":
        raise UsageError("--layout is for --to state-dict.")
    require_writable(out, force=force)

    from backends import get_backend
    from segattn_cli.runs import open_model

    if kind == "state-dict":
        _write_state_dict(open_model(run), out, layout)
        return

    from segattn_cli.exporting.onnx_model import write_onnx
    from segattn_cli.exporting.verify import onnxruntime, verify

    runtime, ops = (onnxruntime(), get_backend(backend)) if check else (None, None)
    model = open_model(run)
    inputs, outputs = write_onnx(model, out, opset=opset, input=input, labels=labels)
    print(f"written   {out}, {out.stat().st_size / 1e6:.1f} MB, opset {opset}")
    for what, ports in (("input", inputs), ("output", outputs)):
        for port in ports:
            print(f"{what:9} {port.name}: {port.dtype} ({', '.join(map(str, port.shape))})")
    if runtime is not None and ops is not None:
        _print_check(verify(runtime.InferenceSession(out), model, ops))


def _write_state_dict(model: Model, out: Path, layout: str) -> None:
    from segattn_cli.exporting.state_dict import LAYOUTS, write_state_dict

    if layout not in ("auto", *LAYOUTS):
        raise UsageError(f"--layout must be one of auto, {', '.join(LAYOUTS)}, got {layout!r}.")
    chosen, arrays = write_state_dict(model, out, layout)
    print(f"written   {out}, {out.stat().st_size / 1e6:.1f} MB, {len(arrays)} tensors with the names of {chosen}")


def _print_check(differences: Iterator[ScoreDifference]) -> None:
    agree = True
    for each in differences:
        size = "×".join(map(str, each.size))
        print(
            f"check     {size}: scores differ by {each.absolute:.1e}, {each.relative:.1e} of the largest; "
            f"{100 * each.same_label:.2f} % of the labels are the same"
        )
        agree &= each.agrees
    if not agree:
        raise typer.Exit(ExitCode.DISAGREE)
