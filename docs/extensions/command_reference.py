"""``{commands}``: the help of every command, from the objects that the command line itself is made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from segattn_cli.app import app as command_line

Words = tuple[str, ...]


def every_command(command: Any = None, path: Words = ("segattn",)) -> Iterator[tuple[Words, Any]]:
    """Each command with the words that are typed for it; first the whole command line."""
    command = command or get_command(command_line)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


class Commands(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [self.section(path, command) for path, command in every_command()]

    def section(self, path: Words, command: Any) -> nodes.section:
        words = " ".join(path)
        section = nodes.section(ids=["-".join(path)], names=[words])
        section += nodes.title("", "", nodes.literal("", words))
        context = command.context_class(command, info_name=words)
        section += nodes.literal_block("", "\n".join(usage(command, context)), language="none")
        section += list(paragraphs(command.help or ""))
        options = [each for each in command.params if "completion" not in each.name]
        if options:
            section += table(("", "default", ""), [option_row(each, context) for each in options])
        inner = getattr(command, "commands", {})
        if inner:
            items = nodes.bullet_list()
            for name, each in inner.items():
                link = nodes.reference("", "", nodes.literal("", name), refid="-".join((*path, name)))
                text = (each.help or "").partition("\n")[0]
                items += nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(f": {text}")))
            section += items
        self.state.document.note_explicit_target(section, section)
        return section


def usage(command: Any, context: Any) -> list[str]:
    return [f"{context.info_name} {' '.join(command.collect_usage_pieces(context))}"]


def paragraphs(text: str) -> Iterator[nodes.Node]:
    """The text of a help: a paragraph after ``\\b`` keeps its lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            heading, *lines = paragraph[2:].split("\n")
            yield nodes.paragraph("", heading)
            yield nodes.literal_block("", inspect.cleandoc("\n".join(lines)), language="none")
        else:
            yield nodes.paragraph("", " ".join(paragraph.split()))


def option_row(each: Any, context: Any) -> tuple[list[nodes.Node], ...]:
    is_argument = each.param_type_name == "argument"
    names = [each.metavar or each.human_readable_name] if is_argument else [*each.opts, *each.secondary_opts]
    value = "" if is_argument or not each.metavar else f" {each.metavar}"
    cell: list[nodes.Node] = []
    for name in names:
        cell += [nodes.Text(", ")] if cell else []
        cell.append(nodes.literal("", name + (value if name == names[-1] else "")))
    default = getattr(each.default, "value", each.default)
    shown = bool(each.show_default) and default not in (None, False, (), []) and not callable(default)
    return cell, [nodes.literal("", str(default))] if shown else [], [nodes.Text(each.help)]


def table(heading: tuple[str, ...], rows: list[Any]) -> nodes.table:
    """A table of docutils; a cell is a list of inline nodes."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heading), cols=len(heading))
    if any(heading):
        group += nodes.thead("", _row([[nodes.Text(each)] for each in heading]))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group)


def _row(cells: Any) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
