"""``segattn bench``: what it prints, writes and exits with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import segattn_cli.benchmarking
import segattn_cli.benchmarking.busy
import segattn_cli.benchmarking.machine
import segattn_cli.benchmarking.variants
from segattn_cli.benchmarking import Measurement, Mismatch, Note, Row, Started, plan
from segattn_cli.benchmarking.busy import BusyRow, BusyStarted
from segattn_cli.benchmarking.machine import Machine
from segattn_cli.benchmarking.timing import Timing
from segattn_cli.errors import ExitCode

PRODUCT = {"matrix product, GFLOP/s": {"float32": 200.0}}
MACHINE = Machine({"processor": "Toy", "threads": 2} | PRODUCT, {"python": "3.11"}, [])
SMALL = ("--suite", "ops", "--only", "scale_fusion", "--against", "reference", "--repeat", "1", "--no-memory")


def row(**changes: Any) -> Row:
    values = {
        "suite": "ops", "subject": "conv2d", "pass_": "forward", "shape": "2×3", "precision": "float32",
        "rounds": 3, "ours": Measurement(0.25, 0.01, extra_bytes=5_000_000), "gflops": 90.0, "peak_fraction": 0.45,
        "variant": "torch contiguous", "baseline": Measurement(0.5, 0.02),
    }  # fmt: skip
    return Row(**(values | changes))


@pytest.fixture
def yielding(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``yielding(*events)``: what a run yields; an exception among them is raised."""

    def replace(*events: Any) -> None:
        def run(plan: Any, peaks: Any) -> Iterator[Any]:
            for event in events:
                if isinstance(event, BaseException):
                    raise event
                yield event

        monkeypatch.setattr(segattn_cli.benchmarking, "run", run)
        monkeypatch.setattr(segattn_cli.benchmarking.machine, "examine", lambda *_: MACHINE)

    return replace


def test_help_has_examples(cli) -> None:
    finished = cli("bench", "--help")
    assert finished.code == 0
    assert "segattn bench --suite networks" in finished.out


def test_list_names_every_case(cli) -> None:
    finished = cli("bench", "--list")
    assert finished.code == 0
    for case in plan("all").benchmarks:
        assert case.title in finished.out
    assert "\nnetworks\n" in finished.out
    assert "DANet-ResNet18 2×180×240, 2 busy processes: train" in finished.out


def test_one_small_case(cli, tmp_path) -> None:
    finished = cli("bench", *SMALL, "--json", tmp_path / "times.json", "--plot", tmp_path / "times.png")
    assert finished.code == 0
    assert "scale_fusion   N=9216 2×19   forward" in finished.out
    assert "reference" in finished.out
    report = json.loads((tmp_path / "times.json").read_text())
    assert set(report) >= {"machine", "versions", "kernels", "rows"}
    assert report["backend"] == "numpy"
    assert report["machine"]["matrix product, GFLOP/s"]["float32"] > 1
    assert [each["work"] for each in report["rows"]] == ["forward", "backward"]
    assert all(each["seconds"] > 0 < each["peer_seconds"] for each in report["rows"])
    assert (tmp_path / "times.png").stat().st_size > 10_000


def test_json_can_go_to_stdout_alone(cli, yielding) -> None:
    yielding(row())
    finished = cli("bench", *SMALL, "--json", "-")
    assert json.loads(finished.out)["rows"][0]["ratio"] == 0.5


def test_every_figure_stands_in_the_table(cli, yielding) -> None:
    yielding(row(), row(pass_="backward", variant=None, baseline=None, gflops=None, peak_fraction=None))
    finished = cli("bench", *SMALL)
    for text in ("250 ± 10 ms", "90", "45 %", "500 ± 20 ms", "0.50", "5.0 MB", "torch contiguous", "none"):
        assert text in finished.out


def test_figures_of_a_gpu_have_columns_of_their_own(cli, yielding, monkeypatch) -> None:
    seen = []

    def examine(*arguments: Any) -> Machine:
        seen.append(arguments)
        found = {
            "device": "Card", "driver": "580.65", "CUDA runtime": "13.0", "convolutions": "cuDNN 9.19",
            "matrix product, GFLOP/s": {"float32": 50e3, "tf32": 400e3},
        }  # fmt: skip
        return Machine(found, {"cupy": "14.2.0"}, [])

    ours = Measurement(0.25, 0.01, error=3.1e-4, queue_seconds=0.001)
    yielding(row(precision="tf32", ours=ours, baseline=Measurement(0.5, 0.02, error=2.9e-4, queue_seconds=0.0023)))
    monkeypatch.setattr(segattn_cli.benchmarking.machine, "examine", examine)
    finished = cli("bench", *SMALL, "--commit", "abc1234")
    assert seen == [("numpy", ["float32"], "abc1234")]
    for text in ("tf32", "3e-04", "2.30 ms", "queued", "Card, driver 580.65", "50000 (float32), 400000 (tf32)"):
        assert text in finished.out
    yielding(row())
    for text in ("error", "queued", "float32 "):
        assert text not in cli("bench", *SMALL).out


def test_notes_go_to_stderr(cli, yielding) -> None:
    yielding(Note("sdpa cannot run."), row())
    finished = cli("bench", *SMALL)
    assert "sdpa cannot run." in finished.err
    assert "sdpa" not in finished.out
    assert finished.code == 0


def test_a_difference_exits_with_10(cli, yielding, tmp_path) -> None:
    yielding(Mismatch("conv2d 2×3 is not timed: dx is off by 1.0e+00."), row())
    finished = cli("bench", *SMALL, "--json", tmp_path / "times.json")
    assert finished.code == ExitCode.DISAGREE
    assert "✗ conv2d 2×3 is not timed: dx is off by 1.0e+00." in finished.out
    assert json.loads((tmp_path / "times.json").read_text())["differences"]


