"""``{op-live} NAME``: the examples of an op's docstrings, computed in the page, with numbers that can be changed.

``static/live/live.js`` draws the arrays and compares the gradients with central differences. It computes with the
code of the op itself, which :mod:`javascript` translates.
"""

from __future__ import annotations

from typing import Any

import javascript
import live_script
import op_examples
from docutils import nodes
from op_pages import OpDirective
from sphinx.application import Sphinx

SCRIPTS = ("live/numpy.js", "live/live.js")


HINT = (
    "Change a number, or press the keys up and down in its field. The page computes with the code above, which was "
    "translated to JavaScript when the page was made."
)


class Live(OpDirective):
    def run(self) -> list[nodes.Node]:
        for module in (javascript, live_script, op_examples):
            self.env.note_dependency(module.__file__)
        html = (
            f'<p class="op-hint">{HINT}</p>\n'
            '<div class="live"><noscript>The live example needs JavaScript.</noscript></div>\n'
            f"<script>\nconst liveExample = {live_script.script(self.op)};\n</script>\n"
        )
        return [LiveExample("", html, format="html")]


class LiveExample(nodes.raw):
    """The example; a page that has one loads the scripts."""


def add_scripts(app: Sphinx, page: str, template: str, context: Any, doctree: nodes.document | None) -> None:
    if doctree is not None and any(doctree.findall(LiveExample)):
        app.add_css_file("live/live.css")
        for name in SCRIPTS:
            app.add_js_file(name, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("op-live", Live)
    app.add_node(LiveExample, html=(lambda writer, node: writer.visit_raw(node), None))
    app.connect("html-page-context", add_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
