"""``{network} PRESET``: a network drawn from itself, with shapes and cost, and a link from each part to its code.

The option ``:classes:`` is the number of classes; the image has the size of the preset's crops.
"""

from __future__ import annotations

from typing import Any, ClassVar

from command_reference import table
from diagram import Box, svg
from docutils import nodes
from docutils.parsers.rst import directives
from repository_files import ROOT, link_to_file
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from reference.networks import build_network
from segattn_cli.config import load_config
from segattn_cli.costs.network_graph import IMAGE, Node, by_layer, grouped, network_graph
from segattn_cli.reading.op_source import op_names


class NetworkDirective(SphinxDirective):
    required_arguments = 1
    option_spec: ClassVar = {"classes": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        config = load_config(self.arguments[0])
        classes = self.options.get("classes", 8)
        height, width = config.augmentation.crop
        graph = grouped(network_graph(build_network(config.network_config(classes)), height, width), by_layer)
        for file in {place.file for node in graph for place in node.places}:
            self.env.note_dependency(str(ROOT / file))
        image = Box(IMAGE, [[(IMAGE, "")]], (), [shape_text((height, width, 3))])
        drawing = svg([image, *(self.box(node) for node in graph)], f"{config.name}, drawn from the network")
        parameters = sum(node.parameters for node in graph)
        multiply_adds = sum(node.multiply_adds for node in graph)
        about = (
            f"{config.name}: {classes} classes, one image of {height}×{width} pixels, {parameters:,} parameters, "
            f"{count(multiply_adds)} multiply-adds. Names lead to the code, and ops to their pages. "
            "What is dashed is computed in training only."
        )
        return [
            nodes.paragraph("", about),
            nodes.raw("", f'<div class="network" tabindex="0">{drawing}</div>', format="html"),
            self.details(graph),
        ]

    def box(self, node: Node) -> Box:
        source = link_to_file(self.env, node.place.file, node.place.line)
        title = node.name if " " not in node.name else node.place.layer
        lines = [[(title, source)], self.calls(node)]
        if node.parameters:
            lines.append([(f"{node.parameters:,} parameter{'s' * (node.parameters > 1)}", "")])
        if node.multiply_adds:
            lines.append([(f"{count(node.multiply_adds)} multiply-adds", "")])
        shapes = list(dict.fromkeys(shape_text(shape) for shape in node.shapes.values()))
        return Box(node.name, lines, node.inputs, shapes, node.training_only)

    def calls(self, node: Node) -> list[tuple[str, str]]:
        if len(node.calls) > 2:
            return [(node.about, "")]
        parts: list[tuple[str, str]] = []
        for call in node.calls:
            page = link_to_file(self.env, f"reference/ops/{call.op}.py") if call.op in op_names() else ""
            parts += [(", ", "")] if parts else []
            parts.append((call.about, page))
        return parts

    def details(self, graph: list[Node]) -> nodes.Node:
        """The same as a table, in the order of the computation."""
        rows = []
        for node in graph:
            place = f"{node.place.file}#L{node.place.line}"
            link = self.parse_inline(f"{{source}}`` {node.place.function} <{place}> ``", lineno=self.lineno)[0]
            shapes = ", ".join(dict.fromkeys(shape_text(shape) for shape in node.shapes.values()))
            parameters = f"{node.parameters:,}" if node.parameters else ""
            texts = (node.about, shapes, parameters, count(node.multiply_adds))
            rows.append(([nodes.literal("", node.name)], *([nodes.Text(text)] for text in texts), link))
        return table(("layer", "what it computes", "output", "parameters", "multiply-adds", "code"), rows)


def shape_text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def count(multiply_adds: int) -> str:
    """
    >>> count(48_922_361_856), count(1_409_024), count(0)
    ('48.9·10⁹', '1.4·10⁶', '')
    """
    for digits, power in ((9, "⁹"), (6, "⁶"), (3, "³")):
        if multiply_adds >= 10**digits:
            return f"{multiply_adds / 10**digits:.1f}·10{power}"
    return str(multiply_adds or "")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("network", NetworkDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
