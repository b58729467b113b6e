"""``{explorer}``: a link to the page of ``segattn explain --demo``, which is written while the site is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from backends import get_backend
from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.explaining import explain
from segattn_cli.explaining.explanation_page import explanation_page
from segattn_cli.runs import open_model
from segattn_cli.runs.demo import DEMO

#: Beside the page that links to it.
FILE = "explorer-demo.html"
#: Pixels (x, y) that are pinned when it opens: asphalt, the sky, and a house.
POINTS = [(64, 80), (20, 10), (100, 45)]


class Explorer(SphinxDirective):
    """A link to the page, which has no theme and no navigation."""

    def run(self) -> list[nodes.Node]:
        self.env.metadata[self.env.docname]["explorer"] = FILE
        link = nodes.reference("", "Open the explorer", refuri=FILE, classes=["explorer"])
        return [nodes.paragraph("", "", link)]


def write_page(app: Sphinx, error: Exception | None) -> None:
    """Write the page beside each page that links to it."""
    pages = [name for name, about in app.env.metadata.items() if about.get("explorer")]
    if error is not None or app.builder.format != "html" or not pages:
        return
    model = replace(open_model(DEMO), path=Path(DEMO.name))  # not where it is on this machine
    ops = get_backend("numpy")
    scenes = [Scenes("test", SceneOptions()).load(number) for number in range(2)]
    explanations = [explain(model, ops, scene.image, scene.name) for scene in scenes]
    html = explanation_page(model, explanations, backend=ops.name, points=POINTS)
    for name in pages:
        (Path(app.outdir) / name).with_name(FILE).write_text(html, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("explorer", Explorer)
    app.connect("build-finished", write_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
