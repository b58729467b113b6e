"""``segattn explain``: show what a network attends to, on one page."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.shared.options import (
    OUTPUT,
    Backend,
    ConfiguredIntensity,
    Demo,
    Force,
    OptionalRun,
    backend_for,
    parse_intensity,
    run_or_demo,
)
from segattn_cli.commands.shared.output_paths import require_empty, require_untouched, require_writable
from segattn_cli.commands.shared.terminal import complain, remark_left_out, say
from segattn_cli.errors import DataError, ExitCode, UsageError, printable

if TYPE_CHECKING:
    from backends.contract import Ops
    from segattn_cli.data.images import Intensity
    from segattn_cli.explaining import Explanation
    from segattn_cli.prediction.input_files import InputFile
    from segattn_cli.runs import Model

#: Bytes per image above which a page is called large.
LARGE = 3_000_000


def explain(
    run: OptionalRun = None,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE", show_default=False,
            help="Images, folders, or patterns in quotes. With --demo, the default is two drawn scenes.",
        ),
    ] = None,
    demo: Demo = False,
    points: Annotated[
        list[str] | None,
        typer.Option(
            "--point", metavar="X,Y", help="Select this pixel when the page opens. Can be repeated."
        ),
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=16, show_default=False,
            help="Shrink images whose longer side has more than N pixels. By default, a page with four images "
            "stays below 12 MB.",
        ),
    ] = None,
    intensity: ConfiguredIntensity = None,
    backend: Backend = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
            help="Write the page to FILE. The default is explain.html, or no page if --png or --npz is given.",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Write the maps to DIR as PNG files."),
    ] = None,
    npz: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Write the arrays to FILE for NumPy (.npz)."),
    ] = None,
    force: Force = False,
) -> None:
    """Show what a network attends to, on one HTML page.

    The page works without a server. Point at a pixel to see which pixels it
    attends to and which pixels attend to it. Select a channel to see which
    classes depend on it. Maps show the weight of each scale at each pixel.
    The page also shows how the prediction changes without each part.

    \b
    Examples:
      segattn explain --demo
      segattn explain runs/first street.jpg
      segattn explain runs/first a.jpg b.jpg --out page.html --point 320,200
      segattn explain best.safetensors 'shots/*.png' --png maps --npz maps.npz
    """
    from backends import get_backend
    from segattn_cli.prediction.input_files import find_inputs
    from segattn_cli.runs import open_model

    run, images = run_or_demo(demo, run, images or ())
    if not images and not demo:
        raise UsageError("Missing argument 'IMAGE': name images, folders or patterns after the network.")
    if out is None and png is None and npz is None:
        out = Path("explain.html")
    for path in (out, npz):
        if path is not None:
            require_writable(path, force=force)
    if png is not None:
        require_empty(png, option="--png", force=force)
    _require_apart({"--out": out, "--png": png, "--npz": npz})
    pinned = [_point(text) for text in points or ()]
    files, left_out = find_inputs(images, png or out or npz or Path(), sys.stdin.buffer)
    inputs = list(files) or _drawn_scenes()
    names = _names_of(inputs) if files else [each.name for each in inputs]
    remark_left_out(left_out)
    read = [run, *(each.source for each in inputs if isinstance(each.source, Path))]
    require_untouched([path for path in (out, npz) if path is not None], read)
    _require_inside(pinned, inputs)
    ops = get_backend(backend_for(demo, backend))
    model = open_model(run)
    grey = model.config.data.intensity if intensity is None else parse_intensity(intensity)
    explanations, failed = _explain(model, ops, inputs, names, max_side, grey)
    for x, y in pinned:
        for each in explanations:
            height, width = each.own_size
            if x >= width or y >= height:
                complain(f"--point {x},{y} is outside of {each.name}, {width}×{height}.")
    if not explanations:
        raise typer.Exit(ExitCode.DATA)
    if out is not None:
        _write_page(out, model, explanations, ops, pinned)
    if png is not None:
        _write_drawings(png, model, explanations, pinned)
    if npz is not None:
        _write_arrays(npz, explanations, pinned)
    if failed:
        raise typer.Exit(ExitCode.PARTIAL)


def _names_of(inputs: list[InputFile]) -> Iterable[str]:
    from segattn_cli.prediction.jobs import OutputNames

    return OutputNames([each.path for each in inputs])


def _drawn_scenes() -> list[InputFile]:
    """Two scenes on which nothing was trained, by day and in the evening."""
    from PIL import Image

    from segattn_cli.data import open_dataset
    from segattn_cli.data.images import image_png
    from segattn_cli.prediction.input_files import InputFile

    scenes, inputs = open_dataset("scenes", split="test"), []
    for number in range(2):
        inputs.append(InputFile(scenes.name_of(number), image_png(Image.fromarray(scenes.load(number).image))))
    return inputs


def _require_inside(points: list[tuple[int, int]], inputs: list[InputFile]) -> None:
    """Raise :class:`UsageError` for a point outside every image. Images that cannot be read are reported later."""
    from segattn_cli.data.images import read_header

    sizes = []
    for each in inputs:
        with suppress(DataError):
            sizes.append(read_header(each.source).size)
    for x, y in points:
        if sizes and not any(x < width and y < height for height, width in sizes):
            listed = ", ".join(f"{width}×{height}" for height, width in dict.fromkeys(sizes))
            raise UsageError(f"--point {x},{y} is outside of every image (width×height: {listed}).")


def _require_apart(paths: Mapping[str, Path | None]) -> None:
    """Raise :class:`UsageError` where two options name the same path."""
    taken: dict[str, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option:
            raise UsageError(f"{other} and {option} are both {path}: give each its own path.")


def _explain(
    model: Model, ops: Ops, inputs: list[InputFile], names: Iterable[str], max_side: int | None,
    intensity: Intensity,
) -> tuple[list[Explanation], int]:
    """The explanations of the images that can be used, and the number of images that cannot."""
    from segattn_cli.commands.shared.progress import progress
    from segattn_cli.data.images import read_image
    from segattn_cli.explaining import explain as explain_image

    explanations: list[Explanation] = []
    failed = 0
    with progress("images") as advance:
        for done, (each, name) in enumerate(zip(inputs, names, strict=True)):

            def report(part: str, done: int = done, name: str = name) -> None:
                advance(done, len(inputs), printable(f"{name}: {part}"))

            try:
                image = read_image(each.source, each.name, intensity=intensity)
                explanations.append(explain_image(model, ops, image, name, max_side=max_side, report=report))
            except DataError as error:
                failed += 1
                complain(str(error))
            except MemoryError:
                failed += 1
                complain(f"{each.name} needs more memory than there is: lower --max-side.")
        advance(len(inputs), len(inputs), "")
    return explanations, failed


def _write_page(
    out: Path, model: Model, explanations: list[Explanation], ops: Ops, points: list[tuple[int, int]]
) -> None:
    from segattn_cli.explaining.explanation_page import explanation_page
    from segattn_cli.files import write_atomically
    from segattn_cli.rendering.style import megabytes

    page = explanation_page(model, explanations, backend=ops.name, points=points).encode()
    write_atomically(out, page)
    count = len(explanations)
    say(f"{out}  {count} image{'s' * (count > 1)}, {megabytes(len(page))}: open it in a browser")
    if len(page) > LARGE * count:
        longest = max(max(each.image.shape) for each in explanations)
        complain(f"A lower --max-side than {longest} makes a smaller page.")


def _write_drawings(
    folder: Path, model: Model, explanations: list[Explanation], points: list[tuple[int, int]]
) -> None:
    from segattn_cli.explaining.save import write_drawings

    for each in explanations:
        written = write_drawings(each, folder / each.name, model.classes, model.palette, points)
        say(f"{folder / each.name}  {len(written)} drawings")


def _write_arrays(path: Path, explanations: list[Explanation], points: list[tuple[int, int]]) -> None:
    from segattn_cli.explaining.save import write_arrays
    from segattn_cli.rendering.style import megabytes

    write_arrays(path, explanations, points)
    say(f"{path}  {megabytes(path.stat().st_size)}")


def _point(text: str) -> tuple[int, int]:
    """
    >>> _point("320,200")
    (320, 200)
    """
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--point must be X,Y in pixels, such as 320,200, got {text!r}.") from None
    if x < 0 or y < 0:
        raise UsageError(f"--point must be a pixel inside the image, got {text!r}.")
    return x, y