def test_ctrl_c_keeps_what_was_measured(cli, yielding, tmp_path) -> None:
    case = plan("ops", ["scale_fusion"]).benchmarks[0]
    yielding(Started(0, 2, case), row(), KeyboardInterrupt())
    finished = cli("bench", *SMALL, "--json", tmp_path / "times.json")
    assert finished.code == ExitCode.INTERRUPTED
    assert "250 ± 10 ms" in finished.out
    assert "Interrupted" in finished.err
    assert len(json.loads((tmp_path / "times.json").read_text())["rows"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--suite", "op"), ExitCode.USAGE, "There is no suite 'op'"),
        (("--against", "jax"), ExitCode.USAGE, "There is no baseline 'jax'"),
        (("--backend", "nump"), ExitCode.BACKEND, "did you mean numpy?"),
        (("--precision", "tf32,float16"), ExitCode.BACKEND, "The backend numpy computes in float32, not in tf32"),
        (("--precision", "float31"), ExitCode.BACKEND, "Unknown precision 'float31'"),
        (("--only", "nothing like it"), ExitCode.USAGE, "has no case with 'nothing like it' in its title"),
        (("--repeat", "0"), ExitCode.USAGE, "--repeat"),
        (("--json", "no/such/folder/x.json"), ExitCode.OUTPUT, "There is no folder no/such/folder"),
    ],
)
def test_errors_are_one_sentence(cli, arguments, code, sentence) -> None:
    finished = cli("bench", *arguments)
    assert finished.code == code
    assert sentence in finished.err
    assert "Traceback" not in finished.err
    assert finished.out == ""


def test_without_pytorch_there_is_a_way_out(cli, monkeypatch) -> None:
    monkeypatch.setattr(segattn_cli.benchmarking.variants, "find_spec", lambda name: None)
    finished = cli("bench", "--suite", "ops")
    assert finished.code == ExitCode.BACKEND
    assert "pip install torch, or compare with --against reference" in finished.err


@pytest.mark.parametrize(
    ("name", "missing", "sentence"),
    [
        ("onnxruntime", {"onnxruntime"}, "ONNX Runtime is not installed: pip install onnxruntime onnx"),
        ("openvino", {"openvino"}, "OpenVINO is not installed: pip install openvino onnx"),
        ("openvino", {"onnx"}, "OpenVINO runs an exported network, which needs the package onnx"),
    ],
)
def test_without_a_runtime_there_is_a_way_out(cli, monkeypatch, name, missing, sentence) -> None:
    monkeypatch.setattr(
        segattn_cli.benchmarking.variants, "find_spec", lambda package: None if package in missing else object()
    )
    finished = cli("bench", "--suite", "networks", "--against", name)
    assert finished.code == ExitCode.BACKEND
    assert sentence in finished.err
    assert finished.err.count("\n") == 1


def test_without_a_compiler_there_is_a_way_out(cli, monkeypatch) -> None:
    monkeypatch.setattr(segattn_cli.benchmarking.variants.shutil, "which", lambda name: None)
    finished = cli("bench", "--suite", "networks", "--against", "reference", "--compile")
    assert finished.code == ExitCode.BACKEND
    assert "leave out --compile" in finished.err


@pytest.fixture
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The suite busy yields two rows and a note; what is yielded after them is raised, if it is an error."""

    def replace(last: BaseException | None = None) -> None:
        def run_busy(repeat: int | None) -> Iterator[Any]:
            assert repeat == 2
            yield BusyStarted(0, 2, "numba, quiet")
            yield BusyRow("numba", "quiet", Timing(0.4, 0.01, 2), 1.0)
            yield BusyRow("numba", "1 busy process", Timing(0.8, 0.02, 2), 2.0)
            yield Note("The quota of 150 % is left out: nobody may.")
            if last is not None:
                raise last

        monkeypatch.setattr(segattn_cli.benchmarking.busy, "run_busy", run_busy)
        monkeypatch.setattr(segattn_cli.benchmarking.machine, "examine", lambda *_: MACHINE)

    return replace


def test_a_busy_machine_has_a_table_and_json(cli, busy_machine, tmp_path) -> None:
    busy_machine()
    file = tmp_path / "busy.json"
    finished = cli("bench", "--suite", "busy", "--repeat", "2", "--json", file)
    assert finished.code == 0
    assert "1 busy process   0.80 s       2.00" in finished.out
    assert "The quota of 150 % is left out: nobody may." in finished.err
    report = json.loads(file.read_text())
    assert report["machine"]["processor"] == "Toy"
    assert [each["ratio"] for each in report["rows"]] == [1.0, 2.0]
    assert report["notes"] == ["The quota of 150 % is left out: nobody may."]


def test_an_interrupted_busy_machine_keeps_what_was_measured(cli, busy_machine) -> None:
    busy_machine(KeyboardInterrupt())
    finished = cli("bench", "--suite", "busy", "--repeat", "2")
    assert finished.code == ExitCode.INTERRUPTED
    assert "1 busy process" in finished.out


@pytest.mark.parametrize(
    "option", [("--only", "x"), ("--precision", "float32"), ("--plot", "x.png"), ("--compile",)]
)
def test_a_busy_machine_refuses_options_that_it_would_ignore(cli, option) -> None:
    finished = cli("bench", "--suite", "busy", *option)
    assert finished.code == ExitCode.USAGE
    assert "it has --repeat, --json and --commit." in " ".join(finished.err.split())
