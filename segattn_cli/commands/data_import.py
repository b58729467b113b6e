"""``segattn data import``: convert the annotations of a tool into a data set."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.options import DATA, OUTPUT, PrintJson
from segattn_cli.commands.shared.output_paths import require_empty
from segattn_cli.commands.shared.terminal import complain, say
from segattn_cli.errors import ExitCode, counted

if TYPE_CHECKING:
    from segattn_cli.data.annotations.model import Noted
    from segattn_cli.data.annotations.planning import ImportPlan
    from segattn_cli.data.annotations.writing import ImportTotals

#: How many images that cannot be imported are named one by one.
SHOWN_REFUSALS = 20

RULES = "Rules"


def import_annotations(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", show_default=False,
            help="Folder that a tool has exported, or one file: COCO JSON, CVAT XML or data.yaml.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write.", show_default=False)
    ],
    format: Annotated[
        Literal["auto", "coco", "labelme", "cvat", "label-studio", "yolo", "colours"],
        typer.Option(
            metavar="NAME", rich_help_panel=DATA, show_default=False,
            help="Format of the annotations: auto, coco, labelme, cvat, label-studio, yolo or colours.",
        ),
    ] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=DATA, show_default=False,
            help="File with the classes in the order of their indices, one per line: 'name' or 'name: r, g, b'.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=DATA, show_default=False,
            help="Folder with the images, if they are not in SOURCE.",
        ),
    ] = None,
    val: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, metavar="X", rich_help_panel=RULES,
            help="Fraction of the images for validation, if SOURCE has no split for it.",
        ),
    ] = 0.2,
    link: Annotated[
        bool,
        typer.Option("--link/--copy", rich_help_panel=OUTPUT, help="Link to the images instead of copying them."),
    ] = False,
    overlaps: Annotated[
        Literal["area", "order"] | None,
        typer.Option(
            metavar="RULE", rich_help_panel=RULES, show_default=False,
            help="Outline that wins where two overlap: area for the smaller one, order for the one drawn later. "
            "The default is area for COCO and YOLO, and order for the others.",
        ),
    ] = None,
    unlabelled: Annotated[
        Literal["background", "ignore"],
        typer.Option(
            metavar="RULE", rich_help_panel=RULES,
            help="Value of pixels outside all outlines: background for a class of that name, ignore for 255.",
        ),
    ] = "background",
    unannotated: Annotated[
        Literal["skip", "unlabelled"],
        typer.Option(
            metavar="RULE", rich_help_panel=RULES,
            help="Images without annotations: skip them, or take all their pixels as unlabelled.",
        ),
    ] = "skip",
    as_json: PrintJson = False,
) -> None:
    """Import the annotations of a tool as a data set.

    Known formats are COCO JSON, LabelMe JSON, CVAT XML, Label Studio JSON,
    polygons of YOLO, and coloured masks with a list of their colours. The
    result has images/, masks/ and classes.txt. Splits of the source are kept.
    The command reports what it decides and what it leaves out. If images are
    left out, the exit code is 8.

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
        follow(events, "images", lambda each: each.name, each=True, total=len(plan.images))
    if as_json:
        print_json(_summary(source, out, plan, totals))
    else:
        _print(source, out, plan, totals)
    for sentence in plan.notes.refused[:SHOWN_REFUSALS]:
        complain(sentence)
    more = len(plan.notes.refused) - SHOWN_REFUSALS
    if more > 0:
        complain(f"{counted(more, 'more image')} cannot be imported; --json names them all.")
    if plan.notes.refused:
        raise typer.Exit(ExitCode.PARTIAL)


def _print(source: Path, out: Path, plan: ImportPlan, totals: ImportTotals) -> None:
    from segattn_cli.rendering.style import percent

    assert totals.classes is not None
    say(f"{source} ({plan.format}): {counted(totals.images.total(), 'image')} to {out}")
    drawn = ", of which val was drawn by name" if plan.drawn and totals.images["val"] else ""
    say(", ".join(f"{split} {count}" for split, count in sorted(totals.images.items())) + drawn)
    say("")
    labelled = max(1, int(totals.pixels.sum()))
    width = max(map(len, totals.classes.names))
    for value, name in enumerate(totals.classes.names):
        remark = "  unlabelled pixels" if value == totals.classes.background else ""
        say(f"{value:>4}  {name:<{width}}  {percent(totals.pixels[value] / labelled, 2):>8}{remark}")
    if totals.pixels[255]:
        say(f" 255  {'(ignored)':<{width}}  {percent(totals.pixels[255] / labelled, 2):>8}")
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
