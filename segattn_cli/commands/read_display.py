"""Forward and backward of an op in a terminal: beside each other where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from segattn_cli.reading.op_source import Function, OpSource, Span

#: Columns below which backward is printed under forward.
WIDE = 150
#: Columns between both.
GAP = 2


def code_columns(op: OpSource, width: int) -> RenderableType:
    """Both functions; lines of backward have the number of the line of forward that they differentiate."""
    from rich.console import Group
    from rich.table import Table

    steps = list(enumerate(op.undoings, 1))
    beside = op.backward is not None and WIDE <= width < 1000  # a file or a pipe has no width
    room = width // 2 - GAP if beside else width
    forward = _numbered(op, op.forward, [(span, number) for number, each in steps for span in each.undone], room)
    if op.backward is None:
        return forward
    backward = _numbered(op, op.backward, [(each.span, number) for number, each in steps], room)
    if not beside:
        return Group(forward, "", backward)
    columns = Table.grid(padding=(0, GAP), expand=True)
    columns.add_column(ratio=1)
    columns.add_column(ratio=1)
    columns.add_row(forward, backward)
    return columns


def _numbered(op: OpSource, function: Function, steps: list[tuple[Span, int]], width: int) -> Text:
    """The code in colours, each line after the numbers of the steps that it belongs to."""
    from rich.syntax import Syntax
    from rich.text import Text

    numbered = op.code(function)
    marks = [",".join(str(step) for span, step in steps if line in span) for line, _ in numbered]
    gutter = max(map(len, marks))
    code = Syntax("", "python", background_color="default").highlight("\n".join(line for _, line in numbered))
    lines = code.split("\n", allow_blank=True)
    result = Text()
    for mark, line in zip(marks, lines, strict=False):
        if line.plain:
            result.append(f"{mark:>{gutter}} ", style="bold cyan")
            result.append_text(_wrapped(line, gutter + 1, width))
        result.append("\n")
    result.rstrip()
    return result


def _wrapped(line: Text, gutter: int, width: int) -> Text:
    """A line of code that begins in column ``gutter``; what does not fit goes on below, further to the right."""
    from rich.console import Console
    from rich.text import Text

    if gutter + line.cell_len <= width:
        return line
    indent = len(line.plain) - len(line.plain.lstrip())
    hanging = indent + 4
    pieces = line[indent:].wrap(Console(), max(width - gutter - hanging, 10), overflow="fold")
    for piece in pieces:
        piece.rstrip()
    return line[:indent].append_text(Text("\n" + " " * (gutter + hanging)).join(pieces))
