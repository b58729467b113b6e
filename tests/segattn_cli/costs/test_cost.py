"""Totals against counts by hand and, for memory, against what real passes allocate, by tracemalloc."""

from __future__ import annotations

import gc
import itertools
import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from backends import get_backend
from backends.contract import Ops
from backends.numpy.threads import set_thread_count
from reference.layers import Context
from reference.networks import Network, NetworkConfig, Objective, build_network
from segattn_cli.checking.network_checks import NETWORKS
from segattn_cli.config import OptimiserSection, load_config
from segattn_cli.costs.cost import OPTIMISER_ARRAYS, configured_step, inference, training_step
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.training import RunStarted, StepDone, train
from segattn_cli.training.optimiser import optimiser_of
from segattn_cli.training.state import Progress, State

MEASURED = {
    **{name: (config, (2, 192, 256)) for name, config in NETWORKS.items()},
    "danet-resnet18": (NetworkConfig(classes=11, backbone="resnet18", head="dual"), (2, 180, 240)),
    "danet-resnet18, two scales": (
        NetworkConfig(classes=11, backbone="resnet18", head="dual", scales=(1.0, 0.5)), (2, 180, 240)
    ),
    "vgg16": (NetworkConfig(classes=21, backbone="vgg16", head="largefov", head_channels=256), (1, 129, 129)),
}  # fmt: skip
#: What a backend takes, as a fraction of the estimate, which is for numba; docs/summary.md has these bounds, too.
PEAKS = {
    "numba": {"saved": (0.98, 1.01), "training": (0.93, 1.07), "inference": (0.85, 1.2)},
    "numpy": {"saved": (0.84, 1.0), "training": (0.55, 1.0), "inference": (0.4, 1.0)},
}
Measured = tuple[Ops, Network, dict[str, np.ndarray], tuple[int, ...]]


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
    assert (found.multiply_adds, found.saved_bytes) == (forward, 0)
    assert found.state_bytes == 4 * (found.parameters + found.statistics)
    step = training_step(Objective(network), 2, 64, 96)
    assert step.multiply_adds == 2 * (3 * forward - first)  # nobody needs the gradient of the images
    assert step[:2] == found[:2]


def test_saved_memory_by_hand() -> None:
    """A norm saves what it normalises and its output, and the next convolution the latter, too."""
    network = build_network(NetworkConfig(classes=5, head="fcn"))
    maps = [1536 * 16, 384 * 32, 96 * 64, 96 * 64, 96 * 128, 96 * 32]
    channels = 16 + 32 + 64 + 64 + 128 + 32
    after_dropout, scores, resized = 96 * 32, 96 * 5, 64 * 96 * 5
    labels = 2 * 64 * 96  # 64 bits
    softmax = 2 * 64 * 96  # the largest score of each pixel, and the sum of its exponentials
    values = 2 * sum(maps) + 2 * channels + after_dropout + scores + resized + labels + softmax
    mask = 32  # a byte for each channel
    loss = 2  # the total and its one part
    assert training_step(Objective(network), 1, 64, 96).saved_bytes == 4 * (values + loss) + mask


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


def backend_of(name: str) -> Ops:
    if name == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: pip install 'segattn[numba]'")
    return get_backend(name)


@pytest.fixture(
    params=[*(("numba", name) for name in MEASURED), ("numpy", "resnet18-dual"), ("numpy", "vgg16")], ids=" ".join
)
def measured(request: pytest.FixtureRequest) -> Measured:
    """A backend, a network, its weights, and batch, height and width of images; one small step has been done."""
    backend, (config, shape) = backend_of(request.param[0]), MEASURED[request.param[1]]
    network = build_network(config)
    params = network.initialise(0)
    step(backend, network, params, (1, 41, 57))  # threads, compiled code and the like are made once
    return backend, network, params, shape


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """With several, the peak depends on which of them meet."""
    set_thread_count(1)
    yield
    set_thread_count(None)


def release(backend: Ops) -> None:
    """Give back the workspaces that a backend holds between calls."""
    if backend.name == "numba":
        from backends.numba.compile import release

        release()


@contextmanager
def traced(backend: Ops) -> Iterator[Callable[[], tuple[int, int]]]:
    """What is allocated now and was at most, since the start."""
    release(backend)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield lambda: tuple(each - before for each in tracemalloc.get_traced_memory())  # type: ignore[return-value]
    finally:
        tracemalloc.stop()


def step(
    backend: Ops, network: Network, params: dict[str, np.ndarray], shape: tuple[int, ...],
    between: Callable[[], None] = lambda: None,
) -> None:
    """Forward and backward, with a call ``between`` them."""
    rng = np.random.default_rng(0)
    images, labels = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.int32)
    ctx = Context(
        backend, params, save_for_backward=True, batch_statistics=True,
        draw_mask=lambda name, shape, rate: rng.random(shape, np.float32) >= rate,
    )
    objective = Objective(network)
    loss = objective.forward(images, labels, ctx)
    between()
    objective.backward(ctx)
    assert loss.total.shape == ()


