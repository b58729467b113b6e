"""``segattn infer``: segment images and videos with a trained network."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segattn_cli.commands.infer_display import Tally
from segattn_cli.commands.shared.options import (
    MANY,
    OUTPUT,
    Backend,
    BatchOption,
    ConfiguredIntensity,
    Demo,
    Flip,
    Force,
    MaxPixels,
    OptionalRun,
    Others,
    Precision,
    ReducedSize,
    Scales,
    ShardOption,
    Stride,
    Window,
    backend_for,
    open_predictor,
    parse_intensity,
    parse_pixels,
    run_or_demo,
)
from segattn_cli.commands.shared.output_paths import require_empty
from segattn_cli.commands.shared.ranks import Ranks, on_ranks
from segattn_cli.commands.shared.terminal import remark
from segattn_cli.errors import OutputError, UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from backends.contract import Ops
    from segattn_cli.data.submissions import Submission
    from segattn_cli.prediction.annotate import FrameDone
    from segattn_cli.prediction.input_files import InputFiles
    from segattn_cli.prediction.jobs import Job, Plan
    from segattn_cli.prediction.output_files import Output
    from segattn_cli.prediction.segment import ImageDone, InputFailed, InputSkipped
    from segattn_cli.ranks.communicator import Communicator
    from segattn_cli.runs import Model

    Segmented = ImageDone | InputSkipped | InputFailed
VIDEO = "Videos and watched folders"


def infer(
    run: OptionalRun = None,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", show_default=False,
            help="Images, videos, folders, patterns in quotes, or - for an image on standard input.",
        ),
    ] = None,
    *,
    demo: Demo = False,
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="FILE", show_default=False, rich_help_panel=MANY,
            help="Also segment the files that FILE names, one a line or separated by NUL; - is standard input. "
            "Can be repeated.",
        ),
    ] = None,
    shard: ShardOption = None,
    others: Others = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=OUTPUT, show_default=False,
            help="Folder for the results. The default is the folder predictions in that of the run.",
        ),
    ] = None,
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay", rich_help_panel=OUTPUT, help="Draw the classes over each image, with a legend."
        ),
    ] = False,
    opacity: Annotated[
        float,
        typer.Option(
            metavar="X", min=0, max=1, rich_help_panel=OUTPUT, help="Opacity of the classes in overlays and videos."
        ),
    ] = 0.5,
    scores: Annotated[
        bool,
        typer.Option(
            "--scores", rich_help_panel=OUTPUT, help="Write the scores of all classes: float32 (H, W, K), .npy."
        ),
    ] = False,
    probabilities: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", rich_help_panel=OUTPUT,
            help="Write the probabilities of all classes: png for a 16-bit PNG of each class in a folder, npy for "
            "float16 (H, W, K).",
        ),
    ] = None,
    confidence: Annotated[
        bool,
        typer.Option(
            "--confidence", rich_help_panel=OUTPUT, help="Write the largest class probability as a 16-bit PNG."
        ),
    ] = False,
    entropy: Annotated[
        bool,
        typer.Option(
            "--entropy", rich_help_panel=OUTPUT,
            help="Write the entropy of the class probabilities, scaled to 0–1, as a 16-bit PNG.",
        ),
    ] = False,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention", rich_help_panel=OUTPUT, help="Write the attention maps, in a folder for each image."
        ),
    ] = False,
    polygons: Annotated[
        Literal["coco", "labelme"] | None,
        typer.Option(
            metavar="FORMAT", rich_help_panel=OUTPUT,
            help="Write polygons for an annotation tool: coco for one COCO JSON of all images, labelme for a "
            "LabelMe JSON of each image.",
        ),
    ] = None,
    polygons_tolerance: Annotated[
        float,
        typer.Option(
            min=0, metavar="PIXELS", rich_help_panel=OUTPUT,
            help="Simplify the polygons: largest distance from the edges of the pixels. 0 keeps every label.",
        ),
    ] = 0.0,
    submission: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=OUTPUT,
            help="Write label maps with the class ids and file names of a benchmark: cityscapes, ade20k or voc.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", rich_help_panel=OUTPUT, help="Skip the inputs whose results exist."),
    ] = False,
    force: Force = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", rich_help_panel=OUTPUT, help="Print one JSON object for each input, and one for all."
        ),
    ] = False,
    video: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=VIDEO,
            help="Make one annotated video of the images, with this file name (.mp4).",
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="N", rich_help_panel=VIDEO, help="Frames per second of --video. The default is 25."
        ),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", show_default=False, rich_help_panel=VIDEO,
            help="Segment images as they arrive in DIR, until Ctrl-C.",
        ),
    ] = None,
    scales: Scales = None,
    flip: Flip = None,
    window: Window = None,
    stride: Stride = None,
    size: ReducedSize = None,
    intensity: ConfiguredIntensity = None,
    max_pixels: MaxPixels = None,
    backend: Backend = "auto",
    precision: Precision = "float32",
    batch: BatchOption = 1,
    ranks: Ranks = None,
) -> None:
    """Segment images and videos.

    Each image becomes a label map of the same size, as a palette PNG:
    street.jpg becomes street.png, and with --overlay also street.overlay.png.
    If two results would have the same name, parts of their paths are added:
    a/street.png and b/street.png. A video becomes an annotated video, such as
    clip.mp4. Images are predicted as in the validation of the run, unless
    options change that. An image that cannot be read is reported, and the exit
    code is then 8.

    \b
    Examples:
      segattn infer runs/first street.jpg --out out --overlay
      segattn infer --demo street.jpg --out out --overlay
      segattn infer runs/first photos 'more/**/*.png' --out out --resume
      segattn infer runs/first shots --out out --confidence --probabilities png
      segattn infer runs/city leftImg8bit/test --out out --submission cityscapes
      segattn infer runs/first drive.mov --out out
      segattn infer runs/first frames --out out --video drive.mp4 --fps 30
      segattn infer runs/first map.tif --out out --window 512,512 --max-pixels 4e8
      segattn infer runs/first --watch inbox --out out --overlay --json
      segattn infer runs/first photos --out out --polygons labelme
      segattn infer runs/seed-0 photos --with runs/seed-1 --out out
      cat street.jpg | segattn infer best.safetensors - --out out --scores
      find photos -print0 | segattn infer runs/first --from - --out out
      segattn infer runs/first photos --out out --shard 3/8 --resume --json
      segattn infer runs/first photos --out out --batch 8 --backend cupy
    """
    from segattn_cli.commands.shared.progress import follow
    from segattn_cli.commands.shared.signals import asked_to_stop, interrupted_by_sigterm
    from segattn_cli.prediction.annotate import annotate_clips, is_video, plan_clip_of, plan_clips
    from segattn_cli.prediction.input_files import find_inputs
    from segattn_cli.prediction.jobs import plan_outputs
    from segattn_cli.prediction.segment import InputFailed, segment
    from segattn_cli.prediction.shards import WHOLE, Shard
    from segattn_cli.prediction.watch import require_watchable, watched_jobs
    from segattn_cli.ranks.communicator import from_first, require_one_backend, together

    if polygons:
        from segattn_cli.prediction import polygon_files

    run, inputs = run_or_demo(demo, run, inputs or ())
    more = {
        "overlay": overlay, "scores": scores, "probabilities": probabilities, "confidence": confidence,
        "entropy": entropy, "attention": attention, "polygons": polygons,
    }
    asked = [kind for kind, wanted in more.items() if wanted]
    for mistake, sentence in (
        (resume and force, "--resume skips results that exist and --force replaces them: give only one of them."),
        (probabilities not in (None, "png", "npy"), f"--probabilities must be png or npy, got {probabilities!r}."),
        (others and attention, "--attention shows one network: leave out --with."),
        (polygons_tolerance and not polygons, "--polygons-tolerance is for --polygons: give both."),
        (submission and asked, f"--submission writes label maps only: leave out --{', --'.join(asked)}."),
        (watch is not None and (inputs or lists or video or submission),
         "--watch segments the images in its folder: leave out other inputs, --video and --submission."),
        (fps is not None and video is None, "--fps is for a --video of images: other videos keep their own rate."),
        (watch is None and not inputs and not lists,
         "Missing argument 'INPUT': name images, videos or folders, or give --from FILE or --watch DIR."),
        (shard is not None and watch is not None, "--shard divides inputs that are there: leave out --watch."),
        (batch > 1 and watch is not None, "--watch segments each image as it comes: leave out --batch."),
    ):  # fmt: skip
        if mistake:
            raise UsageError(sentence)
    benchmark = _submission(submission)
    rate = _rate("25" if fps is None else fps)
    if out is None:
        out = (Path() if demo else run if run.is_dir() else run.parent) / "predictions"
        remark(f"The results go into {out}.")
    with on_ranks(ranks) as comm:
        with together(comm):
            files, left_out = find_inputs(inputs, out, sys.stdin.buffer, lists or [])
            if shard is not None:
                part = Shard.of_text(shard)
            else:  # one input is the task's own; and nobody knows yet what will be watched
                part = Shard.of_task(os.environ) if len(files) > 1 else WHOLE
            for option, given in (("--video", video), ("--polygons coco", polygons == "coco")):
                if given and part != WHOLE:
                    raise UsageError(f"{option} makes one file of all images: leave it out, or give --shard 1/1.")
            videos = files.where(is_video)
            images = files.where(lambda each: not is_video(each)) if videos else files
            if part != WHOLE:
                count = part.size(len(images)) + part.size(len(videos))
                remark(f"Shard {part.number} of {part.count}: {count:,} of {counted(len(files), 'input')}.")
            if comm.size > 1 and (videos or video or watch or "-" in (*inputs, *(lists or ()))):
                raise UsageError("Several ranks take images in files: use one for videos, --watch and an input -.")
            if videos or video:
                _require_video(video, images, videos, [*asked, *(["submission"] if submission else [])])
            model, predictor = open_predictor(
                run, backend=backend_for(demo, backend), precision=precision, scales=scales, flip=flip,
                window=window, stride=stride, size=size, others=others, batch=batch, keeps_weights=attention,
            )
            if benchmark is not None:
                benchmark.require_classes(model.classes)
            outputs = _outputs(more, opacity, benchmark, model, predictor.ops)
            if polygons == "labelme":
                outputs["polygons"] = polygon_files.labelme(out, polygons_tolerance)
            coco = out / polygon_files.COCO_FILE if polygons == "coco" else None
            if coco is not None and coco.exists() and not (force or resume):
                raise OutputError(f"{coco} exists already: replace it with --force, or choose another --out.")
        require_one_backend(comm, predictor.ops)
        segment_jobs = partial(
            segment, predictor, outputs=outputs, model=model, confidence=as_json,
            max_pixels=parse_pixels(max_pixels),
            intensity=model.config.data.intensity if intensity is None else parse_intensity(intensity),
        )
        namings = {kind: output.naming for kind, output in outputs.items()}
        tally = Tally(as_json)
        tally.leave_out(left_out)
        label_maps: list[tuple[str, Path]] = []

        def show(event: ImageDone | InputSkipped | InputFailed) -> None:
            tally.show(event)
            if coco is not None and not isinstance(event, InputFailed):
                label_maps.append((event.input, event.outputs["label"]))

        how = {"resume": resume, "force": force}
        if watch is not None:
            require_watchable(watch, out)
            require_empty(out, force=force, resume=resume)
            remark(f"Watching {watch}; Ctrl-C ends it.")
            with asked_to_stop("image") as should_stop:
                coming = watched_jobs(
                    watch, out, namings, should_stop, resume=resume, leave_out=lambda each: tally.leave_out([each])
                )
                for event in segment_jobs(coming, in_advance=False):
                    show(event)
        else:
            with together(comm):  # before one of them writes
                jobs = None if video else plan_outputs(images, out, namings, shard=part, **how)
            if video:
                clips = [plan_clip_of(images, out / video, rate, **how)]
            else:
                clips = plan_clips(videos, out, shard=part, **how)
            with interrupted_by_sigterm():
                if jobs:
                    events = segment_jobs(jobs) if comm.size == 1 else _in_turns(comm, jobs, segment_jobs, batch)
                    follow(events, "images", _file_name, show=show, each=True, total=len(jobs))
                if clips:
                    annotating = annotate_clips(predictor, clips, model, opacity=opacity)
                    follow(annotating, "frames", _speed, show=tally.show)
        if coco is not None and label_maps:
            write = partial(polygon_files.write_coco, coco, label_maps, model.classes, polygons_tolerance)
            from_first(comm, write, "the end of its polygons")
            remark(f"{coco} has the polygons of {counted(len(label_maps), 'image')}.")
        tally.finish(model.path, predictor.ops.name, others or (), str(part))


def _in_turns(
    comm: Communicator, jobs: Plan, segment_jobs: Callable[[Iterable[Job]], Iterator[Segmented]], batch: int
) -> Iterator[Segmented]:
    """The events of all ``jobs``, in their order, on all ranks, each of which does a part of them."""
    from segattn_cli.prediction.shards import Shard
    from segattn_cli.ranks.communicator import in_turns

    own = segment_jobs(Shard(comm.rank + 1, comm.size).of(jobs))
    yield from in_turns(comm, len(jobs), lambda numbers: list(islice(own, len(numbers))), each=batch)


def _file_name(event: ImageDone | InputSkipped | InputFailed) -> str:
    return Path(event.input).name


def _speed(event: FrameDone) -> str:
    return f"{Path(event.input).name}  {event.frames_per_second:.1f} frames/s"


def _require_video(
    name: str | None, images: InputFiles, videos: InputFiles, asked: Sequence[str]
) -> None:
    """Raise :class:`UsageError` where the inputs and the outputs ``asked`` for do not allow a video."""
    from segattn_cli.prediction.video import require_pyav

    other = [kind for kind in asked if kind != "overlay"]
    if other:
        raise UsageError(f"A video becomes one annotated video: --{other[0]} is for images.")
    if name is not None:
        if not name.lower().endswith(".mp4") or os.path.basename(name) != name:
            raise UsageError(f"--video must be the name of a file in --out, such as drive.mp4, got {name!r}.")
        if videos:
            raise UsageError(f"--video is for images, and {next(iter(videos)).name} is a video: leave out --video.")
        if any(isinstance(each.source, bytes) for each in images):
            raise UsageError("--video needs files, not an image on standard input.")
    require_pyav()


def _rate(text: str) -> Fraction:
    """
    >>> _rate("25"), _rate("30000/1001")
    (Fraction(25, 1), Fraction(30000, 1001))
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 1000) <= rate <= 1000:
        raise UsageError(f"--fps must be 0.001 to 1000 frames per second, such as 25 or 30000/1001, got {text!r}.")
    return rate


def _outputs(
    more: dict[str, Any], opacity: float, benchmark: Submission | None, model: Model, ops: Ops
) -> dict[str, Output]:
    """The outputs that the options ask for, in the order in which they are written."""
    from segattn_cli.prediction import output_files

    def write_attention(folder: Path, image: np.ndarray, name: str) -> None:
        from segattn_cli.explaining import explain
        from segattn_cli.explaining.save import write_overview

        write_overview(explain(model, ops, image, name, experiments=False), folder)

    makers = {
        "overlay": lambda: output_files.overlay(opacity),
        "scores": output_files.scores,
        "probabilities": lambda: output_files.probabilities(more["probabilities"]),
        "confidence": output_files.confidence,
        "entropy": output_files.entropy,
        "attention": lambda: output_files.attention(write_attention),
    }
    wanted = {kind: make() for kind, make in makers.items() if more[kind]}
    return {**wanted, "label": output_files.label_map(benchmark)}


def _submission(name: str | None) -> Submission | None:
    from segattn_cli.data.submissions import SUBMISSIONS

    if name is not None and name not in SUBMISSIONS:
        raise UsageError(f"--submission must be {', '.join(SUBMISSIONS)}, got {name!r}.")
    return None if name is None else SUBMISSIONS[name]
