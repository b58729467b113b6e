"""Whole networks on a backend and on the reference: same weights, same images, layer by layer.

Each network is checked in two ways.

- **lock step**: every call of every op, with the shapes and values that it meets in the network, both sides
  starting from the same inputs. The tolerance is that of a single op, so a small error anywhere shows, and is
  named. Training (forward and backward) and inference with folded batch norms.
- **end to end**: each side computes by itself, from the images to the loss and, in float64, on to the gradients.
  Here rounding adds up; what the reference loses in float32 against float64 says how much. Gradients of a float32
  run are left to the lock step: where a ReLU's input is almost 0 its sign is a matter of rounding, and a flipped
  sign changes a gradient by far more than rounding does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

import reference.ops as oracle
from backends.contract import Ops
from backends.precision import array_dtype, cast
from backends.tolerances import Comparison, compare, failure
from reference.layers import Context
from reference.networks import NetworkConfig, Objective, build_network
from segattn_cli.checking.lockstep import LockStep, plain_dtype, plain_error
from segattn_cli.checking.results import CheckResult, summarise

#: Small networks that together have every head, fusion, kind of supervision and scale classifier.
NETWORKS = {
    "tiny-fcn": NetworkConfig(classes=5, head="fcn", output_stride=4),
    "tiny-position-max": NetworkConfig(classes=4, head="position", scales=(1.0, 0.5), fusion="max"),
    "tiny-channel-mean": NetworkConfig(
        classes=6, head="channel", channel_form="paper", scales=(1.0, 0.75, 0.5), fusion="mean",
        scale_classifier="detached", align_corners=True,
    ),
    "tiny-dual-attention": NetworkConfig(
        classes=5, head="dual", scales=(0.5, 1.0), fusion="attention", scale_attention_channels=32,
        scale_classifier="attached",
    ),
    "tiny-largefov-attention": NetworkConfig(
        classes=4, head="largefov", head_channels=48, scales=(1.0, 0.5), scale_attention_channels=32,
    ),
    "resnet18-dual": NetworkConfig(classes=11, backbone="resnet18", head="dual"),
    "resnet18-auxiliary": NetworkConfig(
        classes=3, backbone="resnet18", deep_stem=True, stem_channels=32, head="fcn", auxiliary_head=True,
    ),
    "resnet18-decoder": NetworkConfig(
        classes=4, backbone="resnet18", output_stride=16, head="position", decoder=True, scales=(1.0, 0.5),
        scale_attention_channels=32,
    ),
}  # fmt: skip
#: A fast op may lose more digits than a plain one, as long as it keeps its own tolerance. End to end, where such
#: losses add up over the layers, this many times the usual allowance is given.
ADDED_UP = 6
#: Height and width of the images: odd, so that no stride divides them.
IMAGE_SIZE = (41, 57)


class Trial:
    """A network with weights, images and labels, all drawn from a seed."""

    def __init__(self, config: NetworkConfig, seed: int = 0) -> None:
        self.network = build_network(config)
        rng = np.random.Generator(np.random.Philox(key=seed))
        self.params = {name: _moved(value, rng) for name, value in self.network.initialise(seed).items()}
        self.images = rng.standard_normal((2, *IMAGE_SIZE, 3))
        self.labels = rng.integers(config.classes, size=(2, *IMAGE_SIZE)).astype(np.int32)
        self.labels[:, :5] = 255

    def train(
        self, ops: Any, dtype: str, observe: Any, *, backward: bool = True, uniform: bool = False
    ) -> Context:
        """One training pass. ``uniform``: vectors, too, in the dtype of maps."""
        maps = array_dtype(dtype)
        params = {
            name: ops.asarray(value.astype(maps) if uniform else cast(value, maps))
            for name, value in self.params.items()
        }
        ctx = Context(
            ops, params, save_for_backward=True, batch_statistics=True, observe=observe,
            draw_mask=lambda name, shape, rate: ops.asarray(_mask(name, shape, rate)),
        )  # fmt: skip
        objective = Objective(self.network)
        objective.forward(ops.asarray(self.images.astype(maps)), ops.asarray(self.labels), ctx)
        if backward:
            objective.backward(ctx)
        return ctx

    def predict(self, ops: Any, dtype: str, observe: Any) -> None:
        """Inference with folded batch norms."""
        folded = self.network.fold({name: value.astype("float64") for name, value in self.params.items()})
        maps = array_dtype(dtype)
        params = {name: ops.asarray(cast(value, maps)) for name, value in folded.items()}
        self.network.predict(ops.asarray(self.images.astype(maps)), Context(ops, params, observe=observe))


def check_network(backend: Ops, name: str, config: NetworkConfig, dtype: str) -> Iterator[CheckResult]:
    """Compare the network ``config`` on ``backend`` with the reference, in lock step and end to end."""
    trial = Trial(config)
    for case, run in (("training, lock step", trial.train), ("inference, lock step", trial.predict)):
        step = LockStep(backend, dtype, conditioning=True)
        run(step, dtype, step.observe)
        tensors = [(tensor.direction, tensor.path, tensor.comparison) for tensor in step.finish()]
        yield from summarise(name, case, dtype, tensors)
    yield from summarise(name, "training, end to end", dtype, list(_end_to_end(backend, trial, dtype)))


def _end_to_end(backend: Ops, trial: Trial, dtype: str) -> Iterator[tuple[str, str, Comparison]]:
    """Direction, name and comparison of each tensor, up to the first that the backend does not have."""
    backward = dtype == "float64"
    wanted, plain, got = Observed(oracle), Observed(oracle), Observed(backend)
    trial.train(oracle, "float64", wanted, backward=backward)
    with np.errstate(over="ignore", invalid="ignore"):  # what a plain implementation in float16 does
        trial.train(oracle, plain_dtype(dtype), plain, backward=backward, uniform=True)
    lack = "is missing"
    try:
        trial.train(backend, dtype, got, backward=backward)
    except Exception as error:  # as in lock step, a finding
        lack = f"is missing: raised {type(error).__name__}: {error}"

    for n, ((name, reference), (_, rough)) in enumerate(zip(wanted.tensors, plain.tensors, strict=True)):
        direction = "backward" if name.startswith("d ") else "forward"
        if [name] != [each for each, _ in got.tensors[n : n + 1]]:
            yield direction, name, failure(dtype, lack)
            return
        rounding = ADDED_UP * plain_error(reference, rough, dtype, plain_dtype(dtype))
        stored = cast(reference, array_dtype(dtype)).dtype
        yield direction, name, compare(reference, got.tensors[n][1], dtype, plain_error=rounding, stored=stored)


class Observed:
    """Keeps every tensor that it is shown, in order, as it is then."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops
        self.tensors: list[tuple[str, np.ndarray]] = []

    def __call__(self, name: str, array: Any) -> None:
        self.tensors.append((name, np.array(self.ops.to_numpy(array))))


def _moved(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Constants (gates and biases at 0, scales at 1) moved a little, or nothing behind them would be checked."""
    return value + 0.1 * rng.standard_normal(value.shape) if np.ptp(value) == 0 else value.astype("float64")


def _mask(name: str, shape: tuple[int, ...], rate: float) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
    return rng.random(shape) >= rate
