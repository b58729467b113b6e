"""``segattn infer``: segment pictures and videos with a trained network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.infer_display import Tally
from segattn_cli.commands.shared.options import (
    Backend,
    Flip,
    Precision,
    ReducedSize,
    Run,
    Scales,
    Stride,
    Window,
    open_predictor,
)
from segattn_cli.errors import DataError, OutputError, UsageError, printable

if TYPE_CHECKING:
    from backends.contract import Ops
    from segattn_cli.data.submissions import Submission
    from segattn_cli.prediction.input_files import InputFile
    from segattn_cli.prediction.jobs import Job
    from segattn_cli.prediction.output_files import Output
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.prediction.video import Frames
    from segattn_cli.runs import Model

WHAT, OUTPUT = "Videos, and pictures as they come", "What is written, and where"


def infer(
    run: Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Pictures, videos, folders, patterns in quotes, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    *,
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
    video: Annotated[
        str | None,
        typer.Option(
            metavar="NAME.mp4", help="Make the pictures the frames of one annotated video.", rich_help_panel=WHAT
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(metavar="N", help="Frames a second of --video; 25 if not given.", rich_help_panel=WHAT),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Segment pictures as they come into DIR, until Ctrl-C.", show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    scales: Scales = None,
    flip: Flip = None,
    window: Window = None,
    stride: Stride = None,
    size: ReducedSize = None,
    backend: Backend = "auto",
    precision: Precision = "float32",
) -> None:
    """Segment pictures: a label map for each, of its own size, as a palette PNG.

    street.jpg becomes street.png, street.overlay.png and so on. Pictures whose
    names clash keep more of their path: a/street.png, b/street.png. One that
    cannot be read is reported and the rest goes on; the exit code is then 8.
    A video becomes an annotated video, clip.mp4.

    \b
    Examples:
      segattn infer runs/first street.jpg --out out --overlay
      segattn infer runs/first photos 'more/**/*.png' --out out --resume
      segattn infer runs/first shots --out out --confidence --probabilities png
      segattn infer runs/city leftImg8bit/test --out out --submission cityscapes
      segattn infer runs/first drive.mov --out out
      segattn infer runs/first frames --out out --video drive.mp4 --fps 30
      segattn infer runs/first --watch inbox --out out --overlay --json
      cat street.jpg | segattn infer best.safetensors - --out out --scores
    """
    from segattn_cli.commands.shared.signals import interrupted_by_sigterm
    from segattn_cli.prediction.input_files import find_inputs
    from segattn_cli.prediction.video import require_pyav

    if resume and force:
        raise UsageError("--resume keeps what is there and --force replaces it: give one of them.")
    more = {
        "overlay": overlay, "scores": scores, "probabilities": probabilities, "confidence": confidence,
        "entropy": entropy, "attention": attention,
    }
    asked = [kind for kind, wanted in more.items() if wanted]
    benchmark = _submission(submission, asked)
    if probabilities not in (None, "png", "npy"):
        raise UsageError(f"--probabilities wants png or npy, got {probabilities!r}.")
    if watch is not None and (inputs or video or submission):
        raise UsageError("--watch takes pictures as they come: leave other inputs, --video and --submission away.")
    if fps is not None and video is None:
        raise UsageError("--fps is for the --video that is made of pictures: a video keeps its own.")
    if watch is None and not inputs:
        raise UsageError("Missing argument 'INPUT': name pictures, videos or folders, or give --watch DIR.")
    found = find_inputs(inputs or [], out, sys.stdin.buffer)
    pictures, videos = _sorted_out(found)
    if (videos or video) and (submission or set(asked) - {"overlay"}):
        extra = next((kind for kind in asked if kind != "overlay"), "submission")
        raise UsageError(f"A video becomes one annotated video: --{extra} is for pictures.")
    if video is not None:
        _require_pictures(pictures, videos, video)
    if videos or video:
        require_pyav()
    rate = _rate("25" if fps is None else fps)
    model, predictor = open_predictor(
        run, backend=backend, precision=precision, scales=scales, flip=flip, window=window, stride=stride,
        size=size,
    )
    if benchmark is not None:
        benchmark.require_classes(model.classes)
    session = _Session(model, predictor, out, Tally(as_json), opacity, resume=resume, force=force)
    outputs = _outputs(more, opacity, benchmark, model, predictor.ops)
    if watch is not None:
        session.watch(watch, outputs)
    elif video is not None:
        with interrupted_by_sigterm():
            session.video_of(pictures, video, rate)
    else:
        with interrupted_by_sigterm():
            session.run(pictures, outputs, videos)
    session.tally.finish(model.path, predictor.ops.name)


class _Session:
    """One call of the command: a network, and where its results go."""

    def __init__(
        self, model: Model, predictor: Predictor, out: Path, tally: Tally, opacity: float, *, resume: bool,
        force: bool,
    ) -> None:
        self.model = model
        self.predictor = predictor
        self.out = out
        self.tally = tally
        self.opacity = opacity
        self.resume = resume
        self.force = force

    def run(self, pictures: list[InputFile], outputs: dict[str, Output], videos: list[InputFile]) -> None:
        """Pictures first, then videos, each with a bar of its own."""
        from segattn_cli.commands.shared.progress import progress
        from segattn_cli.prediction.jobs import plan_outputs
        from segattn_cli.prediction.output_files import FileNaming
        from segattn_cli.prediction.segment import segment

        how = {"resume": self.resume, "force": self.force}
        jobs = plan_outputs(pictures, self.out, {kind: each.naming for kind, each in outputs.items()}, **how)
        clips = plan_outputs(videos, self.out, {"video": FileNaming(".mp4")}, **how)
        if jobs:
            with progress("pictures") as advance:
                for event in segment(
                    self.predictor, jobs, outputs, self.model, confidence=self.tally.as_json
                ):
                    self.tally.picture(event)
                    advance(self.tally.done, len(jobs), printable(Path(event.job.input.name).name))
        for job in clips:
            self._clip(job)

    def video_of(self, pictures: list[InputFile], name: str, rate: Fraction) -> None:
        """The pictures as the frames of one video."""
        from segattn_cli.prediction.video import frames_of

        path = self.out / name
        if path.exists() and not (self.resume or self.force):
            raise OutputError(f"{path} exists already: replace it with --force, or choose another --video.")
        if path.exists() and self.resume:
            self.tally.skipped_video(name, path)
            return
        files = [each.source for each in pictures if isinstance(each.source, Path)]
        self._annotate(name, nullcontext(frames_of(files, rate)), path)

    def watch(self, folder: Path, outputs: dict[str, Output]) -> None:
        """Pictures as they come, until somebody asks to stop."""
        from segattn_cli.commands.shared.signals import asked_to_stop
        from segattn_cli.prediction.segment import segment

        if not folder.is_dir():
            raise DataError(f"There is no folder {folder} to watch.")
        if folder.resolve().is_relative_to(self.out.resolve()):
            raise UsageError(
                f"{folder} is watched and lies in {self.out}: pictures might be replaced; choose another --out."
            )
        try:
            occupied = self.out.exists() and any(self.out.iterdir())
        except OSError as error:
            raise OutputError(f"--out {self.out} cannot be used: {error.strerror}.") from None
        if occupied and not (self.resume or self.force):
            raise OutputError(
                f"{self.out} is not empty: give --resume to keep what is done, --force to replace it, or another "
                "--out."
            )
        print(printable(f"Watching {folder}; Ctrl-C ends it."), file=sys.stderr, flush=True)
        with asked_to_stop("picture") as should_stop:
            jobs = self._coming(folder, outputs, should_stop)
            for event in segment(self.predictor, jobs, outputs, self.model, confidence=self.tally.as_json):
                self.tally.picture(event)

    def _coming(self, folder: Path, outputs: dict[str, Output], should_stop: Any) -> Iterator[Job]:
        """A job for every picture that comes; what was there before is done already with --resume."""
        from segattn_cli.prediction.input_files import InputFile
        from segattn_cli.prediction.jobs import Job
        from segattn_cli.prediction.watch import has_twin, watch

        owners: dict[Path, Path] = {}  # the picture of each output
        seen: set[Path] = set()
        for path in watch(folder, self.out, should_stop):
            inside = path.relative_to(folder)
            for short in (False,) if has_twin(path) else (True, False):
                name = (inside.with_suffix("") if short else inside).as_posix()
                paths = {kind: self.out / each.naming.file_name(name, str(path)) for kind, each in outputs.items()}
                if all(owners.get(each, path) == path for each in paths.values()):
                    break
            owners.update(dict.fromkeys(paths.values(), path))
            done = self.resume and path not in seen and all(each.exists() for each in paths.values())
            seen.add(path)
            yield Job(InputFile(str(path), path), name, paths, done)

    def _clip(self, job: Job) -> None:
        """One video file."""
        from segattn_cli.prediction.video import open_video

        path = job.outputs["video"]
        if job.done:
            self.tally.skipped_video(job.input.name, path)
            return
        assert isinstance(job.input.source, Path)
        self._annotate(job.input.name, open_video(job.input.source), path)

    def _annotate(self, name: str, opened: AbstractContextManager[Frames], path: Path) -> None:
        from segattn_cli.commands.shared.progress import progress
        from segattn_cli.prediction.video import FrameDone, annotate

        try:
            with opened as frames, progress("frames") as advance:
                for event in annotate(self.predictor, frames, path, self.model, opacity=self.opacity):
                    if isinstance(event, FrameDone):
                        note = f"{printable(Path(name).name)}  {event.frames_per_second:.1f} frames/s"
                        advance(event.done, event.total, note)
                    else:
                        done = event
        except DataError as error:
            self.tally.failed(name, str(error))
        except MemoryError:
            self.tally.failed(name, f"{name} needs more memory than there is: try a --window.")
        else:
            self.tally.video(name, done)


def _sorted_out(found: Sequence[InputFile]) -> tuple[list[InputFile], list[InputFile]]:
    """Pictures and videos, told apart by their endings."""
    from segattn_cli.prediction.video import SUFFIXES

    def is_video(each: InputFile) -> bool:
        return isinstance(each.source, Path) and each.source.suffix.lower() in SUFFIXES

    return [each for each in found if not is_video(each)], [each for each in found if is_video(each)]


def _require_pictures(pictures: Sequence[InputFile], videos: Sequence[InputFile], name: str) -> None:
    """What --video can be made of, and a name that it can have."""
    if not name.lower().endswith(".mp4") or os.path.basename(name) != name:
        raise UsageError(f"--video names a file in --out, such as drive.mp4; got {name!r}.")
    if videos:
        raise UsageError(f"--video makes a video of pictures, and {videos[0].name} is one already: leave it away.")
    if any(isinstance(each.source, bytes) for each in pictures):
        raise UsageError("--video wants files, not a picture on standard input.")


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
        raise UsageError(f"--fps wants 0.001 to 1000 frames a second, such as 25 or 30000/1001; got {text!r}.")
    return rate


def _outputs(
    more: dict[str, Any], opacity: float, benchmark: Submission | None, model: Model, ops: Ops
) -> dict[str, Output]:
    """The kinds of output that were asked for, in the order in which they are written."""
    from segattn_cli.prediction import output_files

    makers = {
        "overlay": lambda: output_files.overlay(opacity),
        "scores": output_files.scores,
        "probabilities": lambda: output_files.probabilities(more["probabilities"]),
        "confidence": output_files.confidence,
        "entropy": output_files.entropy,
        "attention": lambda: output_files.attention(model, ops),
    }
    wanted = {kind: make() for kind, make in makers.items() if more[kind]}
    return {**wanted, "label": output_files.label_map(benchmark)}


def _submission(name: str | None, more: list[str]) -> Submission | None:
    from segattn_cli.data.submissions import SUBMISSIONS

    if name is None:
        return None
    if name not in SUBMISSIONS:
        raise UsageError(f"--submission knows {', '.join(SUBMISSIONS)}; got {name!r}.")
    if more:
        raise UsageError(f"A --submission is label maps alone: leave --{more[0]} away.")
    return SUBMISSIONS[name]
