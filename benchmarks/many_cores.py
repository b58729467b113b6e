"""How a training step would scale to more cores: a model, from the loops of a step on one thread.

``python -m benchmarks.many_cores NETWORK`` runs a training step with ``numba`` and records every parallel loop:
into how many blocks it is cut, and how long it takes on one thread. The rest of the step is serial. On p threads, a
loop of n equal blocks takes ⌈n/p⌉ of the n turns that one thread needs, and a start. The step on two threads is
measured, too, beside what the model says: both times by a process of its own, whose loops are not watched.

Loops that mostly read and write memory do not become faster once the memory is the limit. So the model is given
twice: for memory that becomes faster with the cores, and for one that two cores exhaust.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_ssize_t
from typing import Any, NamedTuple

import llvmlite.binding

from backends.numpy.threads import set_thread_count
from reference.networks import NetworkConfig
from segattn_cli.benchmarking.network_benchmarks import BackendNetwork, NetworkSetup
from segattn_cli.benchmarking.timing import timed

NETWORKS = {
    "danet": (NetworkConfig(classes=11, backbone="resnet18", head="dual"), (2, 180, 240)),
    "fcn": (
        NetworkConfig(classes=11, backbone="resnet18", head="fcn", output_stride=16, decoder=True),
        (8, 192, 240),
    ),
}
THREADS = (1, 2, 4, 8, 16, 32)
#: Seconds that a loop on several threads takes to start and to end.
START = 5e-6
#: A loop that two threads compute less than so many times as fast as one is limited by memory.
LIMITED = 1.5


class Loop(NamedTuple):
    """One parallel loop of a step."""

    blocks: int
    seconds: float  # on one thread
    speedup: float = 2.0  # of two threads


def predict(serial: float, loops: Sequence[Loop], threads: int, *, memory_grows: bool = True) -> float:
    """The seconds of a step whose serial part takes ``serial``.

    >>> predict(1.0, [Loop(8, 8.0), Loop(1, 2.0)], 4) - 2 * START
    5.0
    """
    total = serial
    for loop in loops:
        seconds = loop.seconds * math.ceil(loop.blocks / threads) / max(loop.blocks, 1)
        if threads > 1 and loop.speedup < LIMITED and not memory_grows:
            seconds = max(seconds, loop.seconds / loop.speedup)
        total += seconds + (START if threads > 1 else 0)
    return total


def measure(step: Callable[[], None], rounds: int) -> tuple[float, float]:
    """The seconds of a step on one and on two threads: the least of several rounds each."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads in seconds:
            set_thread_count(threads)
            step()  # which only wakes the threads
            seconds[threads].append(timed(step))
    return min(seconds[1]), min(seconds[2])


def record(step: Callable[[], None], rounds: int) -> list[Loop]:
    """The loops of a step: the least seconds of each in several rounds."""
    blocks, seconds = _watch()
    loops: dict[int, list[list[float]]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads in loops:
            set_thread_count(threads)
            step()
            blocks.clear()
            seconds.clear()
            step()
            loops[threads].append(list(seconds))
    one, two = ([min(each) for each in zip(*loops[threads], strict=True)] for threads in loops)
    return [Loop(count, a, a / b) for count, a, b in zip(blocks, one, two, strict=True)]


def _watch() -> tuple[list[int], list[float]]:
    """The blocks and the seconds of each loop from now on, in two lists that grow. Loaded loops are not seen."""
    blocks: list[int] = []
    seconds: list[float] = []
    loop_type = CFUNCTYPE(None, *[c_ssize_t] * 8)
    loop: Any = loop_type(llvmlite.binding.address_of_symbol("numba_parallel_for"))

    @loop_type
    def watched(*arguments: int) -> None:
        start = time.perf_counter()
        loop(*arguments)
        seconds.append(time.perf_counter() - start)
        blocks.append(c_ssize_t.from_address(arguments[4]).value)  # the first of what all threads share

    llvmlite.binding.add_symbol("numba_parallel_for", c_ssize_t.from_buffer(watched).value)
    _watching.append(watched)
    return blocks, seconds


_watching: list[Any] = []  # functions that compiled code may still call


def main() -> None:
    parser = argparse.ArgumentParser(description="Model how a training step scales to more cores.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=3, help="steps that are measured; the least time counts")
    parser.add_argument("--unwatched", action="store_true", help="print the seconds on one and on two threads only")
    arguments = parser.parse_args()
    from backends import get_backend

    config, shape = NETWORKS[arguments.network]
    step = BackendNetwork(NetworkSetup(config, shape), ("train",), get_backend("numba")).train
    if arguments.unwatched:
        print(json.dumps(measure(step, arguments.rounds)))
        return
    command = [sys.executable, "-m", "benchmarks.many_cores", *sys.argv[1:], "--unwatched"]
    one, two = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    loops = record(step, arguments.rounds)
    serial = one - sum(loop.seconds for loop in loops)
    limited = sum(loop.seconds for loop in loops if loop.speedup < LIMITED)
    print(f"{len(loops)} loops; serial {serial / one:.1%}; limited by memory {limited / one:.1%}")
    print(f"one thread {one:.3f} s, two threads {two:.3f} s: {one / two / 2:.0%}")
    for threads in THREADS:
        grows, fixed = (predict(serial, loops, threads, memory_grows=each) for each in (True, False))
        print(f"{threads:2d} threads  {one / grows / threads:4.0%}  {one / fixed / threads:4.0%}")


if __name__ == "__main__":
    main()
