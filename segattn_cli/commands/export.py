"""``segattn export``: write a trained network for other software."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared.options import OUTPUT, Backend, Force, Run
from segattn_cli.commands.shared.output_paths import require_writable
from segattn_cli.commands.shared.terminal import say
from segattn_cli.errors import ExitCode, UsageError, counted

if TYPE_CHECKING:
    from segattn_cli.exporting.verify import ScoreDifference
    from segattn_cli.runs import Model

ONNX, STATE_DICT = "ONNX", "State dict"
#: What is made by default, by the ending of --out.
KINDS = {".onnx": "onnx", ".safetensors": "state-dict"}


def export(
    run: Run,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
            help="Write the network to FILE: .onnx or .safetensors.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", rich_help_panel=OUTPUT,
            help="Kind of file: onnx or state-dict. The default follows from the ending of --out.",
        ),
    ] = None,
    force: Force = False,
    opset: Annotated[
        int,
        typer.Option(metavar="N", rich_help_panel=ONNX, help="Version of the ONNX operator set, from 13 to 21."),
    ] = 17,
    input: Annotated[
        str,
        typer.Option(
            metavar="TYPE", rich_help_panel=ONNX,
            help="Type of the input: float32 for normalised images (B, 3, H, W), or uint8 for plain images "
            "(B, H, W, 3).",
        ),
    ] = "float32",
    labels: Annotated[
        bool,
        typer.Option(
            "--labels", rich_help_panel=ONNX, help="Add a second output, the class with the highest score."
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", rich_help_panel=ONNX,
            help="Compare the scores with those of onnxruntime at three image sizes.",
        ),
    ] = False,
    backend: Backend = "auto",
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=STATE_DICT,
            help="Tool whose tensor names are used: auto, danet, mmseg, torchvision or pytorch.",
        ),
    ] = "auto",
) -> None:
    """Export a network to ONNX, or to a state dict for PyTorch.

    The ONNX model takes batches and images of any size, fuses the scales itself,
    and carries the classes, colours and normalisation as metadata. With --check,
    the exit code is 10 if the scores of onnxruntime differ.

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
    require_writable(out, force=force, read=[run])

    from backends import get_backend
    from segattn_cli.runs import open_model

    if kind == "state-dict":
        _write_state_dict(open_model(run), out, layout)
        return

    from segattn_cli.exporting.onnx_model import write_onnx
    from segattn_cli.exporting.verify import onnxruntime, verify
    from segattn_cli.rendering.style import megabytes

    runtime, ops = (onnxruntime(), get_backend(backend)) if check else (None, None)
    model = open_model(run)
    inputs, outputs = write_onnx(model, out, opset=opset, input=input, labels=labels)
    say(f"written   {out}, {megabytes(out.stat().st_size)}, opset {opset}")
    for what, ports in (("input", inputs), ("output", outputs)):
        for port in ports:
            say(f"{what:9} {port.name}: {port.dtype} ({', '.join(map(str, port.shape))})")
    if runtime is not None and ops is not None:
        _print_check(verify(runtime.InferenceSession(out), model, ops))


def _write_state_dict(model: Model, out: Path, layout: str) -> None:
    from segattn_cli.exporting.state_dict import LAYOUTS, write_state_dict
    from segattn_cli.rendering.style import megabytes

    if layout not in ("auto", *LAYOUTS):
        raise UsageError(f"--layout must be one of auto, {', '.join(LAYOUTS)}, got {layout!r}.")
    chosen, arrays = write_state_dict(model, out, layout)
    tensors = counted(len(arrays), "tensor")
    say(f"written   {out}, {megabytes(out.stat().st_size)}, {tensors} with the names of {chosen}")


def _print_check(differences: Iterator[ScoreDifference]) -> None:
    from segattn_cli.rendering.style import dimensions, percent

    agree = True
    for each in differences:
        say(
            f"check     {dimensions(each.size)}: scores differ by {each.absolute:.1e}, "
            f"{each.relative:.1e} of the largest; {percent(each.same_label, 2)} of the labels are the same"
        )
        agree &= each.agrees
    if not agree:
        raise typer.Exit(ExitCode.DISAGREE)
