"""One train step of DANet-ResNet18 on 2×360×480: the ``numpy`` backend against PyTorch, same weights, same images.

    python benchmarks/train_step.py [--steps 5] [--batch 2] [--size 360 480] [--classes 11]

First checks that both compute the same loss and the same gradients; then times them in turns, A B A B, in one
process. OpenBLAS takes its kernels from the processor: unset OPENBLAS_CORETYPE where something has set it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_info

sys.path.insert(0, str(Path(__file__).parent))

from torch_danet import DANet, to_torch

from backends import get_backend
from backends.numpy.threads import thread_count
from reference.layers.context import Context
from reference.networks import NetworkConfig, Objective, build_network, is_trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--classes", type=int, default=11)
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    shape = (options.batch, *options.size)
    images = rng.standard_normal((*shape, 3), dtype=np.float32)
    labels = rng.integers(0, options.classes, shape)
    network = build_network(NetworkConfig(classes=options.classes, backbone="resnet18", head="dual"))
    params = network.initialise(seed=0)
    for gate in ("head.position.gate", "head.channel.gate"):
        params[gate] = np.array(0.5, np.float32)  # at 0 the attentions would get no gradient
    objective = Objective(network)
    ops = get_backend("numpy")
    ctx = Context(ops, params, keep_caches=True, batch_statistics=True)

    def ours() -> tuple[float, dict[str, np.ndarray]]:
        ctx.gradients.clear()
        loss = objective.forward(images, labels, ctx).total
        objective.backward(ctx)
        return float(loss), ctx.gradients

    peer = DANet(options.classes).train()
    peer.load(params)
    torch_images = torch.from_numpy(images).permute(0, 3, 1, 2)
    torch_labels = torch.from_numpy(labels)

    def theirs() -> tuple[float, dict[str, torch.Tensor]]:
        peer.zero_grad(set_to_none=True)
        loss = peer.loss(torch_images, torch_labels)
        loss.backward()
        return loss.item(), {name: p.grad for name, p in peer.named_parameters() if p.grad is not None}

    for library in threadpool_info():
        print(f"{library['internal_api']} {library.get('architecture', '')}, {library['num_threads']} threads")
    print(f"segattn: {thread_count()} threads, PyTorch {torch.__version__}: {torch.get_num_threads()} threads")
    agree(ours(), theirs())
    print(f"peak memory after both: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    steps = {"numpy": ours, "torch": theirs}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(options.steps):
        for name, step in steps.items():
            seconds[name].append(timed(step))
    medians = {name: np.median(values, axis=0) for name, values in seconds.items()}
    for name, (wall, cores) in medians.items():
        each = ", ".join(f"{step:.3f}" for step, _ in seconds[name])
        print(f"{name}: {wall:.3f} s, median of {each}; {cores:.3f} s of all cores together")
    wall, cores = medians["numpy"] / medians["torch"]
    print(f"ratio numpy / torch: {wall:.2f}, of all cores together {cores:.2f}")


def agree(ours: tuple[float, dict[str, np.ndarray]], theirs: tuple[float, dict[str, torch.Tensor]]) -> None:
    """Raise where the losses or the gradients differ by more than the float32 rounding of a deep network.

    Random images and labels make small gradients of large terms: against float64, both are off by about 1 %.
    """
    (our_loss, our_gradients), (their_loss, their_gradients) = ours, theirs
    assert set(our_gradients) == set(their_gradients), set(our_gradients) ^ set(their_gradients)
    assert all(is_trained(name) for name in our_gradients)
    # The key's bias shifts whole rows of energies: its gradient is 0 but for rounding, so the largest counts too.
    floor = 1e-5 * max(float(gradient.norm()) for gradient in their_gradients.values())
    errors = {}
    for name, gradient in our_gradients.items():
        expected = their_gradients[name]
        got = to_torch(np.asarray(gradient)).reshape(expected.shape)
        errors[name] = float((got - expected).norm() / (expected.norm() + floor))
    worst = max(errors, key=errors.__getitem__)
    print(f"loss {our_loss:.6f} and {their_loss:.6f}; gradients differ by at most {errors[worst]:.1e} ({worst})")
    assert abs(our_loss - their_loss) < 1e-4 * abs(their_loss)
    assert errors[worst] < 5e-2


def timed(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of all cores together: on a busy machine with one thread, the latter tell more."""
    start = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
