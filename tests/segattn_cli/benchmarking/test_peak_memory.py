"""Peaks: of a known amount, and of a real case in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import segattn_cli.benchmarking.peak_memory
from reference.networks import NetworkConfig
from segattn_cli.benchmarking.network_benchmarks import network_benchmark
from segattn_cli.benchmarking.op_benchmarks import Call, RandomInput, op_benchmark
from segattn_cli.benchmarking.peak_memory import MeasurementError, Peak, Request, measure, measure_afresh

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")

KNOWN = """
import numpy as np
from segattn_cli.benchmarking.peak_memory import measure

class Implementation:
    kept = []
    def __init__(self):
        self.passes = {"large": self.large, "small": self.small, "result": self.result}
    def large(self):
        np.ones(200_000_000, np.uint8)
    def small(self):
        np.ones(50_000_000, np.uint8)
    def result(self):
        self.kept = [np.ones(80_000_000, np.uint8)]
    def results(self):
        return self.kept

if __name__ == "__main__":
    for peak in measure(Implementation()).values():
        print(peak.extra_bytes)
"""


def test_a_known_amount_is_measured() -> None:
    done = subprocess.run([sys.executable, "-c", KNOWN], capture_output=True, text=True, check=True)
    if "None" in done.stdout:
        pytest.skip("this system does not let a process reset its peak")
    large, small, result = map(int, done.stdout.split())
    assert large == pytest.approx(200e6, abs=4e6)
    assert small == pytest.approx(50e6, abs=4e6)  # the larger peak before does not count
    assert result < 4e6  # what is left behind as a result does not count


def test_nothing_is_claimed_where_the_peak_cannot_be_reset(monkeypatch, toy) -> None:
    monkeypatch.setattr(segattn_cli.benchmarking.peak_memory, "_reset_peak", lambda: False)
    assert {peak.extra_bytes for peak in measure(toy()).values()} == {None}


def test_nothing_is_claimed_without_proc(monkeypatch, tmp_path, toy) -> None:
    monkeypatch.setattr(segattn_cli.benchmarking.peak_memory, "PROCESS", tmp_path)
    forward = measure(toy())["forward"]
    assert forward == Peak(None, None, forward.seconds)


def test_a_case_is_measured_in_a_process_of_its_own() -> None:
    scores = RandomInput((4, 1, 512, 512, 4))  # 16 MB
    case = op_benchmark("ops", "tiny", Call("scale_fusion", (scores, RandomInput((1, 512, 512, 4)))))
    answer = measure_afresh(Request(case, "reference"))
    assert list(answer.peaks) == ["forward", "backward"]
    assert answer.peaks["forward"].process_bytes > 30e6
    if answer.peaks["forward"].extra_bytes is not None:
        assert 4e6 < answer.peaks["forward"].extra_bytes < 100e6
    broken = replace(case, ours=Call("no_such_op", ()).draw)  # takes no backend
    with pytest.raises(MeasurementError, match="TypeError"):
        measure_afresh(Request(broken, "reference"))


def test_what_runs_once_starts_from_nothing() -> None:
    network = network_benchmark("memory", "tiny", NetworkConfig(classes=3), (1, 65, 65), ("infer",), once=True)
    answer = measure_afresh(Request(network, "reference"))
    assert list(answer.peaks) == ["infer"]
    assert answer.sample["scores"].size > 100
