"""Formulas as MathML, made while the site is built: no script has to draw them."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import SphinxError

#: A letter, or a command with at most one argument, before a prime.
PRIMED = re.compile(r"(\\[a-zA-Z]+(?:\{[^{}]*\})?|[a-zA-Z])'")


def mathml(latex: str, display: str) -> str:
    """The MathML element of a formula in LaTeX; ``display`` is ``inline`` or ``block``.

    The glyph of a prime is small and high already, so it is no superscript, which would make it smaller and higher.
    """
    try:
        return convert(PRIMED.sub(r"{\1′}", latex).replace(")'", ")′"), display=display)
    except Exception as error:
        raise SphinxError(f"No MathML for the formula {latex!r}: {type(error).__name__} {error}.") from error


def visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    lines = "".join(mathml(line, "block") for line in node.astext().split("\n\n"))
    # A long formula scrolls by itself on a phone, and by the keyboard.
    writer.body.append(f'<div class="formula" tabindex="0">{lines}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
