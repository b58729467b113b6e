"""Totals against counts by hand and, for memory, against a pass of the backend ``numpy`` under tracemalloc."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from backends import get_backend
from backends.numpy.threads import set_thread_count
from reference.layers import Context
from reference.networks import Network, NetworkConfig, Objective, build_network
from segattn_cli.checking.network_checks import NETWORKS
from segattn_cli.config import load_config
from segattn_cli.costs.cost import configured_step, inference, training_step
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.training import RunStarted, StepDone, train
from segattn_cli.training.state import Progress, State

MEASURED = {
    **{name: (config, (2, 192, 256)) for name, config in NETWORKS.items()},
    "danet-resnet18": (NetworkConfig(classes=11, backbone="resnet18", head="dual"), (2, 180, 240)),
    "danet-resnet18, two scales": (
        NetworkConfig(classes=11, backbone="resnet18", head="dual", scales=(1.0, 0.5)), (2, 180, 240)
    ),
    "vgg16": (NetworkConfig(classes=21, backbone="vgg16", head="largefov", head_channels=256), (1, 129, 129)),
}  # fmt: skip
#: What the count may be off by.
TOLERANCE = 0.1


def test_a_whole_network_by_hand() -> None:
    network = build_network(NetworkConfig(classes=5, head="fcn"))
    # five convolutions 3-16-32-64-64-128 and the head's 128-32 have 3×3 kernels and norms, the classifier a bias
    weights = [9 * a * b for a, b in [(3, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 32)]]
    channels = 16 + 32 + 64 + 64 + 128 + 32
    pixels = [32 * 48, 16 * 24, 8 * 12, 8 * 12, 8 * 12, 8 * 12]  # of a 64×96 image, at stride 2, 4, 8, 8, 8, 8
    first, *others = (n * weight for n, weight in zip(pixels, weights, strict=True))
    forward = first + sum(others) + 96 * 32 * 5
    found = inference(network, 1, 64, 96)
    assert (found.parameters, found.statistics) == (sum(weights) + 2 * channels + 32 * 5 + 5, 2 * channels)
    assert (found.multiply_adds, found.kept_bytes) == (forward, 0)
    assert found.state_bytes == 4 * (found.parameters + found.statistics)
    step = training_step(Objective(network), 2, 64, 96)
    assert step.multiply_adds == 2 * (3 * forward - first)  # nobody needs the gradient of the images
    assert step[:2] == found[:2]


def test_kept_memory_by_hand() -> None:
    """A norm keeps what it normalises and what comes of it, the next convolution the latter, too."""
    network = build_network(NetworkConfig(classes=5, head="fcn"))
    maps = [1536 * 16, 384 * 32, 96 * 64, 96 * 64, 96 * 128, 96 * 32]
    channels = 16 + 32 + 64 + 64 + 128 + 32
    after_dropout, scores, resized = 96 * 32, 96 * 5, 64 * 96 * 5
    interpolation = 64 * 8 + 96 * 12  # the two matrices
    values = 2 * sum(maps) + 2 * channels + after_dropout + scores + resized + interpolation
    mask = 32  # a byte for each channel
    loss = 2  # the total and its one part
    assert training_step(Objective(network), 1, 64, 96).kept_bytes == 4 * (values + loss) + mask


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        # torchvision's ResNet-50 has 25,557,032, of which its last layer 2049·1000
        (NetworkConfig(classes=19, backbone="resnet50", head="dual"), 23_508_032 + 23_954_619),
        (NetworkConfig(classes=19, backbone="resnet101", head="dual"), 42_500_160 + 23_954_619),
    ],
)
def test_parameters_of_known_networks(config: NetworkConfig, parameters: int) -> None:
    assert inference(build_network(config), 1, 64, 64).parameters == parameters


def test_parameters_of_danets_head_by_hand() -> None:
    def conv_norm(a: int, b: int) -> int:
        return 9 * a * b + 2 * b

    def linear(a: int, b: int) -> int:
        return a * b + b

    branch = conv_norm(2048, 512) + conv_norm(512, 512)
    position = 2 * linear(512, 64) + linear(512, 512) + 1
    assert 2 * branch + position + 1 + 3 * linear(512, 19) == 23_954_619


@pytest.fixture(params=MEASURED)
def measured(request: pytest.FixtureRequest) -> tuple[Network, dict[str, np.ndarray], tuple[int, int, int]]:
    config, shape = MEASURED[request.param]
    network = build_network(config)
    params = network.initialise(0)
    small = np.zeros((1, 41, 57, 3), np.float32)
    network.predict(small, Context(get_backend("numpy"), params))  # threads and the like are made once
    return network, params, shape


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """With several, the peak depends on which of them meet."""
    set_thread_count(1)
    yield
    set_thread_count(None)


@contextmanager
def traced() -> Iterator[Callable[[], tuple[int, int]]]:
    """What is allocated now and was at most, since the start."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield lambda: tuple(each - before for each in tracemalloc.get_traced_memory())  # type: ignore[return-value]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("_one_thread")
