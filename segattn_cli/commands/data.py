"""``segattn data``: create, import, check and download data sets."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segattn_cli.commands.data_download import download
from segattn_cli.commands.data_import import import_annotations
from segattn_cli.commands.data_suggestion import print_suggestion, splits_to_use
from segattn_cli.commands.shared.help import Command, Group
from segattn_cli.commands.shared.json import STDOUT, show_and_write
from segattn_cli.commands.shared.options import (
    DATA,
    OUTPUT,
    Force,
    Format,
    ImageSize,
    IntensityOption,
    JsonFile,
    ValFraction,
)
from segattn_cli.commands.shared.output_paths import require_empty, require_replaceable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import console, plain, say, show_next
from segattn_cli.errors import DataError, ExitCode, UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segattn_cli.data import Dataset
    from segattn_cli.data.inspect import InspectedImage, SplitReport

#: Number of kinds of problems of a split that are printed.
SHOWN_PROBLEMS = 20
#: Number of sizes that a split's row mentions.
SHOWN_SIZES = 3
#: Width of the table of classes with names of eight characters, but for the fractions of each split.
NARROWEST = 40
#: Splits that consist of others: checked only on demand, for their images would be read twice.
UNIONS = ("trainval", "all", "default")

app = typer.Typer(help="Create, import, check and download data sets.", no_args_is_help=True, cls=Group)
app.command(cls=Command)(download)
app.command("import", cls=Command)(import_annotations)


@app.command(cls=Command)
def sample(
    source: Annotated[
        str, typer.Argument(metavar="scenes", help="Kind of images to draw: scenes.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write.", show_default=False)
    ],
    force: Force = False,
    count: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000_000, help="Number of images.")] = 8,
    size: ImageSize = "96,128",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed for the images.")] = 0,
    split: Annotated[
        str,
        typer.Option(metavar="NAME", help="Split of the images: train, val or test. No image is in two splits."),
    ] = "train",
) -> None:
    """Create a data set of drawn street scenes with their masks.

    The folder has images/*.png, masks/*.png (palette PNG files whose values are
    the class indices) and classes.txt. The same seed, split and number always
    give the same image.

    \b
    Examples:
      segattn data sample scenes --count 8 --out samples
      segattn data sample scenes --count 100 --size 192,256 --seed 1 --out streets
      segattn train --data streets --out runs/streets
    """
    from segattn_cli.commands.shared.options import parse_size
    from segattn_cli.data import SceneOptions, open_dataset
    from segattn_cli.data.formats.plain_folder import write_folder

    if source != "scenes":
        raise UsageError(f"Only 'scenes' can be drawn, not {source!r}.")
    if seed >= 2**63:
        raise UsageError(f"--seed must be less than {2**63:,}, got {seed}.")
    wanted = parse_size("--size", size)
    if wanted is None:
        raise UsageError("--size must be height and width, such as 96,128.")
    require_empty(out, force=force)
    dataset = open_dataset("scenes", split=split, scenes=SceneOptions(count, wanted, seed))
    follow(write_folder(dataset, out), "images", str, each=True, total=count)
    say(f"{out}: {counted(count, 'image')}, {len(dataset.classes)} classes")


@app.command(cls=Command)
def check(
    source: Annotated[
        str,
        typer.Argument(metavar="PATH", help="Folder of the data set, or the word scenes.", show_default=False),
    ],
    format: Format = "auto",
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=DATA, help="Check only this split. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    json_file: JsonFile = None,
    val_fraction: ValFraction = None,
    intensity: IntensityOption = "depth",
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Print a configuration to start from, with the reason for each key, in place of the tables.",
        ),
    ] = False,
) -> None:
    """Check a data set before training.

    Every image and mask is read. The output says what the values of the masks
    stand for, and why. The tables show the number and the sizes of the images in
    each split, the frequency of each class, the fraction of ignored pixels, and
    class weights that would balance the classes. Files that are left out are
    counted. Every reason for which training would fail is listed, and the exit
    code is then 4.

    \b
    Examples:
      segattn data check CamVid
      segattn data check VOC2012 --split train --split val --json voc.json
      segattn data check mine --val 0.2
      segattn data check mine --suggest > mine.toml

    \b
    The simplest layout:
      images/train/a.jpg    masks/train/a.png    one class index for each pixel,
      images/val/b.jpg      masks/val/b.png      and 255 for ignored pixels
      classes.txt                                one class name on each line
    """
    from segattn_cli.commands.shared.options import parse_intensity
    from segattn_cli.data.formats.recognition import decision_of, resolve_format, splits_of
    from segattn_cli.data.review import review, warnings_of
    from segattn_cli.training.class_weights import balance

    require_replaceable(json_file)
    if suggest and (split or json_file):
        raise UsageError("--suggest prints a configuration for a whole data set: leave out --split and --json.")
    resolved = resolve_format(source, format)
    available = splits_of(source, format=resolved)
    if suggest:
        splits = splits_to_use(resolved, available)
        reports, dataset = _inspect(source, format, splits, {"intensity": parse_intensity(intensity)})
        print_suggestion(source, resolved, reports, dataset, val_fraction)
        return
    holds_out = val_fraction is not None and "train" in available and "val" not in available
    if holds_out:
        available = (*available, "val")
    splits = split or [each for each in available if each not in UNIONS] or list(available)
    if not splits:
        raise DataError(f"{source} has no split of the format {resolved}: is it in another?")

    how = {"val_fraction": val_fraction, "intensity": parse_intensity(intensity)}
    reports, dataset = _inspect(source, format, splits, how)
    by_split = {report.split: report for report in reports}
    trained = by_split.get("train", reports[0])
    weights = balance(list(trained.pixels)) if len(trained.pixels) else None
    classes = dataset.classes if dataset else ()
    verdict = review(by_split.get("train"), by_split.get("val"), classes)
    refusals = [*verdict.refusals, *_no_validation(source, split, available)]
    failed = bool(refusals) or any(report.problems for report in reports)
    warnings = [*(each for report in reports for each in warnings_of(report)), *verdict.warnings]
    everything = {
        "source": source,
        "format": resolved,
        "passed": not failed,
        "classes": classes,
        "decided": decision_of(dataset) if dataset else None,
        "class_weights": weights and {"split": trained.split, "median-frequency": weights},
        "splits": {report.split: report.as_dict(classes) for report in reports},
        "refusals": refusals,
        "warnings": warnings,
    }
    title = f"{source} ({resolved})"
    show_and_write(
        everything, json_file, lambda: _print(title, reports, dataset, trained, weights, refusals, warnings)
    )
    if failed:
        raise typer.Exit(ExitCode.DATA)
    if resolved != "scenes" and json_file != STDOUT:
        show_next(f"segattn data check {quote(source)} --suggest > my.toml")


def _no_validation(source: str, asked: list[str] | None, available: Sequence[str]) -> list[str]:
    """Why ``train`` would refuse a data set that has nothing to validate on."""
    from segattn_cli.data.splits import require_split

    if asked or "train" not in available:
        return []
    try:
        require_split("val", available, Path(source))
    except DataError as error:
        return [str(error)]
    return []


def _inspect(
    source: str, format: str, splits: Sequence[str], how: dict[str, Any]
) -> tuple[list[SplitReport], Dataset | None]:
    """A report on each split, and a split that could be opened."""
    from segattn_cli.data import open_dataset
    from segattn_cli.data.inspect import inspect, report_unopened, summarise_split

    opened: dict[str, Dataset] = {}
    errors: dict[str, DataError] = {}
    for split in splits:
        try:
            opened[split] = open_dataset(source, format=format, split=split, partial=True, **how)
        except DataError as error:
            errors[split] = error
    dataset = next(iter(opened.values()), None)
    images: dict[str, list[InspectedImage]] = {split: [] for split in opened}
    total = sum(map(len, opened.values()))
    if total:
        follow(
            ((split, image) for split in opened for image in inspect(opened[split])), "images",
            lambda each: f"{each[0]}/{each[1].name}", show=lambda each: images[each[0]].append(each[1]),
            each=True, total=total,
        )  # fmt: skip
    reports = [
        summarise_split(opened[split], images[split])
        if split in opened
        else report_unopened(split, len(dataset.classes) if dataset else 0, errors[split])
        for split in splits
    ]
    return reports, dataset


def _print(
    title: str, reports: Sequence[SplitReport], dataset: Dataset | None, trained: SplitReport,
    weights: Sequence[float] | None, refusals: Sequence[str], warnings: Sequence[str],
) -> None:
    from segattn_cli.data.formats.recognition import decision_of
    from segattn_cli.data.inspect import summarise_problems
    from segattn_cli.data.review import left_out_of

    out = console()
    out.print(f"[bold]{plain(title)}[/]")
    if dataset is not None and decision_of(dataset):
        out.print(plain(decision_of(dataset)))
    _splits(reports)
    if dataset is not None:
        _classes(reports, dataset, trained, weights)
    if weights is not None:
        out.print(
            f"The weights balance the classes of {plain(trained.split)} by median frequency: "
            "train with --set 'loss.class_weights=\"median-frequency\"'.",
        )
    for report in reports:
        sentences = summarise_problems(report.problems)
        for sentence in sentences[:SHOWN_PROBLEMS]:
            out.print(f"[red]✗[/] {plain(report.split)}: {plain(sentence)}")
        if len(sentences) > SHOWN_PROBLEMS:
            more = len(sentences) - SHOWN_PROBLEMS
            out.print(f"  … and {more} more in {plain(report.split)}; --json FILE has all.")
    for sentence in refusals:
        out.print(f"[red]✗[/] {plain(sentence)}")
    for sentence in (*left_out_of(reports), *warnings):
        out.print(f"[yellow]![/] {plain(sentence)}")
    problems = sum(len(report.problems) for report in reports) + len(refusals)
    if problems:
        out.print(f"[red]✗[/] {problems} problem{'s' * (problems > 1)}: training would fail.")
        return
    images = sum(report.images for report in reports)
    # A test split whose truth the benchmark keeps has no labelled pixel, and that is as it should be.
    labelled = [report for report in reports if report.unlabelled_images < report.images]
    if any(report.turned_alone or report.mistakes for report in labelled):
        out.print(f"[yellow]![/] All {images} images and their masks can be read; are they the right ones?")
    else:
        out.print(f"[green]✓[/] All {images} images and their masks can be used.")


def _splits(reports: Sequence[SplitReport]) -> None:
    """Print the number and the sizes of the images of each split."""
    from segattn_cli.commands.shared.tables import show_text_table
    from segattn_cli.rendering.style import percent

    rows = []
    for report in reports:
        sizes = [f"{count} of {h}×{w}" for (h, w), count in report.sizes.items()]
        if len(sizes) > SHOWN_SIZES:
            sizes[SHOWN_SIZES:] = [counted(len(sizes) - SHOWN_SIZES, "other size")]
        ignored = percent(report.ignored_fraction) if len(report.pixels) else ""
        rows.append([report.split, str(report.images), str(len(report.problems)), ignored, ", ".join(sizes)])
    show_text_table(("split", "images", "problems", "ignored", "sizes (height×width)"), rows)


def _classes(
    reports: Sequence[SplitReport], dataset: Dataset, trained: SplitReport, weights: Sequence[float] | None
) -> None:
    """Print index, colour and name of each class, its fraction of the labelled pixels by split, and its weight."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from segattn_cli.commands.shared.tables import show_text_table
    from segattn_cli.rendering.style import percent

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("")
    table.add_column("class", no_wrap=True)  # names are shortened, numbers never
    shown = [report for report in reports if len(report.pixels)]
    for report in shown:
        table.add_column(f"{plain(report.split)}\nfraction", justify="right", no_wrap=True, min_width=8)
    table.add_column(f"{plain(trained.split)}\nimages", justify="right", no_wrap=True, min_width=6)
    table.add_column("\nweight", justify="right", no_wrap=True, min_width=6)
    fractions = [report.class_pixels / max(1, report.class_pixels.sum()) for report in shown]
    present = (trained.pixels > 0).sum(0)
    rows = []
    for index, (name, colour) in enumerate(zip(dataset.classes, dataset.palette, strict=True)):
        swatch = Text("██", style="rgb({},{},{})".format(*colour))
        weight = f"{weights[index]:.3g}" if weights is not None else ""
        frequency = [percent(each[index], 2) for each in fractions]
        rows.append([f"{index} {name}", *frequency, str(present[index]), weight])
        table.add_row(str(index), swatch, plain(name), *frequency, str(present[index]), weight)
    if console().width >= NARROWEST + 11 * len(shown):
        console().print(table)
        return
    fraction_of = [f"{report.split} fraction" for report in shown]
    show_text_table(("class", *fraction_of, f"{trained.split} images", "weight"), rows)
