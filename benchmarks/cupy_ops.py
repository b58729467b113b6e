"""The cupy backend against PyTorch on the same card, in the same process: position attention, and DANet-ResNet50.

    python benchmarks/cupy_ops.py [--out record.json] [--commit HASH] [--skip-network] [--profile]

Each pair is first compared, then timed by device events: medians, the two taking turns. float32 is float32 on both
sides (no TF32, in cuDNN neither), TF32 is TF32 on both. PyTorch is eager, channels last, with cuDNN's autotuner on.
The train step is forward and backward; inference is the predicting map alone, with norms folded on our side.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cupy
import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends import get_backend
from backends.cupy import gemm
from benchmarks.torch_networks import DualHead, to_torch
from reference.layers.context import Context
from reference.networks import NetworkConfig, Objective, build_network

ops = get_backend("cupy")
CLASSES = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--skip-network", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print where a train step's time goes")
    parser.add_argument("--size", type=int, nargs=3, default=(2, 768, 768))
    options = parser.parse_args()

    torch.backends.cudnn.benchmark = True
    record = {"machine": machine(), "commit": options.commit, "figures": []}
    print(json.dumps(record["machine"]))
    if not options.skip_network:
        record["DANet-ResNet50 in float64 against PyTorch"] = check_network()
    for precision in ("float32", "tf32"):
        with precision_of_both(precision):
            record["figures"] += attention_figures(precision)
            if not options.skip_network:
                record["figures"] += network_figures(precision, options.size, profile=options.profile)
    for figure in record["figures"]:
        print_figure(figure)
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def machine() -> dict[str, Any]:
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "device": properties["name"].decode(),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {
            "python": platform.python_version(), "cupy": cupy.__version__, "numpy": np.__version__,
            "torch": torch.__version__, "cuda runtime": cupy.cuda.runtime.runtimeGetVersion(),
            "cudnn": torch.backends.cudnn.version(),
        },
    }


@contextmanager
def precision_of_both(name: str) -> Iterator[None]:
    tf32 = name == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    gemm.allow_tf32(tf32)
    yield
    gemm.allow_tf32(False)


def medians(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Milliseconds of each, by events on the device, after two rounds that warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(repeats + 2):
        for name, function in functions.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            function()
            end.record()
            torch.cuda.synchronize()
            if round_ >= 2:
                times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def figure(subject: str, precision: str, milliseconds: dict[str, float], **more: Any) -> dict[str, Any]:
    """Ours, theirs, and the ratio to PyTorch's best."""
    theirs = {name: value for name, value in milliseconds.items() if name != "cupy"}
    best = min(theirs, key=theirs.__getitem__)
    return {
        "subject": subject, "precision": precision,
        "milliseconds": {name: round(value, 3) for name, value in milliseconds.items()},
        "best of torch": best, "ratio": round(milliseconds["cupy"] / theirs[best], 3), **more,
    }


def print_figure(row: dict[str, Any]) -> None:
    times = ", ".join(f"{name} {value:.2f} ms" for name, value in row["milliseconds"].items())
    more = {key: row[key] for key in row if key not in ("subject", "precision", "milliseconds")}
    print(f"{row['subject']} {row['precision']}: {times} {more}")


# Position attention


