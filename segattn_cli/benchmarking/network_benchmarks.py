"""The suites of whole networks, and a GPU's network: a training step and inference, and our implementation."""

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
from reference.networks import NetworkConfig, Objective, build_network
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
from segattn_cli.training.optimiser import optimiser_of

#: Gates start at 0, where the attentions behind them get no gradient.
GATE = 0.5
#: The rate is small, since many steps on random labels must not diverge. The baseline has the same.
OPTIMISER = OptimiserSection(learning_rate=1e-3, momentum=0.9, weight_decay=1e-4)
BATCH_NORM_MOMENTUM = 0.1
#: What the loss is multiplied by in float16, in both implementations; a training adapts such a factor.
LOSS_SCALE = 1024.0
#: A small batch, on which a process loads and compiles what a network needs.
WARM_UP = (1, 65, 65)
#: PyTorch's. What runs only once takes the second, in which networks are at least as fast.
LAYOUTS = ("contiguous", "channels-last")
TRAIN_AND_INFER = ("train", "infer")


class NetworkSetup(NamedTuple):
    """A network with weights, images and labels, the same for every implementation, drawn when they are needed."""

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


def forget_weights() -> None:
    """Free the weights that were drawn last, of which every implementation has its own."""
    _params.cache_clear()


class BackendNetwork:
    """The network with the ops of a backend; with ``exact``, in float64 from the same weights and images."""

    def __init__(
        self, setup: NetworkSetup, passes: Sequence[str], ops: Ops, precision: str = "float32", *,
        exact: bool = False,
    ) -> None:
        self.ops, self.network = ops, build_network(setup.config)
        self.dtype = np.dtype(np.float64) if exact else array_dtype(precision)
        self.scale = LOSS_SCALE if self.dtype == np.float16 else 1.0
        self.images = ops.asarray(setup.images().astype(self.dtype))
        own_dtype = np.float64 if exact else np.float32
        params = {name: value.astype(own_dtype, copy=False) for name, value in setup.params().items()}
        own: dict[str, Callable[[], None]] = {"train": self.train, "infer": self.infer}
        self.passes = {each: own[each] for each in passes}
        self.loss: Any = None
        self.gradients: dict[str, Any] = {}
        self.scores: Any = None
        if "train" in passes:
            self.labels = ops.asarray(setup.labels())
            self.objective = Objective(self.network)
            self.params = {name: ops.asarray(value.copy()) for name, value in params.items()}  # changed in place
            self.optimiser = optimiser_of(OPTIMISER, params)
            state = self.optimiser.initial_state(params)
            self.optimiser_state = {name: ops.asarray(value) for name, value in state.items()}
        if "infer" in passes:
            folded = {name: ops.asarray(value) for name, value in self.network.fold(params).items()}
            self.folded = ops.constants(cast_weights(folded, self.dtype))

    def train(self) -> None:
        self.loss, self.gradients = None, {}
        weights = cast_weights(self.params, self.dtype)
        ctx = Context(self.ops, weights, save_for_backward=True, batch_statistics=True)
        loss = self.objective.forward(self.images, self.labels, ctx)
        self.gradients = self.objective.backward(ctx, self.scale)
        apply: Any = True
        if self.scale != 1:  # every step in float16 has to ask; the answer stays on the device
            apply = self.ops.sum_of_squares(list(self.gradients.values())) < np.inf
        self.optimiser.step(
            self.ops, self.params, self.optimiser_state, self.gradients, OPTIMISER.learning_rate,
            scale=1 / self.scale, apply=apply,
        )  # fmt: skip
        update_running_statistics(self.ops, self.params, ctx.statistics, BATCH_NORM_MOMENTUM, apply=apply)
        self.loss = loss.total

    def infer(self) -> None:
        self.scores = None
        scores = self.network.predict(self.images, Context(self.ops, self.folded, overwrite=True))
        self.scores, _ = self.ops.resize_bilinear(scores, self.images.shape[1:3])

    def results(self) -> dict[str, np.ndarray]:
        """Loss, gradients and scores of the last calls."""
        results = {} if self.loss is None else {"loss": self.ops.to_numpy(self.loss)}
        for name, gradient in self.gradients.items():
            value = self.ops.to_numpy(gradient)
            results[f"d {name}"] = value if self.scale == 1 else value.astype(np.float32) / np.float32(self.scale)
        return results if self.scores is None else results | {"scores": self.ops.to_numpy(self.scores)}