def test_memory_of_inference(measured: tuple[Network, dict[str, np.ndarray], tuple[int, int, int]]) -> None:
    network, params, shape = measured
    ops, folded = get_backend("numpy"), network.fold(params)
    with traced() as memory:
        images = np.zeros((*shape, 3), np.float32)
        ops.resize_bilinear(network.predict(images, Context(ops, folded)), shape[1:])
        _, peak = memory()
    assert inference(network, *shape).pass_bytes == pytest.approx(peak, rel=TOLERANCE)


@pytest.mark.usefixtures("_one_thread")
def test_memory_of_a_training_step(measured: tuple[Network, dict[str, np.ndarray], tuple[int, int, int]]) -> None:
    network, params, shape = measured
    rng = np.random.default_rng(0)
    with traced() as memory:
        images, labels = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.int32)
        before, _ = memory()
        ctx = Context(
            get_backend("numpy"), params, save_for_backward=True, batch_statistics=True,
            draw_mask=lambda name, shape, rate: rng.random(shape, np.float32) >= rate,
        )
        objective = Objective(network)
        loss = objective.forward(images, labels, ctx)
        kept = memory()[0] - before
        objective.backward(ctx)
        _, peak = memory()
    assert loss.total.shape == ()
    counted = training_step(Objective(network), *shape)
    assert counted.kept_bytes == pytest.approx(kept, rel=TOLERANCE)
    assert counted.pass_bytes == pytest.approx(peak, rel=TOLERANCE)


def test_what_training_holds_all_the_time() -> None:
    network = build_network(NETWORKS["tiny-dual-attention"])
    for average in (False, True):
        state = State.of(network.initialise(0), Progress(), get_backend("numpy"), ema=average)
        held = sum(array.nbytes for array in state.arrays(get_backend("numpy")).values())
        assert training_step(Objective(network), 1, 41, 57, average=average).state_bytes == held


def test_accumulated_gradients_are_held_through_the_next_pass() -> None:
    network = build_network(NETWORKS["resnet18-dual"])
    once, twice, often = (training_step(Objective(network), 1, 41, 57, accumulate=count) for count in (1, 2, 5))
    waiting = 3 * 4 * (3 + 1) * 41 * 57  # images and labels of three more passes
    assert often == twice._replace(multiply_adds=5 * once.multiply_adds, pass_bytes=twice.pass_bytes + waiting)
    assert 2 * 4 * once.parameters < twice.pass_bytes < once.pass_bytes + 4 * once.parameters
    assert twice.kept_bytes == once.kept_bytes


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("changes", [["optimiser.clip_norm=1e-9"], ["optimiser.accumulate=4", "training.ema=0.9"]])
def test_memory_of_a_training(changes: list[str], tmp_path: Path) -> None:
    """From its start to its second step, with all that it holds; the weights are most of it here."""
    config = load_config(
        "tiny-scenes",
        ["network.backbone=resnet18", "network.head=fcn", "network.scales=[1.0]", "network.scale_classifier=none",
         "augmentation.crop=[48, 64]", "training.batch_size=2", "training.max_steps=2", "training.backend=numpy",
         *changes],
    )  # fmt: skip
    with traced() as memory, closing(train(config, tmp_path)) as events:
        assert isinstance(next(events), RunStarted)
        tracemalloc.reset_peak()
        assert [isinstance(next(events), StepDone) for _ in range(2)] == [True, True]
        _, peak = memory()
    counted = configured_step(config, len(CLASSES), 2, config.augmentation.crop)
    assert counted.peak_bytes == pytest.approx(peak, rel=TOLERANCE)


def test_more_threads_need_more() -> None:
    network = build_network(NETWORKS["tiny-fcn"])
    one, four = (inference(network, 4, 192, 256, threads=threads) for threads in (1, 4))
    assert one.pass_bytes < four.pass_bytes
    assert four == one._replace(pass_bytes=four.pass_bytes)


def test_a_configuration_says_all_that_a_step_depends_on() -> None:
    config = load_config("tiny-scenes", ["training.ema=0.9", "optimiser.accumulate=2"])
    network = build_network(config.network_config(8))
    wanted = training_step(Objective(network), 3, 96, 128, accumulate=2, average=True)
    assert configured_step(config, 8, 3, (96, 128)) == wanted
    fewer = load_config("tiny-scenes", ["loss.extra_supervision=0", "training.batch_norm=frozen"])
    assert configured_step(fewer, 8, 3, (96, 128)).kept_bytes < wanted.kept_bytes


def test_shapes_need_no_values() -> None:
    for config in NETWORKS.values():
        network = build_network(config)
        assert network.shapes() == {name: value.shape for name, value in network.initialise(0).items()}
    huge = build_network(NetworkConfig(classes=2, head="largefov", head_channels=2**16)).shapes()
    assert sum(map(math.prod, huge.values())) > 2**32
