"""Position attention, forward and backward: time and peak memory of the ``numpy`` backend against plain PyTorch.

    python benchmarks/position_attention.py [--pixels 9216] [--widths 64 512] [--repeats 3]

Times are taken in turns in one process, after a check that both agree; peaks are over inputs and outputs, each in a
fresh process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_info

from backends import get_backend

Gradients = tuple[np.ndarray, ...]


class Inputs(NamedTuple):
    query: np.ndarray  # (1, N, D)
    key: np.ndarray  # (1, N, D)
    value: np.ndarray  # (1, N, C)
    dy: np.ndarray  # (1, N, C)


def ours(inputs: Inputs) -> tuple[Callable[[], np.ndarray], Callable[[], Gradients]]:
    ops = get_backend("numpy")
    caches = []

    def forward() -> np.ndarray:
        y, cache = ops.position_attention(*inputs[:3])
        caches[:] = [cache]
        return y

    return forward, lambda: ops.position_attention_backward(inputs.dy, caches[0])


def theirs(inputs: Inputs) -> tuple[Callable[[], np.ndarray], Callable[[], Gradients]]:
    leaves = [torch.from_numpy(x).requires_grad_() for x in inputs[:3]]
    outputs: list[torch.Tensor] = []

    def forward() -> np.ndarray:
        query, key, value = leaves
        outputs[:] = [torch.softmax(query @ key.mT, dim=-1) @ value]
        return outputs[0].detach().numpy()

    def backward() -> Gradients:
        gradients = torch.autograd.grad(outputs.pop(), leaves, torch.from_numpy(inputs.dy))
        return tuple(gradient.numpy() for gradient in gradients)

    return forward, backward


IMPLEMENTATIONS = {"numpy": ours, "torch": theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=9216)
    parser.add_argument("--widths", type=int, nargs=2, default=(64, 512), help="of query and key, and of value")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", choices=IMPLEMENTATIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    inputs = draw(options.pixels, *options.widths)
    if options.peak:
        print(peak(*IMPLEMENTATIONS[options.peak](inputs)))
        return

    for library in threadpool_info():
        print(f"{library['internal_api']} {library.get('architecture', '')}, {library['num_threads']} threads")
    steps = {name: build(inputs) for name, build in IMPLEMENTATIONS.items()}
    agree(*((forward(), *backward()) for forward, backward in steps.values()))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(options.repeats):
        for name, (forward, backward) in steps.items():
            seconds[name].append((timed(forward), timed(backward)))
    for name, values in seconds.items():
        forward_time, backward_time = np.median(values, axis=0)
        command = [sys.executable, *sys.argv, "--peak", name]
        added = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        print(f"{name}: forward {forward_time:.3f} s, backward {backward_time:.3f} s, peak {added} MiB")


def draw(pixels: int, inner: int, channels: int) -> Inputs:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 1, pixels, inner), dtype=np.float32) / inner**0.25
    value, dy = rng.standard_normal((2, 1, pixels, channels), dtype=np.float32)
    return Inputs(query, key, value, dy)


def agree(got: Gradients, expected: Gradients) -> None:
    for name, a, b in zip(("y", "dquery", "dkey", "dvalue"), got, expected, strict=True):
        error = np.abs(a - b).max() / np.abs(b).max()
        print(f"{name} differs by {error:.1e} of its largest value")
        assert error < 1e-4, name


def peak(forward: Callable[[], np.ndarray], backward: Callable[[], Gradients]) -> str:
    start = resident("VmRSS")
    outputs = [forward(), *backward()]
    size = sum(array.nbytes for array in outputs) / 2**20
    return f"{resident('VmHWM') - start - size:.0f}"


def resident(field: str) -> float:
    """MiB in memory, now (VmRSS) or at most so far (VmHWM); ru_maxrss would count the parent process, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
