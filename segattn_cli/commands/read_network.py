"""``segattn read NETWORK``: what a network computes, in order, with its code and its equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segattn_cli.commands.shared.json import print_json
from segattn_cli.commands.shared.terminal import console, plain, say

if TYPE_CHECKING:
    from rich.table import Table

    from segattn_cli.costs.network_graph import Node
    from segattn_cli.reading.equations import Entry


#: Columns below which a layer is a sentence in place of a row.
NARROW = 72


def read_network(name: str, as_json: bool) -> None:
    """Print the network that ``name`` describes, for an image of the size of the crops in training."""
    from reference.networks import build_network
    from segattn_cli.commands.shared.networks import classes_of_data, described_network
    from segattn_cli.costs.network_graph import by_layer, grouped, network_graph
    from segattn_cli.rendering.style import dimensions

    config, known = described_network(name, ())
    classes = known or classes_of_data(config)
    size = config.augmentation.crop
    nodes = grouped(network_graph(build_network(config.network_config(classes)), *size), by_layer)
    if as_json:
        print_json({
            "name": config.name, "network": config.network.parts(), "classes": classes, "size": size,
            "nodes": [_facts(node) for node in nodes], "equations": [each.name for each in equations_of(nodes)],
        })  # fmt: skip
        return
    out = console()
    out.print(f"[bold]{plain(config.name)}[/]: {classes} classes, one image of {dimensions(size)}")
    if out.width < NARROW:
        for node in nodes:
            say(_sentence(node))
    else:
        out.print(_table(nodes))
    if any(node.training_only for node in nodes):
        out.print("* only in training", style="dim")
    for layer, place in _code(nodes).items():
        say(f"{layer}  {place}")
    print()
    equations = equations_of(nodes)
    for entry in equations:
        say(f"{entry.name}: {entry.formula}  ({entry.what})")
    if equations:
        print()
    say(f"segattn read OP shows the code of an op: {', '.join(_ops_in_order(nodes))}")


def equations_of(nodes: Sequence[Node]) -> list[Entry]:
    """The numbered equations of both papers that the network computes, by the ops that it calls."""
    from segattn_cli.reading.equations import papers

    ops = set(_ops_in_order(nodes))
    numbered = [each for paper in papers() for each in paper.entries if each.name]
    return [each for each in numbered if ops.issuperset(place.function for place in each.places)]


def _ops_in_order(nodes: Sequence[Node]) -> list[str]:
    from segattn_cli.reading.op_source import op_names

    return [op for op in dict.fromkeys(op for node in nodes for op in node.ops) if op in op_names()]


def _table(nodes: Sequence[Node]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("\nlayer", overflow="fold")
    table.add_column("\nwhat it computes", overflow="fold")
    table.add_column("output\nH×W×C")
    table.add_column("\nparameters", justify="right", no_wrap=True)
    table.add_column("multiply-adds\nmillions", justify="right", no_wrap=True)
    for node in nodes:
        table.add_row(
            plain(_marked_name(node)), plain(node.about), "\n".join(_shapes(node)),
            f"{node.parameters:,}" if node.parameters else "", _millions(node),
        )  # fmt: skip
    return table


def _sentence(node: Node) -> str:
    parts = [
        f"{_marked_name(node)}: {node.about}", " and ".join(_shapes(node)),
        f"{node.parameters:,} parameter{'s' * (node.parameters > 1)}" if node.parameters else "",
        f"{_millions(node)} million multiply-adds" if node.multiply_adds else "",
    ]  # fmt: skip
    return ", ".join(filter(None, parts))


def _marked_name(node: Node) -> str:
    return node.name + (" *" if node.training_only else "")


def _shapes(node: Node) -> list[str]:
    """The shapes of the output at all scales."""
    from segattn_cli.rendering.style import dimensions

    return list(dict.fromkeys(dimensions(shape) for shape in node.shapes.values()))


def _millions(node: Node) -> str:
    return f"{node.multiply_adds / 1e6:,.1f}" if node.multiply_adds else ""


def _code(nodes: Sequence[Node]) -> dict[str, str]:
    """Each class whose ``forward`` computes a part, with its file and the line of the first call in it."""
    places: dict[str, str] = {}
    for node in nodes:
        for place in node.places:
            places.setdefault(place.layer, f"{place.file}:{place.line}")
    return places


def _facts(node: Node) -> dict[str, Any]:
    return {
        "name": node.name, "about": node.about, "ops": node.ops, "inputs": node.inputs, "shapes": dict(node.shapes),
        "parameters": node.parameters, "multiply_adds": node.multiply_adds, "training_only": node.training_only,
        "file": node.place.file, "function": node.place.function, "line": node.place.line,
    }  # fmt: skip
