"""Forward and backward of an op in a terminal: beside each other where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from segattn_cli.reading.op_source import Function, OpSource, Span

#: Columns below which backward is printed under forward.
WIDE = 150


def code_columns(op: OpSource, width: int) -> RenderableType:
    """Both functions; lines of backward have the number of the line of forward that they differentiate."""
    from rich.console import Group
    from rich.table import Table

    steps = list(enumerate(op.undoings, 1))
    forward = _numbered(op, op.forward, [(span, number) for number, each in steps for span in each.undone])
    if op.backward is None:
        return forward
    backward = _numbered(op, op.backward, [(each.span, number) for number, each in steps])
    if not WIDE <= width < 1000:  # a file or a pipe has no width
        return Group(forward, "", backward)
    columns = Table.grid(padding=(0, 2), expand=True)
    columns.add_column(ratio=1)
    columns.add_column(ratio=1)
    columns.add_row(forward, backward)
    return columns


def _numbered(op: OpSource, function: Function, steps: list[tuple[Span, int]]) -> Text:
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
            result.append_text(line)
        result.append("\n")
    result.rstrip()
    return result
