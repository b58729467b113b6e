"""Train with segattn and with PyTorch side by side, and compare the losses step by step.

    python -m benchmarks.loss_curve fcn-resnet18-camvid --data CamVid --steps 50
    python -m benchmarks.loss_curve fcn-resnet18-camvid --data CamVid --steps 50 --controls

Both start from the same weights and take the same batches, and dropout is off. Two correct implementations in
float32 still part: each rounds in its own way, and a training multiplies such differences from step to step. The
controls show how much of a difference that explains: the same two in float64, and segattn once more from weights
that were changed by a relative 1e-7, which is about one rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.command_line import run
from benchmarks.torch_training import Data, Settings, Source, TorchTraining, configure, say
from reference.layers.linear import Dropout
from segattn_cli.config import Config
from segattn_cli.data import Batch
from segattn_cli.training.batches import batches_from
from segattn_cli.training.setup import TrainingRun, open_run
from segattn_cli.training.state import State
from segattn_cli.training.step import read, take_step

#: The relative change of the weights in the control that shows how a training multiplies roundings.
CHANGE = 1e-7


def loss_curves(
    config: Config, steps: int, *, float64: bool = False, controls: bool = False
) -> dict[str, list[float]]:
    """The losses of the first ``steps`` steps of ``config``, by name: "segattn" and "torch", on equal batches.

    Args:
        float64: compute both in float64 instead of float32.
        controls: add "segattn changed" (from weights changed by :data:`CHANGE`), "segattn float64" and "torch
            float64".
    """
    with TemporaryDirectory() as folder:
        opened = open_run(config, Path(folder) / "run", resume=False)
        trainings: dict[str, SegattnTraining | TorchTraining] = {
            "segattn": SegattnTraining(opened, float64=float64),
            "torch": torch_training(opened, float64=float64),
        }
        if controls:
            trainings |= {
                "segattn changed": SegattnTraining(opened, change=CHANGE),
                "segattn float64": SegattnTraining(opened, float64=True),
                "torch float64": torch_training(opened, float64=True),
            }
        curves: dict[str, list[float]] = {name: [] for name in trainings}
        for batches in islice(batches_from(opened, 0), steps):
            for name, training in trainings.items():
                curves[name].append(training.step(batches))
        opened.close()
    return curves


class SegattnTraining:
    """A training with segattn, without dropout, from the weights of ``opened``, which do not change."""

    def __init__(self, opened: TrainingRun, *, float64: bool = False, change: float = 0.0) -> None:
        for layer in opened.network.sublayers():
            if isinstance(layer, Dropout):
                layer.rate = 0
        rng = np.random.default_rng(0)
        dtype = np.dtype(np.float64 if float64 else np.float32)
        params = {
            name: (value * (1 + change * rng.uniform(-1, 1, value.shape))).astype(dtype)
            for name, value in arrays(opened).items()
        }
        state = State.of(
            params, replace(opened.state.progress), opened.ops, opened.optimiser,
            ema=opened.config.training.ema is not None,
        )
        self.run = replace(opened, state=state, differentiator=replace(opened.differentiator, dtype=dtype))

    def step(self, batches: Sequence[Batch]) -> float:
        """One step on ``batches``; returns the loss before it."""
        (record,) = read(self.run.ops, [take_step(self.run, batches)])
        return record.loss


def torch_training(opened: TrainingRun, *, float64: bool = False) -> TorchTraining:
    """A training with PyTorch, without dropout, from the weights of ``opened``."""
    return TorchTraining(
        opened.config, opened.network.config, arrays(opened), opened.differentiator.objective.class_weights,
        opened.steps, dtype=torch.float64 if float64 else torch.float32, dropout=False,
    )


def arrays(opened: TrainingRun) -> dict[str, np.ndarray]:
    return {name: opened.ops.to_numpy(value) for name, value in opened.state.params.items()}


def largest_difference(curves: Mapping[str, Sequence[float]], one: str, other: str) -> tuple[float, int]:
    """The largest difference of two curves, and its step (from 1).

    >>> largest_difference({"a": [3.0, 2.0, 1.0], "b": [3.0, 2.5, 1.25]}, "a", "b")
    (0.5, 2)
    """
    differences = np.abs(np.subtract(curves[one], curves[other]))
    step = int(differences.argmax())
    return float(differences[step]), step + 1


def main(
    source: Source,
    settings: Settings = None,
    data: Data = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Number of steps.")] = 50,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also train in float64, and from slightly changed weights.")
    ] = False,
) -> None:
    """Print the losses of both at every step, and the largest differences."""
    config = configure(source, settings, data)
    curves = loss_curves(config, steps, controls=controls)
    names = list(curves)
    print("step", *names, sep="\t")
    for number, losses in enumerate(zip(*curves.values(), strict=True), 1):
        print(number, *(f"{loss:.7f}" for loss in losses), sep="\t")
    pairs = [("segattn", "torch")]
    if controls:
        pairs += [("segattn", "segattn changed"), ("segattn float64", "torch float64")]
        pairs += [("segattn", "segattn float64"), ("torch", "torch float64")]
    for one, other in pairs:
        difference, step = largest_difference(curves, one, other)
        say(f"{one} and {other} differ by at most {difference:.1e}, at step {step} of {len(curves[one])}.")


if __name__ == "__main__":
    run(main)
