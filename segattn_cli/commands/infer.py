"""``segattn infer``: segment pictures with a trained network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.prediction import (
    Backend,
    Flip,
    ReducedSize,
    Run,
    Scales,
    Stride,
    Window,
    open_predictor,
)
from segattn_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from backends.contract import Ops
    from segattn_cli.data.submissions import Submission
    from segattn_cli.outputs import Output
    from segattn_cli.runs import Model
    from segattn_cli.segmenting import Failed, Segmented, Skipped

OUTPUT = "What is written, and where"
#: How many classes the line of a picture mentions.
MENTIONED = 4


def infer(
    run: Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, patterns in quotes, or - for standard input.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The folder for the results.", rich_help_panel=OUTPUT, show_default=False),
    ],
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="Each picture under its classes, with a legend.", rich_help_panel=OUTPUT),
    ] = False,
    opacity: Annotated[
        float, typer.Option(min=0, max=1, help="Of the classes in overlays.", rich_help_panel=OUTPUT)
    ] = 0.5,
    scores: Annotated[
        bool,
        typer.Option(
            "--scores", help="The scores of all classes: float32 (H, W, K), .npy.", rich_help_panel=OUTPUT
        ),
    ] = False,
    probabilities: Annotated[
        str | None,
        typer.Option(
            metavar="png|npy", help="Of every class: 16-bit pictures, or float16 (H, W, K).", rich_help_panel=OUTPUT
        ),
    ] = None,
    confidence: Annotated[
        bool,
        typer.Option("--confidence", help="The largest probability, a 16-bit picture.", rich_help_panel=OUTPUT),
    ] = False,
    entropy: Annotated[
        bool,
        typer.Option(
            "--entropy", help="How undecided: 0 certain, 1 anything goes; 16 bits.", rich_help_panel=OUTPUT
        ),
    ] = False,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention", help="The maps of attention, in a folder for each picture.", rich_help_panel=OUTPUT
        ),
    ] = False,
    submission: Annotated[
        str | None,
        typer.Option(
            metavar="cityscapes|ade20k|voc",
            help="Label maps with a benchmark's ids and names.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Skip the pictures whose results are there.", rich_help_panel=OUTPUT),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace results that are there.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a JSON object for each picture, and one for all.", rich_help_panel=OUTPUT
        ),
    ] = False,
    scales: Scales = None,
    flip: Flip = None,
    window: Window = None,
    stride: Stride = None,
    size: ReducedSize = None,
    backend: Backend = "auto",
) -> None:
    """Segment pictures: a label map for each, of its own size, as a palette PNG.

    street.jpg becomes street.png, street.overlay.png and so on. Pictures whose
    names clash keep more of their path: a/street.png, b/street.png. One that
    cannot be read is reported and the rest goes on; the exit code is then 8.

    \b
    Examples:
      segattn infer runs/first street.jpg --out out --overlay
      segattn infer runs/first photos 'more/**/*.png' --out out --resume
      segattn infer runs/first shots --out out --confidence --probabilities png
      segattn infer runs/city leftImg8bit/test --out out --submission cityscapes
      cat street.jpg | segattn infer best.safetensors - --out out --scores
    """
    from segattn_cli.commands.progress import progress
    from segattn_cli.segmenting import Failed, find_inputs, plan_outputs, segment

    if resume and force:
        raise UsageError("--resume keeps what is there and --force replaces it: give one of them.")
    more = {
        "overlay": overlay, "scores": scores, "probabilities": probabilities, "confidence": confidence,
        "entropy": entropy, "attention": attention,
    }
    benchmark = _submission(submission, [kind for kind, asked in more.items() if asked])
    if probabilities not in (None, "png", "npy"):
        raise UsageError(f"--probabilities wants png or npy, got {probabilities!r}.")
    found = find_inputs(inputs, out, sys.stdin.buffer)
    model, predictor = open_predictor(
        run, backend=backend, scales=scales, flip=flip, window=window, stride=stride, size=size
    )
    outputs = _outputs(more, opacity, benchmark, model, predictor.ops)
    jobs = plan_outputs(found, out, outputs, resume=resume, force=force)
    if benchmark is not None:
        benchmark.require_classes(model.classes)
    counts = {"segmented": 0, "skipped": 0, "failed": 0}
    with progress("pictures") as advance:
        for event in segment(predictor, jobs, outputs, model, confidence=as_json):
            counts[type(event).__name__.lower()] += 1
            if isinstance(event, Failed):
                print(f"segattn: {event.reason}", file=sys.stderr)
            line = json.dumps(_as_dict(event)) if as_json else _as_line(event)
            if line:
                print(line, flush=True)
            advance(sum(counts.values()), len(jobs), Path(event.job.input.name).name)
    if as_json:
        print(json.dumps({"summary": {**counts, "checkpoint": str(model.path), "backend": predictor.ops.name}}))
    else:
        print(", ".join(f"{count} {what}" for what, count in counts.items() if count), file=sys.stderr)
    if counts["failed"]:
        raise typer.Exit(ExitCode.DATA if counts["failed"] == len(jobs) else ExitCode.PARTIAL)


def _outputs(
    more: dict[str, Any], opacity: float, benchmark: Submission | None, model: Model, ops: Ops
) -> dict[str, Output]:
    """The kinds of output that were asked for, in the order in which they are written."""
    from segattn_cli import outputs

    makers = {
        "overlay": lambda: outputs.overlay(opacity),
        "scores": outputs.scores,
        "probabilities": lambda: outputs.probabilities(more["probabilities"]),
        "confidence": outputs.confidence,
        "entropy": outputs.entropy,
        "attention": lambda: outputs.attention(model, ops),
    }
    wanted = {kind: make() for kind, make in makers.items() if more[kind]}
    return {**wanted, "label": outputs.label_map(benchmark)}


def _submission(name: str | None, more: list[str]) -> Submission | None:
    from segattn_cli.data.submissions import SUBMISSIONS

    if name is None:
        return None
    if name not in SUBMISSIONS:
        raise UsageError(f"--submission knows {', '.join(SUBMISSIONS)}; got {name!r}.")
    if more:
        raise UsageError(f"A --submission is label maps alone: leave --{more[0]} away.")
    return SUBMISSIONS[name]


def _as_dict(event: Segmented | Skipped | Failed) -> dict[str, Any]:
    from segattn_cli.segmenting import Failed, Segmented

    job = event.job
    said: dict[str, Any] = {"input": job.input.name, "status": type(event).__name__.lower()}
    if isinstance(event, Failed):
        return {**said, "reason": event.reason}
    said |= {kind: str(path) for kind, path in job.outputs.items()}
    if isinstance(event, Segmented):
        said |= {
            "size": event.size,
            "shares": event.shares,
            "mean_confidence": event.confidence,
            "scale_weights": event.scale_weights,
            "seconds": round(event.seconds, 4),
        }
    return said


def _as_line(event: Segmented | Skipped | Failed) -> str:
    """The label map, and the classes that take most of it."""
    from segattn_cli.segmenting import Segmented

    if not isinstance(event, Segmented):
        return ""
    most = list(event.shares.items())[:MENTIONED]
    return f"{event.job.outputs['label']}  " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in most)
