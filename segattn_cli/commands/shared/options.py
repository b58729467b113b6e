"""The options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.shared import completion
from segattn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segattn_cli.data.images import Intensity
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.runs import Model

#: Titles of the panels in a command's help.
CONFIGURATION, DATA, PREDICTION, COMPUTATION, MANY, OUTPUT = (
    "Configuration", "Data set", "Prediction", "Computation", "Many inputs", "Output",
)  # fmt: skip

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of a run, or a checkpoint file (.safetensors).", show_default=False
    ),
]
OptionalRun = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN", show_default=False,
        help="Folder of a run, or a checkpoint file (.safetensors). Leave it out with --demo.",
    ),
]
Demo = Annotated[
    bool,
    typer.Option(
        "--demo", help="Use the network that comes with segattn, trained on drawn scenes, in place of RUN."
    ),
]
Others = Annotated[
    list[Path] | None,
    typer.Option(
        "--with", metavar="RUN", rich_help_panel=PREDICTION, show_default=False,
        help="Average the class probabilities with those of this run. Can be repeated.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", rich_help_panel=CONFIGURATION, autocompletion=completion.settings,
        help="Set a key of the configuration, such as network.head=fcn. Can be repeated. The command segattn "
        "config lists all keys.",
    ),
]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", rich_help_panel=DATA,
        help="Folder of the data set, or the word scenes for the built-in images. The default is the data set of "
        "the configuration.",
    ),
]
_FORMAT = typer.Option(
    metavar="NAME", rich_help_panel=DATA, autocompletion=completion.formats,
    help="Layout of the data set: auto, camvid, cityscapes, voc, ade20k, coco-stuff, person-part or folder.",
)
Format = Annotated[str, _FORMAT]
ConfiguredFormat = Annotated[str | None, _FORMAT]


def _fraction(value: float | None) -> float | None:
    """``value``, which Typer would let be 0 or 1."""
    if value is not None and not 0 < value < 1:
        raise UsageError(f"--val must be more than 0 and less than 1, got {value:g}.")
    return value


ValFraction = Annotated[
    float | None,
    typer.Option(
        "--val", metavar="FRACTION", callback=_fraction, rich_help_panel=DATA, show_default=False,
        help="Where the data set has a split train and no val, hold out this fraction of train as val: more than 0 "
        "and less than 1.",
    ),
]
_INTENSITY = typer.Option(
    "--intensity", metavar="NAME", rich_help_panel=DATA,
    help="How grey of more than 8 bits is read: depth, by the depth of the file, or range, by the smallest and the "
    "largest value of each file.",
)
IntensityOption = Annotated[str, _INTENSITY]
ConfiguredIntensity = Annotated[str | None, _INTENSITY]
MaxPixels = Annotated[
    str | None,
    typer.Option(
        "--max-pixels", metavar="N", rich_help_panel=DATA, show_default=False,
        help="Read images of up to N pixels, such as 400e6. The default is 89 million, because larger files may be "
        "decompression bombs. Use it with --window.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, rich_help_panel=DATA, help="Use only the first N images."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="K/N", rich_help_panel=MANY, show_default=False,
        help="Take the K-th of every N only, so that N processes share the work. In a Slurm job array, "
        "the default is that of the task; 1/1 takes everything.",
    ),
]

Scales = Annotated[
    str | None,
    typer.Option(
        metavar="S,S,…", rich_help_panel=PREDICTION,
        help="Average the predictions at these factors of the image size, such as 0.75,1,1.25.",
    ),
]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip", rich_help_panel=PREDICTION,
        help="Average the predictions with those of the mirrored image.",
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="H,W", rich_help_panel=PREDICTION,
        help="Predict in sliding windows of this height and width, which limits the memory. The word none turns "
        "windows off.",
    ),
]
Stride = Annotated[
    str | None,
    typer.Option(
        metavar="H,W", rich_help_panel=PREDICTION,
        help="Distance between windows. The default is two thirds of the window.",
    ),
]
ReducedSize = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="H,W", rich_help_panel=PREDICTION,
        help="Resize each image to this height and width before the network. Predictions get the size of the "
        "original image. The word none turns resizing off.",
    ),
]
BatchOption = Annotated[
    int,
    typer.Option(
        "--batch", metavar="B", min=1, max=65_536, rich_help_panel=COMPUTATION,
        help="Number of images of one size, or windows of an image, that the network predicts at once.",
    ),
]
_IMAGE_SIZE = typer.Option("--size", metavar="H,W", help="Height and width of an image, such as 360,480.")
ImageSize = Annotated[str, _IMAGE_SIZE]
ConfiguredImageSize = Annotated[str | None, _IMAGE_SIZE]
ListChoices = Annotated[bool, typer.Option("--list", help="List what can be selected, and exit.")]

_BACKEND = typer.Option(
    metavar="NAME", rich_help_panel=COMPUTATION, autocompletion=completion.backends,
    help="Backend to compute with: auto, numpy, numba, cupy or reference.",
)
Backend = Annotated[str, _BACKEND]
ConfiguredBackend = Annotated[str | None, _BACKEND]

_PRECISION = typer.Option(
    metavar="NAME", rich_help_panel=COMPUTATION, autocompletion=completion.precisions,
    help="Precision to compute in: float32, or on a GPU also tf32, float16 or bfloat16.",
)
Precision = Annotated[str, _PRECISION]
ConfiguredPrecision = Annotated[str | None, _PRECISION]

Force = Annotated[
    bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace output files that exist.")
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", rich_help_panel=OUTPUT,
        help="Write all results to FILE as JSON. With -, print the JSON instead of the tables.",
    ),
]
PrintJson = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON instead of text.")]


def run_or_demo(demo: bool, run: Path | None, others: Sequence[str] = ()) -> tuple[Path, list[str]]:
    """The network that a command is to use, and its other arguments.

    With ``demo``, no run is named, so what stands first is one of the others. Raises :class:`UsageError` if there
    is neither, or both.

    >>> run, others = run_or_demo(False, Path("runs/first"), ["a.png"])
    >>> run.name, others
    ('first', ['a.png'])
    >>> run, others = run_or_demo(True, Path("a.png"), ["b.png"])
    >>> run.name, others
    ('demo.safetensors', ['a.png', 'b.png'])
    """
    from segattn_cli.runs import is_run
    from segattn_cli.runs.demo import DEMO

    if demo:
        if run is not None and is_run(run):
            raise UsageError(f"--demo is the network: leave out {run}, or --demo.")
        return DEMO, [*([] if run is None else [str(run)]), *others]
    if run is None:
        raise UsageError("Missing argument 'RUN': name the folder of a run or a checkpoint, or give --demo.")
    return run, list(others)


def backend_for(demo: bool, backend: str) -> str:
    """``backend``, but that the small network of ``demo`` does not wait for Numba to compile its loops.

    >>> backend_for(True, "auto"), backend_for(False, "auto"), backend_for(True, "reference")
    ('numpy', 'auto', 'reference')
    """
    return "numpy" if demo and backend == "auto" else backend


def open_predictor(
    run: Path,
    *,
    backend: str,
    precision: str,
    scales: str | None,
    flip: bool | None,
    window: str | None,
    stride: str | None,
    size: str | None,
    others: Sequence[Path] | None = None,
    batch: int = 1,
    keeps_weights: bool = False,
) -> tuple[Model, Predictor]:
    """The model of ``run``, and its predictor: that of its own validation, except for the options given.

    With ``others``, the predictor averages the probabilities of all these runs. Without ``keeps_weights``, the
    model has none: their memory is free, since the predictor has its own.
    """
    from backends import get_backend
    from backends.numpy.heap import return_freed_memory
    from segattn_cli.prediction.averaged_predictor import AveragedPredictor
    from segattn_cli.prediction.predictor import Predictor
    from segattn_cli.runs import open_model

    ops = get_backend(backend, precision)
    models = [open_model(each) for each in (run, *(others or ()))]
    changes: dict[str, Any] = {"precision": precision, "batch": batch}
    if scales is not None:
        changes["scales"] = parse_scales(scales)
    if flip is not None:
        changes["flip"] = flip
    for setting, text in (("size", size), ("window", window), ("stride", stride)):
        if text is not None:
            changes[setting] = parse_size(f"--{setting}", text)
    predictors = [Predictor.of(model, ops, **changes) for model in models]
    predictor = predictors[0] if len(models) == 1 else AveragedPredictor(models, predictors)
    model = models[0] if keeps_weights else models[0].without_weights()
    del models
    return_freed_memory()
    return model, predictor


def parse_size(option: str, text: str) -> tuple[int, int] | None:
    """``"512,1024"`` as height and width, ``"none"`` as None.

    >>> parse_size("--window", "512,1024"), parse_size("--window", "none")
    ((512, 1024), None)
    """
    from segattn_cli.data.augment import LARGEST_SIDE

    if text == "none":
        return None
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} must be height and width, such as 512,1024, got {text!r}.") from None
    if min(height, width) < 1:
        raise UsageError(f"{option} must be at least one pixel in each direction, got {text!r}.")
    if max(height, width) > LARGEST_SIDE:
        raise UsageError(f"{option} must be at most {LARGEST_SIDE:,} pixels in each direction, got {text!r}.")
    return height, width


def parse_scales(text: str) -> tuple[float, ...]:
    """``"0.75,1,1.25"`` as numbers.

    >>> parse_scales("0.75,1,1.25")
    (0.75, 1.0, 1.25)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--scales must be factors, such as 0.75,1,1.25, got {text!r}.") from None


def parse_pixels(text: str | None) -> int | None:
    """``--max-pixels``.

    >>> parse_pixels("400e6"), parse_pixels(None)
    (400000000, None)
    """
    if text is None:
        return None
    try:
        pixels = int(float(text))
    except (ValueError, OverflowError):
        pixels = 0
    if pixels < 1:
        raise UsageError(f"--max-pixels must be a number of pixels, such as 400e6, got {text!r}.")
    return pixels


def parse_intensity(text: str) -> Intensity:
    """``--intensity``: how grey of more than 8 bits is read."""
    if text == "depth":
        return "depth"
    if text == "range":
        return "range"
    raise UsageError(f"--intensity must be depth or range, got {text!r}.")
