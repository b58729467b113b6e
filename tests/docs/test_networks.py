"""The pictures of networks: each layer has its box, no box covers another, and arrows lead down."""

from __future__ import annotations

import doctest
import re
from itertools import combinations
from types import SimpleNamespace

import pytest

from reference.networks import build_network
from segattn_cli.config import PRESETS, load_config
from segattn_cli.costs.network_graph import IMAGE, by_layer, grouped, network_graph
from segattn_cli.reading.op_source import op_names


def graph_of(preset):
    config = load_config(preset)
    return grouped(network_graph(build_network(config.network_config(8)), *config.augmentation.crop), by_layer)


def boxes_of(diagram, graph):
    image = diagram.Box(IMAGE, [[(IMAGE, "")]], (), ["96×128×3"])
    return [image, *(diagram.Box(each.name, [[(each.name, "")]], each.inputs, ["1×1"]) for each in graph)]


def rectangles(svg):
    """x, y, width and height of each box, by its name."""
    box = r'<rect class="box[^>]*? x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)" rx="4"/><text[^>]*>([^<]*)'
    found = re.findall(box, svg)
    return {name: tuple(map(float, numbers)) for *numbers, name in found}


@pytest.mark.parametrize("preset", PRESETS)
def test_boxes_and_arrows(preset, extension):
    diagram, graph = extension("diagram"), graph_of(preset)
    svg = diagram.svg(boxes_of(diagram, graph), preset)
    boxes = rectangles(svg)
    assert set(boxes) == {IMAGE, *(node.name for node in graph)}
    width, height = map(float, re.search(r'width="(\S+)" height="(\S+)" viewBox', svg).groups())
    for x, y, w, h in boxes.values():
        assert x >= 0
        assert x + w <= width
        assert y >= 0
        assert y + h <= height
    for (x, y, w, h), (other_x, other_y, other_w, other_h) in combinations(boxes.values(), 2):
        assert x + w < other_x or other_x + other_w < x or y + h < other_y or other_y + other_h < y
    assert svg.count('class="edge"') == sum(len(node.inputs) for node in graph)
    for node in graph:
        assert all(boxes[node.name][1] > boxes[name][1] for name in node.inputs)


def test_an_arrow_starts_and_ends_at_its_boxes(extension):
    diagram = extension("diagram")
    svg = diagram.svg([diagram.Box("a", [[("a", "")]], ()), diagram.Box("b", [[("b", "")]], ["a"])], "two")
    (x, y, width, height), below = rectangles(svg)["a"], rectangles(svg)["b"]
    start, *_, end = re.findall(r"[\d.]+ [\d.]+", re.search(r'class="edge" d="([^"]*)"', svg)[1])
    assert start == f"{x + width / 2:.1f} {y + height:.1f}"
    assert end == f"{below[0] + width / 2:.1f} {below[1] - 5:.1f}"


def test_names_lead_to_the_code_and_ops_to_their_pages(extension, monkeypatch):
    pages = extension("network_pages")
    monkeypatch.setattr(pages, "link_to_file", lambda env, path, line="": f"{path}#{line}")
    directive = SimpleNamespace(env=None, calls=lambda node: pages.NetworkDirective.calls(directive, node))
    for node in graph_of("tiny-scenes"):
        box = pages.NetworkDirective.box(directive, node)
        assert box.lines[0][0][1] == f"{node.place.file}#{node.place.line}"
        links = [link for _, link in box.lines[1] if link]
        assert links == [f"reference/ops/{call.op}.py#" for call in node.calls if call.op in op_names()]
        text = " ".join(part for line in box.lines for part, _ in line)
        assert (f"{node.parameters:,} parameter" in text) == bool(node.parameters)


def test_examples(extension):
    assert doctest.testmod(extension("network_pages")).failed == 0
