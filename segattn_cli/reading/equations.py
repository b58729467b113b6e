"""The table of equations: each with its lines of code, its tests and its page, from ``equations.toml``."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from segattn_cli.reading.places import ROOT

TABLE = Path(__file__).with_name("equations.toml")


@dataclass(frozen=True)
class Place:
    """Lines of a function or class, such as ``DualAttentionHead.forward``."""

    file: str
    function: str
    lines: tuple[str, ...]

    def numbers(self, root: Path = ROOT) -> list[int]:
        """The number of each line in its file; of the function itself, if there are none.

        Raises :class:`LookupError`, with one sentence, where the function is gone or a line is not in it.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        node = _definition(ast.parse(text), self.function.split("."))
        if node is None:
            raise LookupError(f"{self.file} has no {self.function}.")
        body = text.splitlines()[node.lineno - 1 : node.end_lineno]
        code = [line.partition("  # ")[0].strip() for line in body]
        for line in self.lines:
            if line not in code:
                raise LookupError(f"{self.function} in {self.file} has no line {line!r}.")
        return [node.lineno + code.index(line) for line in self.lines] or [node.lineno]


@dataclass(frozen=True)
class Entry:
    """An equation, a figure or a section of a paper."""

    name: str
    where: str
    what: str
    formula: str
    places: tuple[Place, ...]
    tests: tuple[str, ...]
    page: str


@dataclass(frozen=True)
class Paper:
    name: str
    title: str
    #: How many numbered equations it has.
    equations: int
    entries: tuple[Entry, ...]


@cache
def papers() -> tuple[Paper, ...]:
    """Both papers.

    >>> [(paper.name, paper.entries[2].name) for paper in papers()]
    [('danet', 'danet-1'), ('attention-to-scale', 'attention-to-scale-1')]
    """
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))["papers"]
    return tuple(
        Paper(name, paper["title"], paper["equations"], tuple(_entry(name, each) for each in paper["entries"]))
        for name, paper in table.items()
    )


def find_entries(name: str) -> list[Entry]:
    """The entries called ``name``: an equation such as ``danet-1``, or all of a paper such as ``danet``.

    >>> find_entries("attention-to-scale-2")[0].formula
    'w_is = exp(h_is) / Σ_t exp(h_it)'
    """
    return [each for paper in papers() for each in paper.entries if name and name in (paper.name, each.name)]


def _entry(paper: str, table: dict[str, Any]) -> Entry:
    word, _, number = table["where"].partition(" ")
    name = f"{paper}-{number}" if word == "equation" else ""
    places = tuple(Place(each["file"], each["function"], tuple(each["lines"])) for each in table["places"])
    return Entry(
        name, table["where"], table["what"], table.get("formula", ""), places, tuple(table["tests"]), table["page"]
    )


def _definition(node: Any, path: list[str]) -> Any:
    """The function or class of a dotted name."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name == path[0]:
            return each if len(path) == 1 else _definition(each, path[1:])
    return None