def networks_suite() -> list[Benchmark]:
    """The suite ``networks``: a train step and inference of three networks on 11 classes."""
    dual = NetworkConfig(classes=11, backbone="resnet18", head="dual")
    dual50 = NetworkConfig(classes=11, backbone="resnet50", head="dual")
    two_scales = NetworkConfig(classes=11, backbone="resnet18", head="dual", scales=(1.0, 0.5))
    return [
        network_benchmark("networks", "DANet-ResNet18", dual, (2, 360, 480)),
        network_benchmark("networks", "DANet-ResNet50", dual50, (2, 240, 240)),
        network_benchmark("networks", "dual-scale DANet-ResNet18", two_scales, (1, 360, 480)),
    ]


def memory_suite() -> list[Benchmark]:
    """The suite ``memory``: one image of Cityscapes' size."""
    config = NetworkConfig(classes=19, backbone="resnet50", head="dual")
    return [network_benchmark("memory", "DANet-ResNet50", config, (1, 1024, 2048), ("infer",), once=True)]


def gpu_network_suite() -> list[Benchmark]:
    """Of the suite ``gpu``: a train step and inference at the size of training on Cityscapes."""
    config = NetworkConfig(classes=19, backbone="resnet50", head="dual")
    return [replace(network_benchmark("gpu", "DANet-ResNet50", config, (2, 768, 768)), device="cuda")]


def network_benchmark(
    suite: str, subject: str, config: NetworkConfig, shape: Shape, passes: Sequence[str] = TRAIN_AND_INFER, *,
    once: bool = False,
) -> Benchmark:
    """Train steps and inference of one network on images ``(B, H, W)``."""
    setup = NetworkSetup(config, shape)
    return Benchmark(
        suite, subject, times(shape), [(each,) for each in passes],
        operations=partial(_operations, setup, passes),
        ours=partial(BackendNetwork, setup, passes),
        torch=partial(_torch, setup, passes, LAYOUTS[1:] if once else LAYOUTS),
        difference=networks_difference,
        errors=networks_errors,
        tolerances={"train": GRADIENT_ERRORS, "infer": SCORE_ERRORS},
        warm_up=partial(network_benchmark, suite, subject, config, WARM_UP, passes, once=once),
        once=once,
        inference=partial(network_benchmark, suite, subject, config, shape, ("infer",), once=once),
        runtime=partial(_runtime, setup),
    )  # fmt: skip


def _operations(setup: NetworkSetup, passes: Sequence[str]) -> Mapping[str, int | None]:
    network = build_network(setup.config)
    step = partial(training_step, Objective(network))
    costs = {"train": step, "infer": partial(inference, network)}
    return {each: 2 * costs[each](*setup.shape).multiply_adds for each in passes}


def _runtime(setup: NetworkSetup, runtime: str) -> Variants:
    from segattn_cli.benchmarking.baselines.runtimes import runtime_variants
    from segattn_cli.exporting.onnx_model import network_proto

    def file() -> bytes:
        return network_proto(build_network(setup.config), setup.params()).SerializeToString()

    return runtime_variants(runtime, file, setup.images)


def _torch(
    setup: NetworkSetup, passes: Sequence[str], layouts: Sequence[str], *, device: str = "cpu",
    precision: str = "float32", compiled: bool | None = None,
) -> Variants:
    """PyTorch's variants; torch.compile is one only where it is asked for, since it takes minutes for a network."""
    from segattn_cli.benchmarking.baselines.torch_danet import danet_variants

    config = setup.config
    return danet_variants(
        config.backbone, config.classes, config.scales, setup.params(), setup.images(),
        setup.labels(), passes,
        layouts=layouts, device=device, precision=precision, compiled=bool(compiled),
    )  # fmt: skip
