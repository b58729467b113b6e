"""The cost of a whole pass: images through the network, or one step of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from backends.numpy.threads import thread_count
from reference.layers import Context, is_trained
from reference.networks import Network, Objective, build_network
from segattn_cli.config import Config
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

#: How many arrays an optimiser has for each parameter that is trained: a momentum, or means of gradient and square.
OPTIMISER_ARRAYS = {"sgd": 1, "adamw": 2}


class Cost(NamedTuple):
    """What one pass costs, in float32."""

    parameters: int  # trained values
    statistics: int  # running means and variances of the batch norms
    multiply_adds: int  # of convolutions, linear maps and attentions, which are nearly all of the arithmetic
    saved_bytes: int  # arrays that wait for the backward pass; of inference none
    pass_bytes: int  # the most of images, activations and gradients that is alive at once, and the workspaces
    state_bytes: int  # what is there all the time: weights and, in training, the optimiser's arrays and an average

    @property
    def peak_bytes(self) -> int:
        return self.pass_bytes + self.state_bytes


def inference(network: Network, batch: int, height: int, width: int, *, threads: int | None = None) -> Cost:
    """The cost of the scores of images ``(batch, height, width, 3)`` at their own size, with folded batch norms.

    >>> from reference.networks import NetworkConfig, build_network
    >>> cost = inference(build_network(NetworkConfig(classes=5, head="fcn")), 1, 64, 96)
    >>> cost.parameters, f"{cost.multiply_adds / 1e6:.1f} million"
    (171765, '18.4 million')
    """
    shapes = network.shapes()
    meter = CostMeter()
    ops = CountingOps(meter)
    folded = network.fold(_arrays(shapes))
    images = ShapeArray((batch, height, width, 3), np.float32, meter)
    scores = network.predict(images, Context(ops, folded, overwrite=True))
    if scores.shape[1:3] != (height, width):
        ops.resize_bilinear(scores, (height, width), align_corners=network.config.align_corners)
    trained, statistics = _sizes(shapes)
    total = meter.total(threads or thread_count())
    return Cost(trained, statistics, meter.forward, 0, total, 4 * (trained + statistics))


def training_step(
    objective: Objective, batch: int, height: int, width: int, *, batch_statistics: bool = True,
    accumulate: int = 1, average: bool = False, optimiser: str = "sgd", threads: int | None = None,
) -> Cost:
    """The cost of a step of training.

    Args:
        objective: of the network, with the weights of its losses.
        batch: images ``(height, width)`` in one pass.
        batch_statistics: whether batch norms measure the batch, or are frozen.
        accumulate: passes whose gradients make one step; the images of all of them are there from the start.
        average: whether there is a moving average of the weights.
        optimiser: a key of :data:`OPTIMISER_ARRAYS`.
        threads: of the backend, each of which has a workspace of its own; by default those of this machine.

    >>> from reference.networks import NetworkConfig, build_network
    >>> objective = Objective(build_network(NetworkConfig(classes=5, head="fcn")))
    >>> step, double = (training_step(objective, 2, 64, 96, accumulate=count) for count in (1, 2))
    >>> double.multiply_adds / step.multiply_adds, double.saved_bytes == step.saved_bytes
    (2.0, True)
    """
    shapes = objective.network.shapes()
    params = _arrays(shapes)
    meter = CostMeter()
    ops = CountingOps(meter)

    def draw_mask(name: str, shape: tuple[int, ...], rate: float) -> ShapeArray:
        ShapeArray(shape, np.float32, meter)  # random numbers, dropped when they have been compared with the rate
        return ShapeArray(shape, np.bool_, meter)

    saved = 0
    gradients: dict[str, ShapeArray] = {}
    pixels = (batch, height, width)
    batches = [
        (ShapeArray((*pixels, 3), np.float32, meter), ShapeArray(pixels, np.int32, meter))
        for _ in range(accumulate)
    ]
    passes = min(accumulate, 2)  # a third needs what the second did, but for sums that wait
    waiting: list[list[ShapeArray]] = []  # beside the sum that the last gradients are added to
    for images, labels in batches[:passes]:
        if gradients:
            # of the tree of sums (segattn_cli.ranks.sums): one for each 1 in the number of passes that are done
            most = max(done.bit_count() for done in range(accumulate))
            waiting = [[ShapeArray(g.shape, g.dtype, meter) for g in gradients.values()] for _ in range(most - 1)]
        ctx = Context(
            ops, params, save_for_backward=True, batch_statistics=batch_statistics, draw_mask=draw_mask
        )
        before = meter.alive
        loss = objective.forward(images, labels, ctx)
        saved = max(saved, meter.alive - before)
        for name, gradient in objective.backward(ctx).items():
            gradients[name] = gradients[name] + gradient if name in gradients else gradient
    del loss, ctx, waiting
    largest = max(gradient.size for gradient in gradients.values())
    ShapeArray((largest,), np.float64, meter)  # dropped by the norm: the squares of one gradient after the other
    trained, statistics = _sizes(shapes)
    copies = 2 if average else 1  # of everything, and the optimiser's arrays for what is trained
    multiply_adds = (meter.forward + meter.backward) * accumulate // passes
    total = meter.total(threads or thread_count())
    state = 4 * (copies * (trained + statistics) + OPTIMISER_ARRAYS[optimiser] * trained)
    return Cost(trained, statistics, multiply_adds, saved, total, state)


def configured_step(config: Config, classes: int, batch: int, size: tuple[int, int]) -> Cost:
    """The cost of the step that ``config`` describes, on ``batch`` images of this height and width in one pass."""
    network = build_network(config.network_config(classes))
    return training_step(
        Objective(network, config.loss, terms=config.loss), batch, *size,
        batch_statistics=config.training.batch_norm != "frozen", accumulate=config.optimiser.accumulate,
        average=config.training.ema is not None, optimiser=config.optimiser.kind,
    )  # fmt: skip


def _arrays(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, ShapeArray]:
    """Parameters; their memory is counted as state, not as a part of a pass."""
    meter = CostMeter()
    return {name: ShapeArray(shape, np.float32, meter) for name, shape in shapes.items()}


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """How many values are trained, and how many are running statistics."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    trained = sum(size for name, size in sizes.items() if is_trained(name))
    return trained, sum(sizes.values()) - trained