@pytest.mark.usefixtures("_one_thread")
def test_memory_of_inference(measured: Measured) -> None:
    backend, network, params, shape = measured
    folded = network.fold(params)
    with traced(backend) as memory:
        images = np.zeros((*shape, 3), np.float32)
        backend.resize_bilinear(network.predict(images, Context(backend, folded, overwrite=True)), shape[1:])
        _, peak = memory()
    least, most = PEAKS[backend.name]["inference"]
    assert least <= peak / inference(network, *shape).pass_bytes <= most


def test_inference_holds_no_map_that_is_read_no_more() -> None:
    """In values for each pixel at output stride 8: the last stage has 2048 channels, its convolutions have 512."""
    meter = CostMeter()
    network = build_network(NetworkConfig(classes=19, backbone="resnet50", head="dual"))
    params = {name: ShapeArray(shape, np.float32, CostMeter()) for name, shape in network.shapes().items()}
    images = ShapeArray((1, 256, 512, 3), np.float32, meter)
    network.predict(images, Context(CountingOps(meter), network.fold(params), overwrite=True))
    first_block = 1024 + 512 + 2048  # its input, what its last convolution reads, and its shortcut
    assert meter.peak == 4 * (32 * 64 * first_block + images.size)


@pytest.mark.usefixtures("_one_thread")
def test_memory_of_a_training_step(measured: Measured) -> None:
    backend, network, params, shape = measured
    saved = 0

    def between() -> None:
        nonlocal saved
        release(backend)
        saved = memory()[0] - 4 * math.prod(shape) * (3 + 1)  # images and labels are counted apart

    with traced(backend) as memory:
        step(backend, network, params, shape, between)
    with traced(backend) as memory:
        step(backend, network, params, shape)
        _, peak = memory()
    counted = training_step(Objective(network), *shape)
    for found, estimate, kind in ((saved, counted.saved_bytes, "saved"), (peak, counted.pass_bytes, "training")):
        least, most = PEAKS[backend.name][kind]
        assert least <= found / estimate <= most, kind


def test_what_training_holds_all_the_time() -> None:
    network = build_network(NETWORKS["tiny-dual-attention"])
    ops = get_backend("numpy")
    for average, kind in itertools.product((False, True), OPTIMISER_ARRAYS):
        optimiser = optimiser_of(OptimiserSection(kind=kind), ())
        state = State.of(network.initialise(0), Progress(), ops, optimiser, ema=average)
        held = sum(array.nbytes for name, array in state.arrays(ops).items() if name != "adamw.steps")
        assert training_step(Objective(network), 1, 41, 57, average=average, optimiser=kind).state_bytes == held


def test_accumulated_gradients_are_held_through_the_next_pass() -> None:
    network = build_network(NETWORKS["resnet18-dual"])
    once, twice, often = (training_step(Objective(network), 1, 41, 57, accumulate=count) for count in (1, 2, 5))
    waiting = 3 * 4 * (3 + 1) * 41 * 57  # images and labels of three more passes
    waiting += 4 * once.parameters  # after three passes a sum of two and one of one wait for the fourth
    assert often == twice._replace(multiply_adds=5 * once.multiply_adds, pass_bytes=twice.pass_bytes + waiting)
    assert 2 * 4 * once.parameters < twice.pass_bytes < once.pass_bytes + 4 * once.parameters
    assert twice.saved_bytes == once.saved_bytes


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    "changes",
    [["optimiser.clip_norm=1e-9"], ["optimiser.accumulate=4", "training.ema=0.9"], ["optimiser.kind=adamw"]],
)
@pytest.mark.parametrize("name", PEAKS)
def test_memory_of_a_training(name: str, changes: list[str], tmp_path: Path) -> None:
    """From its start to its second step, with all that it holds; the weights are most of it here."""
    backend = backend_of(name)
    config = load_config(
        "tiny-scenes",
        ["network.backbone=resnet18", "network.head=fcn", "network.scales=[1.0]", "network.scale_classifier=none",
         "augmentation.crop=[48, 64]", "training.batch_size=2", "training.max_steps=2",
         f"training.backend={name}", *changes],
    )  # fmt: skip
    for _ in train(config, tmp_path / "first"):  # what a process loads once is not counted
        pass
    with traced(backend) as memory, closing(train(config, tmp_path / "counted")) as events:
        assert isinstance(next(events), RunStarted)
        tracemalloc.reset_peak()
        assert [isinstance(next(events), StepDone) for _ in range(2)] == [True, True]
        _, peak = memory()
    counted = configured_step(config, len(CLASSES), 2, config.augmentation.crop)
    least, most = PEAKS[name]["training"]
    assert least <= peak / counted.peak_bytes <= most


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
    assert configured_step(fewer, 8, 3, (96, 128)).saved_bytes < wanted.saved_bytes


def test_shapes_need_no_values() -> None:
    for config in NETWORKS.values():
        network = build_network(config)
        assert network.shapes() == {name: value.shape for name, value in network.initialise(0).items()}
    huge = build_network(NetworkConfig(classes=2, head="largefov", head_channels=2**16)).shapes()
    assert sum(map(math.prod, huge.values())) > 2**32
