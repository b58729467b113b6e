"""Experiments: the prediction with an attention removed or made uniform, and with scales fused otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.contract import Array
from segattn_cli.explaining.passes import Passes, UniformAttention

#: Called with the name of each part before it is computed.
Report = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """The prediction of the same network, without training it anew, after one change."""

    name: str  # for files: "position-removed"
    title: str  # for people
    what: str  # the change
    label: np.ndarray  # (H, W) uint8


def run_experiments(
    passes: Passes, alone: Sequence[Array], position: Any, channel: Any, report: Report
) -> Iterator[Experiment]:
    """Every experiment that the network has parts for.

    Args:
        alone: the scores of each scale, on one grid; empty for a network of one scale.
        position, channel: the branches of the two attentions, or None.
    """
    for branch, kind, gate, mean in (
        (position, "position", "α", "every pixel gathers the mean of all pixels"),
        (channel, "channel", "β", "every channel gathers the mean of all channels"),
    ):
        if branch is None:
            continue
        report(f"without {kind} attention")
        label = passes.without(branch.attention.gate)
        yield Experiment(f"{kind}-removed", f"{kind} attention removed", f"{gate} = 0", label)
        report(f"uniform {kind} attention")
        uniform = passes.forward(ops=UniformAttention(passes.ops, f"{kind}_attention"))
        yield Experiment(f"{kind}-uniform", f"{kind} attention made uniform", mean, passes.label(uniform.main))
    if position is not None and channel is not None:
        report("without attention")
        label = passes.without(position.attention.gate, channel.attention.gate)
        yield Experiment("attention-removed", "both attentions removed", "α = β = 0", label)
    config = passes.network.config
    for scale, scores in zip(config.scales, alone, strict=False):
        what = f"the score map of scale {scale:g} by itself"
        yield Experiment(f"scale-{scale:g}", f"scale {scale:g} only", what, passes.label(scores))
    if alone and config.fusion != "mean":
        what = "the mean of all score maps in place of their fusion"
        yield Experiment("scales-mean", "scales weighed alike", what, passes.label(sum(alone) / len(alone)))
