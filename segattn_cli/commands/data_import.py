"""``segattn data import``: make a data set of what an annotation tool has saved."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.output_paths import require_empty
from segattn_cli.commands.shared.terminal import complain, say
from segattn_cli.errors import ExitCode

if TYPE_CHECKING:
    from segattn_cli.data.annotations.model import Noted
    from segattn_cli.data.annotations.planning import ImportPlan
    from segattn_cli.data.annotations.writing import ImportTotals

#: How many images that cannot be imported are named one by one.
SHOWN_REFUSALS = 20

RULES = "What pixels become"


def import_annotations(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="The folder that a tool has exported, or one document: COCO JSON, CVAT XML, data.yaml.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.", show_default=False)],
    format: Annotated[
        Literal["auto", "coco", "labelme", "cvat", "label-studio", "yolo", "colours"],
        typer.Option(help="The format of the annotations; auto recognises it.", show_default=False),
    ] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A list of the classes in the order of their values, one a line: 'name' or 'name: r, g, b'.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder with the images, if SOURCE does not hold them.", show_default=False
        ),
    ] = None,
    val: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, metavar="FRACTION",
            help="How much of the images to validate on, if SOURCE has no split for it.",
        ),
    ] = 0.2,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link to the images, or copy them.")] = False,
    overlaps: Annotated[
        Literal["area", "order"] | None,
        typer.Option(
            help="Which of two outlines has their common pixels: the smaller one, or the one drawn later. By "
            "default as the tool has it: area for COCO and YOLO, order for the others.",
            rich_help_panel=RULES, show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        Literal["background", "ignore"],
        typer.Option(
            help="What pixels outside of all outlines become: a class of that name, or 255, which is ignored.",
            rich_help_panel=RULES,
        ),
    ] = "background",
    unannotated: Annotated[
        Literal["skip", "unlabelled"],
        typer.Option(
            help="What becomes of images that nobody has annotated: skip them, or take all their pixels as "
            "unlabelled.",
            rich_help_panel=RULES,
        ),
    ] = "skip",
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Make a data set of the polygons, masks and colours of an annotation tool.

    Reads COCO JSON, LabelMe JSON, CVAT XML, Label Studio JSON, YOLO's polygons
    and coloured masks with a list of their colours. Writes images/, masks/ and
    classes.txt. Splits of the source are kept. Whatever cannot be taken as it
    is, is counted and said; where images are left out, the exit code is 8.

    \b
    Examples:
      segattn data import export/ --out cracks
      segattn data import annotations/instances.json --images photos --out cracks
      segattn data import labelme/ --out cracks --classes classes.txt --val 0.1
    """
    from segattn_cli.commands.shared.progress import follow
    from segattn_cli.commands.shared.signals import interrupted_by_sigterm
    from segattn_cli.data.annotations.planning import ImportOptions, plan_import
    from segattn_cli.data.annotations.writing import ImportTotals, write_import

    require_empty(out)
    options = ImportOptions(format, classes, images, val, overlaps, unlabelled, unannotated == "unlabelled")
    with interrupted_by_sigterm():
        plan = plan_import(source, options)
        totals = ImportTotals()
        events = write_import(plan, out, totals, link=link)
        follow(events, "images", lambda each: each.name, total=len(plan.images))
    if as_json:
        print_json(_summary(source, out, plan, totals))
    else:
        _print(source, out, plan, totals)
    for sentence in plan.notes.refused[:SHOWN_REFUSALS]:
        complain(sentence)
    more = len(plan.notes.refused) - SHOWN_REFUSALS
    if more > 0:
        complain(f"{more} images more cannot be imported; --json names them all.")
    if plan.notes.refused:
        raise typer.Exit(ExitCode.PARTIAL)


def _print(source: Path, out: Path, plan: ImportPlan, totals: ImportTotals) -> None:
    assert totals.classes is not None
    say(f"{source} ({plan.format}): {totals.images.total()} images to {out}")
    drawn = ", of which val was drawn by name" if plan.drawn and totals.images["val"] else ""
    say(", ".join(f"{split} {count}" for split, count in sorted(totals.images.items())) + drawn)
    say("")
    labelled = max(1, int(totals.pixels.sum()))
    width = max(map(len, totals.classes.names))
    for value, name in enumerate(totals.classes.names):
        remark = "  unlabelled pixels" if value == totals.classes.background else ""
        say(f"{value:>4}  {name:<{width}}  {_percent(totals.pixels[value] / labelled)}{remark}")
    if totals.pixels[255]:
        say(f" 255  {'(ignored)':<{width}}  {_percent(totals.pixels[255] / labelled)}")
    for heading, notes in (("Decided", plan.notes.chosen), ("Left out", plan.notes.left_out)):
        if notes:
            say("")
            say(f"{heading}:")
        for what, noted in notes.items():
            say(f"{noted.count:>6}  {what} ({_places(noted)})")
    say("")
    say(f"Next: segattn data check {quote(str(out))}")


def _places(noted: Noted) -> str:
    return ", ".join(noted.places) + (", …" if noted.count > len(noted.places) else "")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:6.2f} %"


def _summary(source: Path, out: Path, plan: ImportPlan, totals: ImportTotals) -> dict[str, Any]:
    table = totals.classes
    assert table is not None
    return {
        "source": str(source),
        "out": str(out),
        "format": plan.format,
        "images": dict(sorted(totals.images.items())),
        "val_drawn": plan.drawn,
        "classes": list(table.names),
        "background": None if table.background == 255 else table.names[table.background],
        "pixels": {name: int(totals.pixels[value]) for name, value in table.values.items()},
        "ignored_pixels": int(totals.pixels[255]),
        "overlaps": plan.overlaps,
        "decided": {what: noted.count for what, noted in plan.notes.chosen.items()},
        "left_out": {what: noted.count for what, noted in plan.notes.left_out.items()},
        "refused": plan.notes.refused,
    }
