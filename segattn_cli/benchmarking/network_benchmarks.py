"""The suites of whole networks, and a GPU's network: shapes, and our side of each, a train step and inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from backends import get_backend
from backends.contract import Ops
from backends.precision import array_dtype, cast_weights
from reference.layers import Context
from reference.networks import NetworkConfig, Objective, build_network, is_trained
from segattn_cli.benchmarking.agreement import (
    GRADIENT_ERRORS,
    SCORE_ERRORS,
    networks_difference,
    networks_errors,
)
from segattn_cli.benchmarking.benchmark import Benchmark, Shape, Variants, times
from segattn_cli.config import OptimiserSection
from segattn_cli.costs.cost import inference, training_step
from segattn_cli.training.averages import update_running_statistics
from segattn_cli.training.optimiser import sgd_step

#: Gates start at 0, where the attentions behind them get no gradient.
GATE = 0.5
#: A small rate: many steps on random labels must not run away. The peer has the same.
OPTIMISER = OptimiserSection(learning_rate=1e-3, momentum=0.9, weight_decay=1e-4)
BATCH_NORM_MOMENTUM = 0.1
#: What the loss is multiplied by in float16, on both sides; training finds such a factor by itself.
LOSS_SCALE = 1024.0
#: A small batch, on which a process loads and compiles what a network needs.
WARM_UP = (1, 65, 65)
#: PyTorch's. What runs only once takes the second, in which networks are at least as fast.
LAYOUTS = ("contiguous", "channels-last")
TRAIN_AND_INFER = ("train", "infer")


class NetworkSetup(NamedTuple):
    """A network with weights, images and labels: the same ones for every side, drawn when they are needed."""

    config: NetworkConfig
    shape: Shape  # (B, H, W)

    def images(self) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((*self.shape, 3), np.float32)

    def labels(self) -> np.ndarray:
        labels = np.random.default_rng(2).integers(self.config.classes, size=self.shape, dtype=np.int32)
        labels[:, ::7] = 255
        return labels

    def params(self) -> dict[str, np.ndarray]:
        """Initial weights with open gates, and running statistics as one small image has them."""
        return _params(self.config)


@lru_cache(maxsize=1)
def _params(config: NetworkConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    network = build_network(config)
    params = network.initialise(seed=0)
    for name, value in params.items():
        if name.endswith(".gate"):
            params[name] = np.full_like(value, GATE)
        elif name == "scale_attention.conv2.weight":  # starts at 0: equal weights
            params[name] = rng.standard_normal(value.shape, np.float32) * np.float32(0.05)
    ops = get_backend("numpy")
    ctx = Context(ops, params, batch_statistics=True)
    network.forward(rng.standard_normal((1, 97, 97, 3), np.float32), ctx)
    update_running_statistics(ops, params, ctx.statistics, 1.0)
    return params


class BackendNetwork:
    """Our side: the network with the ops of a backend; ``exact``ly, in float64 from the same weights and images."""

    def __init__(
        self, trial: NetworkSetup, works: Sequence[str], ops: Ops, precision: str = "float32", *,
        exact: bool = False,
    ) -> None:
        self.ops, self.network = ops, build_network(trial.config)
        self.dtype = np.dtype(np.float64) if exact else array_dtype(precision)
        self.scale = LOSS_SCALE if self.dtype == np.float16 else 1.0
        self.images = ops.asarray(trial.images().astype(self.dtype))
        self.labels = ops.asarray(trial.labels())
        params = {name: value.astype(np.float64 if exact else np.float32) for name, value in trial.params().items()}
        own: dict[str, Callable[[], None]] = {"train": self.train, "infer": self.infer}
        self.works = {work: own[work] for work in works}
        self.loss: Any = None
        self.gradients: dict[str, Any] = {}
        self.scores: Any = None
        if "train" in works:
            self.objective = Objective(self.network)
            self.params = {name: ops.asarray(value.copy()) for name, value in params.items()}  # changed in place
            self.momentum = {
                name: ops.asarray(np.zeros_like(value)) for name, value in params.items() if is_trained(name)
            }
        if "infer" in works:
            folded = {name: ops.asarray(value) for name, value in self.network.fold(params).items()}
            self.folded = cast_weights(folded, self.dtype)

    def train(self) -> None:
        self.loss, self.gradients = None, {}
        weights = cast_weights(self.params, self.dtype)
        ctx = Context(self.ops, weights, save_for_backward=True, batch_statistics=True)
        loss = self.objective.forward(self.images, self.labels, ctx)
        self.gradients = self.objective.backward(ctx, self.scale)
        apply: Any = True
        if self.scale != 1:  # every step in float16 has to ask; the answer stays on the device
            apply = self.ops.sum_of_squares(list(self.gradients.values())) < np.inf
        sgd_step(
            self.ops, self.params, self.momentum, self.gradients, OPTIMISER.learning_rate, OPTIMISER,
            scale=1 / self.scale, apply=apply,
        )  # fmt: skip
        update_running_statistics(self.ops, self.params, ctx.statistics, BATCH_NORM_MOMENTUM, apply=apply)
        self.loss = loss.total

    def infer(self) -> None:
        self.scores = None
        scores = self.network.predict(self.images, Context(self.ops, self.folded))
        self.scores, _ = self.ops.resize_bilinear(scores, self.images.shape[1:3])

    def results(self) -> dict[str, np.ndarray]:
        """Loss, gradients and scores of the last calls."""
        found = {} if self.loss is None else {"loss": self.ops.to_numpy(self.loss)}
        for name, gradient in self.gradients.items():
            value = self.ops.to_numpy(gradient)
            found[f"d {name}"] = value if self.scale == 1 else value.astype(np.float32) / np.float32(self.scale)
        return found if self.scores is None else found | {"scores": self.ops.to_numpy(self.scores)}


def networks_cases() -> list[Benchmark]:
    """The suite ``networks``: a train step and inference of three networks on 11 classes."""
    dual = NetworkConfig(classes=11, backbone="resnet18", head="dual")
    dual50 = NetworkConfig(classes=11, backbone="resnet50", head="dual")
    two_scales = NetworkConfig(classes=11, backbone="resnet18", head="dual", scales=(1.0, 0.5))
    return [
        network_case("networks", "DANet-ResNet18", dual, (2, 360, 480)),
        network_case("networks", "DANet-ResNet50", dual50, (2, 240, 240)),
        network_case("networks", "dual-scale DANet-ResNet18", two_scales, (1, 360, 480)),
    ]


def memory_cases() -> list[Benchmark]:
    """The suite ``memory``: one picture of Cityscapes' size."""
    config = NetworkConfig(classes=19, backbone="resnet50", head="dual")
    return [network_case("memory", "DANet-ResNet50", config, (1, 1024, 2048), ("infer",), once=True)]


