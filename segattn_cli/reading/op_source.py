"""The file of an op, taken apart: formulas, shapes, forward, and which line of it each line of backward undoes.

A comment on a line of its own in a backward function is a quote: word for word a statement of the forward function.
The lines below it, up to the next quote, differentiate this statement.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import reference.ops

FOLDER = Path(reference.ops.__file__).parent


@dataclass(frozen=True)
class Span:
    """Lines of a file, the last one included; the first line of a file is 1."""

    first: int
    last: int

    def __contains__(self, line: int) -> bool:
        return self.first <= line <= self.last


@dataclass(frozen=True)
class Function:
    """A function of the file: its lines, and those below its docstring."""

    name: str
    span: Span
    body: Span
    doc: str


@dataclass(frozen=True)
class Undoing:
    """Lines of backward, the quotes above them included, and the statements of forward that they differentiate.

    A quote that is no statement of forward has no span in ``undone`` and is in ``unknown``.
    """

    span: Span
    quotes: tuple[str, ...]
    undone: tuple[Span, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class OpSource:
    """An op's file."""

    name: str
    path: Path
    title: str
    lines: tuple[str, ...]
    forward: Function
    backward: Function | None
    #: The fields of the cache, with the comments beside them.
    saved: tuple[tuple[str, str], ...]
    undoings: tuple[Undoing, ...]

    @property
    def place(self) -> str:
        """The path from the root of the repository."""
        return f"reference/ops/{self.name}.py"

    def text(self, span: Span) -> list[str]:
        return list(self.lines[span.first - 1 : span.last])

    def code(self, function: Function) -> list[tuple[int, str]]:
        """The numbered lines of a function without its docstring."""
        signature = Span(function.span.first, function.body.first - 1)
        head = _without_docstring(self, signature, function)
        body = [(number, self.lines[number - 1]) for number in range(function.body.first, function.body.last + 1)]
        return head + body

    def formulas(self) -> list[str]:
        """The lines of the formulas in the docstring of the forward function, or else its first line.

        >>> read_op("scale_fusion").formulas()[0]
        'g_ic = Σ_s w_is f_ics                     (1)'
        >>> read_op("scale_max").formulas()
        ['g_ic = max_s f_ics']
        """
        found = [line for block in formula_blocks(self.forward.doc) for line in block]
        return found or re.findall(r"``([^`]* = [^`]*)``", self.forward.doc)[:1]


@cache
def op_names() -> tuple[str, ...]:
    """The ops: files in ``reference/ops`` with a function of the name of the file.

    >>> "relu" in op_names(), "checks" in op_names()
    (True, False)
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if re.search(
        rf"^def {path.stem}\(", path.read_text(encoding="utf-8"), re.MULTILINE
    )))  # fmt: skip


@cache
def read_op(name: str) -> OpSource:
    """The file of an op, taken apart.

    >>> op = read_op("relu")
    >>> op.title, op.saved
    ('The rectified linear unit.', (('y', 'any shape'),))
    >>> [(each.quotes, op.text(each.undone[0])) for each in op.undoings]
    [(('y = np.maximum(x, 0)',), ['    y = np.maximum(x, 0)'])]
    """
    path = FOLDER / f"{name}.py"
    return parse_op(name, path, path.read_text(encoding="utf-8"))


def parse_op(name: str, path: Path, text: str) -> OpSource:
    """As :func:`read_op`, of a text."""
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    lines = tuple(text.splitlines())
    forward, backward = functions[name], functions.get(f"{name}_backward")
    title = (ast.get_docstring(tree) or "").partition("\n")[0]
    return OpSource(
        name, path, title, lines, _function(forward), _function(backward) if backward else None,
        _saved(tree, lines), tuple(_undoings(forward, backward, lines)),
    )  # fmt: skip


def formula_blocks(doc: str) -> list[list[str]]:
    """The blocks of a docstring that stand after ``::``, without their indentation.

    >>> formula_blocks("Add. ::\\n\\n    y = a + b    (1)\\n    z = y\\n\\nMore.")
    [['y = a + b    (1)', 'z = y']]
    """
    blocks = re.findall(r"::\n\n((?:[ ]{4}.*\n|\n)+)", f"{doc}\n")
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in blocks]


def _function(node: ast.FunctionDef) -> Function:
    doc = ast.get_docstring(node) or ""
    body = node.body[1:] if doc else node.body
    span = Span(node.lineno, node.end_lineno or node.lineno)
    return Function(node.name, span, Span(_start(node, body[0].lineno), span.last), doc)


def _start(node: ast.FunctionDef, first_statement: int) -> int:
    """The line below the docstring: comments may stand above the first statement."""
    first = node.body[0]
    is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (first.end_lineno or first.lineno) + 1 if is_doc else first_statement


def _without_docstring(op: OpSource, signature: Span, function: Function) -> list[tuple[int, str]]:
    head = []
    for number in range(signature.first, signature.last + 1):
        line = op.lines[number - 1]
        if line.lstrip().startswith('"""'):
            break
        head.append((number, line))
    return head


def _saved(tree: ast.Module, lines: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Cache"):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            return tuple(
                (ast.unparse(each.target), lines[each.lineno - 1].partition("  # ")[2]) for each in fields
            )
    return ()


def _undoings(
    forward: ast.FunctionDef, backward: ast.FunctionDef | None, lines: tuple[str, ...]
) -> list[Undoing]:
    if backward is None:
        return []
    statements = _statements(forward)
    function = _function(backward)
    comments = [n for n in range(function.body.first, function.body.last + 1) if lines[n - 1].lstrip()[:1] == "#"]
    starts = [n for n in comments if n - 1 not in comments]
    undoings = []
    for start, following in zip(starts, [*starts[1:], function.body.last + 1], strict=True):
        quotes = tuple(
            lines[n - 1].strip().removeprefix("#").strip() for n in comments if start <= n < following
        )
        last = max(n for n in range(start, following) if _does_something(lines[n - 1], n in comments))
        known = [statements[key] for key in map(_normalised, quotes) if key in statements]
        unknown = tuple(quote for quote in quotes if _normalised(quote) not in statements)
        undoings.append(Undoing(Span(start, last), quotes, tuple(known), unknown))
    return undoings


def _does_something(line: str, is_comment: bool) -> bool:
    """Whether a line belongs to what a quote is about; a return that only names what was computed does not.

    >>> _does_something("    return dx, dweight", False), _does_something("    return y * dy", False)
    (False, True)
    """
    only_names = re.fullmatch(r"\s*return \w+(, \w+)*", line)
    return is_comment or not (only_names or not line.strip())


def _statements(function: ast.FunctionDef) -> dict[str, Span]:
    """Where each statement of a function is."""
    return {
        ast.unparse(node): Span(node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(function) if isinstance(node, ast.Assign | ast.AugAssign)
    }  # fmt: skip


def _normalised(quote: str) -> str:
    """Code without the liberties of its layout; what is no code stays as it is."""
    try:
        return ast.unparse(ast.parse(quote))
    except SyntaxError:
        return quote


def summary(doc: str) -> str:
    """The first paragraph of a docstring, on one line and without the marks of Sphinx.

    >>> summary("See :func:`reference.ops.relu` and\\n``x``. ::\\n\\n    y = x")
    'See reference.ops.relu and x.'
    """
    paragraph = " ".join(inspect.cleandoc(doc).partition("\n\n")[0].split())
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", paragraph).replace("``", "").removesuffix(" ::")
