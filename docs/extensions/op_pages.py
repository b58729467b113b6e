"""The page of an op, made from its file: ``{op}``, ``{op-code}`` and ``{op-facts}``, each with the name of the op.

``{op}`` has the docstrings with their formulas typeset; ``{op-code}`` has forward and backward beside each other,
where a line of backward marks the line of forward that it differentiates; ``{op-facts}`` has what is saved, the
cost, the backends and the tests.
"""

from __future__ import annotations

from html import escape
from typing import Any

from command_reference import table
from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from unicode_formulas import latex

from segattn_cli.costs.op_costs import OpCost, op_cost
from segattn_cli.reading.op_source import Function, OpSource, Undoing, read_op
from segattn_cli.reading.places import implementations, where_tested


class OpDirective(SphinxDirective):
    required_arguments = 1

    @property
    def op(self) -> OpSource:
        op = read_op(self.arguments[0])
        self.env.note_dependency(str(op.path))
        return op


class Documented(OpDirective):
    """The docstrings of both functions."""

    def run(self) -> list[nodes.Node]:
        op = self.op
        functions = [function.name for function in (op.forward, op.backward) if function]
        lines = "".join(f".. autofunction:: {name}\n" for name in functions)
        return self.parse_text_to_nodes(
            f"{op.title}\n\n```{{eval-rst}}\n.. currentmodule:: reference.ops\n{lines}```\n"
        )


class Code(OpDirective):
    """Forward and backward beside each other."""

    def run(self) -> list[nodes.Node]:
        op = self.op
        sides = [side(op, op.forward, "Forward", _forward_steps(op))]
        if op.backward:
            sides.append(side(op, op.backward, "Backward", _backward_steps(op)))
        hint = "Point at a line, or move to it with Tab: what it undoes, or what undoes it, is marked."
        text = f'<p class="op-hint">{hint}</p>' if op.backward else ""
        return [nodes.raw("", f'{text}<div class="op-code">{"".join(sides)}</div>', format="html")]


#: Lines that belong together: the first and the last one, the steps that they are part of, and what they refer to.
Step = tuple[int, int, list[int], list[int]]


def _forward_steps(op: OpSource) -> list[Step]:
    steps: dict[tuple[int, int], list[int]] = {}
    for number, undoing in enumerate(op.undoings):
        for span in undoing.undone:
            steps.setdefault((span.first, span.last), []).append(number)
    return [(first, last, numbers, []) for (first, last), numbers in sorted(steps.items())]


def _backward_steps(op: OpSource) -> list[Step]:
    def step(number: int, undoing: Undoing) -> Step:
        return undoing.span.first, undoing.span.last, [number], [span.first for span in undoing.undone]

    return [step(number, undoing) for number, undoing in enumerate(op.undoings)]


def side(op: OpSource, function: Function, title: str, steps: list[Step]) -> str:
    """The code of one function, with the lines of a step in an element that can have the focus."""
    numbered = op.code(function)
    text = "\n".join(line for _, line in numbered)
    coloured = highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).split("\n")
    html = {number: _line(number, line, code) for (number, line), code in zip(numbered, coloured, strict=False)}
    for first, last, numbers, refers_to in steps:
        described = " ".join(f"line-{line}" for line in refers_to)
        attributes = f' aria-describedby="{described}"' if described else ""
        attributes += f' data-steps="{" ".join(map(str, numbers))}"'
        html[first] = f'<span class="op-step" tabindex="0"{attributes}>{html[first]}'
        html[last] += "</span>"
    caption = f"{title}: <code>{escape(op.place)}</code>, from line {function.span.first}"
    listing = f'<div class="highlight"><pre>{"".join(html.values())}</pre></div>'
    return f'<figure class="op-side"><figcaption>{caption}</figcaption>{listing}</figure>'


def _line(number: int, line: str, code: str) -> str:
    indentation = len(line) - len(line.lstrip())
    return f'<span class="op-line" id="line-{number}" style="--indent: {indentation}ch">{code or " "}\n</span>'


