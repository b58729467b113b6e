"""A process that times training steps of one implementation: ``python -m segattn_cli.benchmarking.step_process``.

It reads one line of JSON after the other from its standard input, each with the number of rounds, and answers with
a line of seconds. The network is built at the first one, so that the parent can put the process into a group first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from segattn_cli.benchmarking.benchmark import Shape
from segattn_cli.benchmarking.timing import is_enough, timed


class StepProcess:
    """The process, seen from its parent. It starts at the first call of :meth:`seconds`."""

    def __init__(
        self, implementation: str, shape: Shape, *, group: Path | None = None, threads: int | None = None
    ) -> None:
        self.command = [sys.executable, "-m", __name__, implementation, *map(str, shape)]
        self.group = group
        count = {} if threads is None else dict.fromkeys(("SEGATTN_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        self.environment = os.environ | count
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def seconds(self, repeat: int | None = None) -> list[float]:
        """The seconds of several steps, of which the first one is not counted."""
        if self.process is None:
            self.process = self._start()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(repeat)}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of a training step ended with {self.process.wait()}")
        result: list[float] = json.loads(answer)
        return result

    def _start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, text=True, env=self.environment)
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(process.pid))
        return process


def main(implementation: str, *shape: str) -> None:
    """Answer until the standard input ends, or the parent kills this process, which handles Ctrl-C for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    step = None
    for line in sys.stdin:
        step = step or _step(implementation, tuple(map(int, shape)))
        print(json.dumps(_seconds(step, json.loads(line))), flush=True)


def _seconds(step: Callable[[], None], repeat: int | None) -> list[float]:
    step()
    seconds: list[float] = []
    start = time.perf_counter()
    while not is_enough(len(seconds), time.perf_counter() - start, repeat):
        seconds.append(timed(step))
    return seconds


def _step(implementation: str, shape: Shape) -> Callable[[], None]:
    """A training step of DANet-ResNet18; PyTorch's in the memory layout in which it is faster."""
    from reference.networks import NetworkConfig
    from segattn_cli.benchmarking.network_benchmarks import network_benchmark

    config = NetworkConfig(classes=11, backbone="resnet18", head="dual")
    benchmark = network_benchmark("busy", "DANet-ResNet18", config, shape, ("train",))
    if implementation != "torch":
        from backends import get_backend

        return benchmark.ours(get_backend(implementation), "float32").passes["train"]
    import torch

    from backends.numpy.threads import thread_count

    torch.set_num_threads(thread_count())
    steps: Sequence[Callable[[], None]] = [
        make().passes["train"] for _, make in benchmark.torch(device="cpu", precision="float32", compiled=False)
    ]
    for each in steps:
        each()
    return min(steps, key=timed)


if __name__ == "__main__":
    main(*sys.argv[1:])
