"""The tables of a comparison, for the terminal, in Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segattn_cli.commands.shared.tables import show_text_table
from segattn_cli.commands.shared.terminal import console, plain
from segattn_cli.errors import counted

if TYPE_CHECKING:
    from segattn_cli.prediction.run_comparison import Group, GroupComparison


def number(value: float) -> float | None:
    """None for NaN, for which JSON has no notation."""
    return None if value != value else value


def show(groups: Sequence[Group], comparisons: Sequence[GroupComparison], images: int) -> None:
    """Print the tables, with up to so many ``images``."""
    from segattn_cli.prediction.run_comparison import explanations

    out = console()
    one = groups[0].evaluations[0]
    out.print(
        f"[bold]{plain(one.data)}[/] ({plain(one.split)}, {counted(len(one.matrices.names), 'image')}); "
        f"differences are to [bold]{plain(groups[0].name)}[/]"
    )
    for note in _settings_notes(groups):
        out.print(plain(note))
    for title, headings, rows in _tables(groups, comparisons, images):
        if title:
            out.print(f"[bold]{plain(title)}[/]")
        show_text_table(headings, rows)
    for sentence in explanations(comparisons):
        out.print(sentence, style="dim")


def _tables(
    groups: Sequence[Group], comparisons: Sequence[GroupComparison], images: int
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows of each table, in text."""
    from segattn_cli.prediction.run_comparison import difference_cells, mean_text
    from segattn_cli.rendering.tables import fraction, signed

    classes = groups[0].evaluations[0].classes
    first = groups[0]
    rows = [[first.name, str(len(first.mious)), mean_text(first), "", "", ""]]
    for each in comparisons:
        other = each.other
        rows.append([other.name, str(len(other.mious)), mean_text(other), *difference_cells(each.miou)])
    tables = [("", ["run", "seeds", "mIoU", "difference", "95 % interval", ""], rows)]
    for each in comparisons:
        rows = [
            [name, fraction(mine), fraction(other), *difference_cells(difference)]
            for name, mine, other, difference in zip(
                classes, first.ious.mean(0), each.other.ious.mean(0), each.per_class, strict=True
            )
        ]
        tables.append((
            f"{each.other.name}: IoU by class",
            ["class", first.name, each.other.name, "difference", "95 % interval", ""], rows,
        ))
        largest = each.images[:images]
        if largest:
            better = sum(row.value > 0 for row in each.images)
            worse = sum(row.value < 0 for row in each.images)
            rows = [[row.image, fraction(row.first), fraction(row.other), signed(row.value)] for row in largest]
            tables.append((
                f"{each.other.name}: better on {better} of {len(each.images)} images and worse on {worse}; the "
                "largest differences of the mIoU of an image by itself",
                ["image", first.name, each.other.name, "difference"], rows,
            ))
    return tables


def _settings_notes(groups: Sequence[Group]) -> list[str]:
    """That the runs are predicted in different ways, where they are."""
    settings = [group.evaluations[0].settings for group in groups]
    differ = [key for key in settings[0] if any(each.get(key) != settings[0][key] for each in settings)]
    return [
        f"The runs are predicted with different settings: {key} is "
        + ", ".join(f"{each.get(key)} ({group.name})" for each, group in zip(settings, groups, strict=True)) + "."
        for key in differ
    ]


def markdown(groups: Sequence[Group], comparisons: Sequence[GroupComparison], images: int) -> str:
    """The same tables in Markdown."""
    from segattn_cli.prediction.run_comparison import explanations
    from segattn_cli.rendering.tables import markdown_table

    one = groups[0].evaluations[0]
    images_of_one = counted(len(one.matrices.names), "image")
    parts = [
        f"{one.data} ({one.split}, {images_of_one}); differences are to {groups[0].name}.",
        *_settings_notes(groups),
    ]
    for title, headings, rows in _tables(groups, comparisons, images):
        parts += [*([title] if title else []), markdown_table(headings, rows).rstrip("\n")]
    return "\n\n".join([*parts, *explanations(comparisons)]) + "\n"


def csv(groups: Sequence[Group], comparisons: Sequence[GroupComparison]) -> str:
    """A row for the mean and one for each class of every group but the first."""
    from segattn_cli.rendering.tables import csv_table

    classes = groups[0].evaluations[0].classes
    rows: list[list[object]] = []
    for each in comparisons:
        first, other = each.first, each.other
        for name, mine, its, difference in zip(
            ("mean", *classes), (first.miou, *first.ious.mean(0)), (other.miou, *other.ious.mean(0)),
            (each.miou, *each.per_class), strict=True,
        ):
            found = difference and difference.as_dict()
            columns = ("value", "low", "high", "over", "verdict")
            rows.append([
                other.name, name, number(float(mine)), number(float(its)),
                *(found[column] if found else None for column in columns),
            ])
    headings = ["run", "class", "first", "iou", "difference", "low", "high", "over", "verdict"]
    return csv_table(headings, rows)