def attention_figures(precision: str, pixels: int = 9216) -> list[dict[str, Any]]:
    rng = cupy.random.default_rng(0)
    query, key = (rng.standard_normal((1, pixels, 64), dtype=np.float32) * 0.3 for _ in range(2))
    value, dy = (rng.standard_normal((1, pixels, 512), dtype=np.float32) for _ in range(2))
    inputs = [torch.from_dlpack(x).requires_grad_() for x in (query, key, value)]
    torch_dy = torch.from_dlpack(dy)

    def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.softmax(q @ k.mT, dim=-1) @ v

    def sdpa(backend: SDPBackend) -> Callable[..., torch.Tensor]:
        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=1.0)[:, 0]

        return attend

    theirs = {
        "torch plain": plain,
        "torch sdpa efficient": sdpa(SDPBackend.EFFICIENT_ATTENTION),
        "torch sdpa math": sdpa(SDPBackend.MATH),
        "torch compiled": torch.compile(plain),
    }

    def forward(attend: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        def call() -> torch.Tensor:
            with torch.no_grad():
                return attend(*inputs)

        return call

    def both(attend: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        def call() -> tuple[torch.Tensor, ...]:
            y = attend(*inputs)
            return y.detach(), *torch.autograd.grad(y, inputs, torch_dy)

        return call

    def our_forward() -> Any:
        return ops.position_attention(query, key, value)[0]

    def our_both() -> Any:
        y, cache = ops.position_attention(query, key, value)
        return y, *ops.position_attention_backward(dy, cache)

    exact = torch.softmax(inputs[0].detach().double() @ inputs[1].detach().double().mT, dim=-1)
    exact = exact @ inputs[2].detach().double()
    error = float((torch.from_dlpack(our_forward()) - exact).abs().max() / exact.abs().max())
    their_error = float((forward(plain)() - exact).abs().max() / exact.abs().max())
    del exact

    forwards = {"cupy": our_forward} | {name: forward(f) for name, f in working(theirs, inputs).items()}
    boths = {"cupy": our_both} | {name: both(f) for name, f in working(theirs, inputs, both).items()}
    errors = {"error": error, "error of torch plain": their_error}
    subject = f"position attention N={pixels} 64/512"
    return [
        figure(f"{subject} forward", precision, medians(forwards, 15), **errors, megabytes=peaks(forwards)),
        figure(f"{subject} forward+backward", precision, medians(boths, 10), megabytes=peaks(boths)),
    ]


def working(
    candidates: dict[str, Callable[..., torch.Tensor]], inputs: list[torch.Tensor], both: Any = None
) -> dict[str, Callable[..., torch.Tensor]]:
    """Those that this PyTorch can run at these shapes."""
    able = {}
    for name, attend in candidates.items():
        try:
            both(attend)() if both else attend(*inputs)
        except Exception as error:  # of many kinds: no kernel, or a compiler that is missing
            print(f"{name} cannot run: {str(error).splitlines()[0]}")
        else:
            able[name] = attend
    return able


def peaks(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The memory that each needs at its peak beyond inputs and results, in MB."""
    found = {}
    for name, function in functions.items():
        if name == "cupy":
            pool = cupy.cuda.MemoryPool()
            with cupy.cuda.using_allocator(pool.malloc):
                results = function()
            peak = pool.total_bytes()
        else:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            results = function()
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated() - before
        results = results if isinstance(results, tuple) else (results,)
        found[name] = round((peak - sum(result.nbytes for result in results)) / 1e6, 1)
    return found


# DANet-ResNet50


class TorchDANet(torch.nn.Module):
    """torchvision's dilated ResNet-50 under the head of ``torch_networks``."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.backbone = resnet50(replace_stride_with_dilation=[False, True, True])
        del self.backbone.fc
        self.head = DualHead(2048, CLASSES)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), device=images.device)
        for scores in self.head(self.features(images)):
            full = torch.nn.functional.interpolate(scores, labels.shape[1:], mode="bilinear")
            total = total + torch.nn.functional.cross_entropy(full, labels, ignore_index=255)
        return total

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        x = self.features(images)
        return self.head.classifier(self.head.position(x) + self.head.channel(x))


def network_and_parameters() -> tuple[Any, dict[str, np.ndarray]]:
    network = build_network(NetworkConfig(classes=CLASSES, backbone="resnet50", head="dual"))
    initial = network.initialise(seed=0)
    for gate in ("head.position.gate", "head.channel.gate"):
        initial[gate] = np.array(0.5, np.float32)  # at 0 the attentions would get no gradient
    return network, initial


def peer_of(initial: dict[str, np.ndarray]) -> TorchDANet:
    """PyTorch's network with our parameters, on the device, training."""
    peer = TorchDANet()
    state = {}
    for name, tensor in peer.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            state[name] = to_torch(initial[name]).reshape(tensor.shape)
    peer.load_state_dict(state, strict=False)
    return peer.cuda().train()


def network_figures(precision: str, size: tuple[int, int, int], *, profile: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((*size, 3), dtype=np.float32)
    labels = rng.integers(0, CLASSES, size)
    network, initial = network_and_parameters()
    params = {name: ops.asarray(value) for name, value in initial.items()}
    folded = network.fold(params)
    objective = Objective(network)
    our_images, our_labels = ops.asarray(images), ops.asarray(labels)

    def our_step(with_ops: Any = ops) -> tuple[Any, dict[str, Any]]:
        ctx = Context(with_ops, params, keep_caches=True, batch_statistics=True)
        loss = objective.forward(our_images, our_labels, ctx).total
        return loss, objective.backward(ctx)

    def our_prediction() -> Any:
        return network.predict(our_images, Context(ops, folded))

    peer = peer_of(initial).to(memory_format=torch.channels_last)
    torch_images = torch.from_numpy(images).permute(0, 3, 1, 2).cuda()
    torch_images = torch_images.contiguous(memory_format=torch.channels_last)
    torch_labels = torch.from_numpy(labels).cuda()

    def their_step() -> torch.Tensor:
        peer.train()
        peer.zero_grad(set_to_none=True)
        loss = peer.loss(torch_images, torch_labels)
        loss.backward()
        return loss

    def their_prediction() -> torch.Tensor:
        peer.eval()
        with torch.no_grad():
            return peer.predict(torch_images)

    print(f"{precision}: loss {float(our_step()[0]):.6f} and {their_step().item():.6f}")
    if profile:
        print_profile(our_step)

    cupy.cuda.Device().synchronize()
    begin = time.perf_counter()
    result = our_step()
    queued = round((time.perf_counter() - begin) * 1e3, 1)
    del result

    subject = f"DANet-ResNet50 {'x'.join(map(str, size))}"
    steps = medians({"cupy": our_step, "torch": their_step}, 5)
    predictions = medians({"cupy": our_prediction, "torch": their_prediction}, 5)
    cupy.get_default_memory_pool().free_all_blocks()
    our_step()
    ours_peak = cupy.get_default_memory_pool().total_bytes() / 1e9
    torch.cuda.reset_peak_memory_stats()
    their_step()
    gigabytes = {"cupy": round(ours_peak, 2), "torch": round(torch.cuda.max_memory_allocated() / 1e9, 2)}
    cupy.get_default_memory_pool().free_all_blocks()
    torch.cuda.empty_cache()
    return [
        figure(f"{subject} train step", precision, steps, gigabytes=gigabytes, milliseconds_to_queue=queued),
        figure(f"{subject} inference", precision, predictions),
    ]


def check_network(size: tuple[int, int, int] = (1, 129, 161)) -> dict[str, float]:
    """Both networks in float64: the relative difference of the losses, and the largest of any gradient."""
    rng = np.random.default_rng(1)
    images, labels = rng.standard_normal((*size, 3)), rng.integers(0, CLASSES, size)
    network, initial = network_and_parameters()
    params = {name: ops.asarray(value, np.float64) for name, value in initial.items()}
    ctx = Context(ops, params, keep_caches=True, batch_statistics=True)
    objective = Objective(network)
    loss = float(objective.forward(ops.asarray(images), ops.asarray(labels), ctx).total)
    gradients = objective.backward(ctx)

    peer = peer_of(initial).double()
    their_loss = peer.loss(torch.from_numpy(images).permute(0, 3, 1, 2).cuda(), torch.from_numpy(labels).cuda())
    their_loss.backward()
    floor = 1e-6 * max(float(p.grad.norm()) for p in peer.parameters() if p.grad is not None)
    worst = 0.0
    for name, parameter in peer.named_parameters():
        got = to_torch(ops.to_numpy(gradients[name])).reshape(parameter.shape).cuda()
        worst = max(worst, float((got - parameter.grad).norm() / (parameter.grad.norm() + floor)))
    result = {"loss": abs(loss - their_loss.item()) / abs(loss), "largest gradient difference": worst}
    print("DANet-ResNet50 in float64 against PyTorch:", result)
    assert worst < 1e-6, "the two networks are not the same"
    return result


def print_profile(step: Callable[[Any], Any]) -> None:
    """Milliseconds by op and shape, each op waited for: where to look, not a sum to quote."""
    spent: dict[str, list[float]] = {}

    class Timed:
        def __getattr__(self, name: str) -> Any:
            function = getattr(ops, name)
            if not callable(function):
                return function

            def call(*args: Any, **kwargs: Any) -> Any:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                result = function(*args, **kwargs)
                end.record()
                end.synchronize()
                shape = getattr(args[0], "shape", ()) if args else ()
                more = args[1].shape if name == "conv2d" else ""
                spent.setdefault(f"{name} {shape} {more}", []).append(start.elapsed_time(end))
                return result

            return call

    step(Timed())
    spent.clear()
    step(Timed())
    rows = sorted(spent.items(), key=lambda item: -sum(item[1]))
    print(f"ops together {sum(sum(times) for times in spent.values()):.1f} ms")
    for name, times in rows[:40]:
        print(f"{sum(times):8.2f} ms  {len(times):3d} x  {name}")


if __name__ == "__main__":
    main()