class Facts(OpDirective):
    """What is saved, what it costs, what computes it, and where it is tested."""

    def run(self) -> list[nodes.Node]:
        op = self.op
        found: list[nodes.Node] = []
        if op.saved:
            found += [_heading("Saved for backward"), table(("field", ""), [_code_row(each) for each in op.saved])]
        found += [_heading("Cost"), *_cost(op_cost(op.name))]
        found += [_heading("Backends"), self._backends(op.name), _heading("Tests"), *self._tests(op.name)]
        return found

    def _backends(self, op: str) -> nodes.table:
        rows = [
            ([nodes.literal("", each.backend)], self._link(each.place), [nodes.Text(each.about)])
            for each in implementations(op)
        ]
        return table(("backend", "file", ""), rows)

    def _tests(self, op: str) -> list[nodes.Node]:
        items = nodes.bullet_list()
        for each in where_tested(op):
            names = ", ".join(name.removeprefix("test_").replace("_", " ") for name in each.names)
            items += nodes.list_item("", nodes.paragraph("", "", *self._link(each.place), nodes.Text(f": {names}")))
        every = "tests/reference/ops/test_every_op.py"
        text = ": the gradient is the slope by central differences in float64; arguments never change"
        items += nodes.list_item("", nodes.paragraph("", "", *self._link(every), nodes.Text(text)))
        return [items]

    def _link(self, place: str) -> list[nodes.Node]:
        return self.parse_inline(f"{{source}}`` `{place}` <{place}> ``", lineno=self.lineno)[0]


def _heading(text: str) -> nodes.rubric:
    return nodes.rubric("", text)


def _code_row(cells: tuple[str, ...]) -> tuple[list[nodes.Node], ...]:
    first, *rest = cells
    return [nodes.literal("", first)], *([nodes.Text(each)] for each in rest)


def _cost(cost: OpCost) -> list[nodes.Node]:
    """One call at the sizes of DANet on Cityscapes."""
    options = "".join(f", {name} {value}" for name, value in cost.options.items())
    call = ", ".join(f"{name} {_shape(shape)}" for name, shape in cost.inputs.items()) + options
    rows = [("multiply-adds forward", _count(cost.forward)), ("arguments", _megabytes(cost.input_bytes)),
            ("result", f"{_megabytes(cost.output_bytes)}, {_shape(cost.output)}")]  # fmt: skip
    if cost.saved_bytes is not None:
        rows.insert(1, ("multiply-adds backward", _count(cost.backward)))
        rows.append(("saved beyond arguments and result", _megabytes(cost.saved_bytes)))
    about = nodes.paragraph("", "In DANet, for 769×769 pixels of Cityscapes, in float32, with the backend ")
    about += [nodes.literal("", "numba"), nodes.Text(f": {call}.")]
    return [about, table(("", ""), [tuple([nodes.Text(cell)] for cell in row) for row in rows])]


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _count(number: int) -> str:
    if number == 0:
        return "none: no matrix products, only passes over memory"
    return f"{number / 1e9:.2f}·10⁹" if number >= 1e7 else f"{number:,}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number:,} bytes"


def typeset(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn the formulas in the docstrings of ops, which stand after ``::``, into LaTeX."""
    if not name.startswith("reference.ops.") or what != "function":
        return
    found: list[str] = []
    inside = False
    for line in lines:
        if line.endswith("::") and not line.startswith(".."):
            text = line.removesuffix("::").rstrip()
            found += [f"{text}:" if text[-1:].isalnum() else text, "", ".. math::", ""]
            inside = True
        elif inside and line.startswith("    "):
            found += [f"    {latex(line)}", ""]
        elif inside and not line:
            found.append(line)
        else:
            inside = False
            found.append(line)
    lines[:] = found


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("op", Documented)
    app.add_directive("op-code", Code)
    app.add_directive("op-facts", Facts)
    app.connect("autodoc-process-docstring", typeset)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