def gpu_network_cases() -> list[Benchmark]:
    """Of the suite ``gpu``: a train step and inference at the size of training on Cityscapes."""
    config = NetworkConfig(classes=19, backbone="resnet50", head="dual")
    return [replace(network_case("gpu", "DANet-ResNet50", config, (2, 768, 768)), device="cuda")]


def network_case(
    suite: str, subject: str, config: NetworkConfig, shape: Shape, works: Sequence[str] = TRAIN_AND_INFER, *,
    once: bool = False,
) -> Benchmark:
    """Train steps and inference of one network on images ``(B, H, W)``."""
    trial = NetworkSetup(config, shape)
    return Benchmark(
        suite, subject, times(shape), [(work,) for work in works],
        operations=partial(_operations, trial, works),
        ours=partial(BackendNetwork, trial, works),
        torch=partial(_torch, trial, works, LAYOUTS[1:] if once else LAYOUTS),
        difference=networks_difference,
        errors=networks_errors,
        tolerances={"train": GRADIENT_ERRORS, "infer": SCORE_ERRORS},
        warm_up=partial(network_case, suite, subject, config, WARM_UP, works, once=once),
        once=once,
    )  # fmt: skip


def _operations(trial: NetworkSetup, works: Sequence[str]) -> Mapping[str, int | None]:
    network = build_network(trial.config)
    step = partial(training_step, Objective(network))
    costs = {"train": step, "infer": partial(inference, network)}
    return {work: 2 * costs[work](*trial.shape).multiply_adds for work in works}


def _torch(
    trial: NetworkSetup, works: Sequence[str], layouts: Sequence[str], *, device: str = "cpu",
    precision: str = "float32", compiled: bool | None = None,
) -> Variants:
    """PyTorch's ways. Its compiler takes minutes for a network, so it has to be asked for."""
    from segattn_cli.benchmarking.baselines.torch_danet import peers

    config = trial.config
    return peers(
        config.backbone, config.classes, config.scales, trial.params(), trial.images(),
        trial.labels(), works,
        layouts=layouts, device=device, precision=precision, compiled=bool(compiled),
    )  # fmt: skip
