"""What is planned, what a run yields, and what the command prints, writes and exits with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import reference.ops
from backends import get_backend
from backends.tolerances import compare, failure
from reference.networks.config import CHANNEL_FORMS, FUSIONS, HEADS, SCALE_CLASSIFIERS
from segattn_cli.checking import DTYPES, GPU_DTYPES, plan, run
from segattn_cli.checking.cases import CASES
from segattn_cli.checking.network_checks import NETWORKS
from segattn_cli.checking.results import summarise
from segattn_cli.commands.check import check
from segattn_cli.errors import ExitCode, OutputError, UsageError

KEYS = [
    "subject", "direction", "dtype", "case", "max_abs", "max_rel", "ulp", "tolerance", "passed", "first_divergence",
]  # fmt: skip


@pytest.fixture
def command() -> Callable[..., Any]:
    app = typer.Typer()
    app.command()(check)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_networks_have_every_part() -> None:
    configs = NETWORKS.values()
    assert {config.head for config in configs} == set(HEADS)
    assert {config.fusion for config in configs if len(config.scales) > 1} == set(FUSIONS)
    assert {config.scale_classifier for config in configs} == set(SCALE_CLASSIFIERS)
    assert {config.channel_form for config in configs} == set(CHANNEL_FORMS)
    assert {config.align_corners for config in configs} == {False, True}
    assert {config.auxiliary_head for config in configs} == {False, True}
    assert {config.stem_channels if config.deep_stem else None for config in configs} == {None, 32}


def test_without_names_everything_is_planned() -> None:
    everything = plan()
    assert list(everything.ops) == list(CASES)
    assert everything.networks == NETWORKS
    assert everything.dtypes == DTYPES
    assert plan(gpu=True).dtypes == (*DTYPES, *GPU_DTYPES)
    quick = plan(quick=True, gpu=True)
    assert quick.dtypes == ("float32",)
    assert list(quick.networks) == [name for name in NETWORKS if name.startswith("tiny")]


def test_names_choose() -> None:
    assert plan(ops=["relu"]).networks == {}
    assert list(plan(networks=["tiny-scenes"]).networks) == ["tiny-scenes"]
    assert plan(networks=["tiny-fcn"]).ops == ()
    assert plan(ops=["relu"], dtypes=["float64"], quick=True).dtypes == ["float64"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"ops": ["conv2"]}, "no op 'conv2' (did you mean conv2d?)"),
        ({"networks": ["tiny-scene"]}, "no network 'tiny-scene' (did you mean tiny-scenes?)"),
        ({"dtypes": ["float23"]}, "no dtype 'float23' (did you mean float32?)"),
        ({"dtypes": ["int"]}, "there are float64, float32, tf32, float16, bfloat16;"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(names: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match="There is") as caught:
        plan(**names)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["reference", "numpy", "numba"])
def test_a_backend_agrees_with_the_reference(name: str) -> None:
    if name == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")
    results = list(run(get_backend(name), plan(quick=True)))
    assert [result for result in results if not result.passed] == []
    assert len(results) >= 150
    assert {result.subject for result in results} >= {*CASES, "tiny-dual-attention"}
    backward = {result.subject for result in results if result.direction == "backward"}
    assert backward >= {*CASES} - {"concatenate", "stack"}


def test_a_summary_names_the_first_failure_and_the_worst_figures() -> None:
    good = compare(1.0, 1.0, "float64")
    worse, off = compare(1.0, 1.5, "float64"), compare(2.0, 2.25, "float64")
    tensors = [
        ("forward", "y", good),
        ("backward", "dx", good),
        ("backward", "dweight", off),
        ("backward", "dbias", worse),
    ]
    forward, backward = summarise("linear", "tokens", "float64", tensors)
    assert (forward.direction, forward.passed, forward.first_divergence) == ("forward", True, None)
    assert (backward.direction, backward.passed, backward.first_divergence) == ("backward", False, "dweight")
    assert (backward.max_abs, backward.max_rel) == (0.5, 0.5)
    assert "1.2e-01" in backward.reason


def test_what_could_not_be_compared_is_null_in_json() -> None:
    (result,) = summarise("relu", "map", "float32", [("forward", "y", failure("float32", "is missing"))])
    written = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert list(written) == KEYS
    assert written["max_abs"] is written["max_rel"] is written["ulp"] is None


def test_the_command_writes_json(command: Callable, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = command("--backend", "reference", "--op", "softmax", "--network", "tiny-fcn", "--json", path)
    assert done.exit_code == ExitCode.OK, done.output
    assert "reference agrees with the reference" in done.stdout
    report = json.loads(path.read_text())
    assert list(report) == ["backend", "passed", "comparisons"]
    assert (report["backend"], report["passed"]) == ("reference", True)
    assert all(list(each) == KEYS for each in report["comparisons"])
    assert {each["subject"] for each in report["comparisons"]} == {"softmax", "tiny-fcn"}
    assert {each["dtype"] for each in report["comparisons"]} == {"float64", "float32"}


def test_a_disagreement_is_named_and_has_an_exit_code(
    command: Callable, broken: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def flipped(dy: Any, cache: Any) -> Any:
        dx, dupdate, dgate = reference.ops.gated_residual_backward(dy, cache)
        return dx, dupdate, -dgate

    monkeypatch.setattr("backends.get_backend", lambda name: broken(gated_residual_backward=flipped))
    path = tmp_path / "report.json"
    done = command("--op", "gated_residual", "--op", "relu", "--json", path)
    assert done.exit_code == ExitCode.DISAGREE
    assert "✗ gated_residual backward: dgate is off by 2.0e+00 of its largest value (gate 0.7" in done.stdout
    assert "differs from the reference in 14 of 56 comparisons, first in dgate (gated_residual)." in done.stdout
    failed = [each for each in json.loads(path.read_text())["comparisons"] if not each["passed"]]
    assert {(each["subject"], each["direction"], each["first_divergence"]) for each in failed} == {
        ("gated_residual", "backward", "dgate")
    }


def test_the_command_lists_what_there_is(command: Callable) -> None:
    done = command("--list")
    assert done.exit_code == 0
    for name in ("position_attention", "tiny-dual-attention", "danet-resnet18-camvid", "float32"):
        assert name in done.stdout


def test_a_report_that_cannot_be_written_is_one_sentence(command: Callable, tmp_path: Path) -> None:
    done = command("--backend", "reference", "--op", "relu", "--json", tmp_path / "nowhere" / "report.json")
    assert isinstance(done.exception, OutputError)
    assert "There is no folder" in str(done.exception)
    (tmp_path / "report.json").mkdir()
    done = command("--backend", "reference", "--op", "relu", "--json", tmp_path / "report.json")
    assert isinstance(done.exception, OutputError)
    assert done.stdout == ""  # before anything is checked


def test_a_report_on_standard_output(command: Callable) -> None:
    done = command("--backend", "reference", "--op", "relu", "--json", "-")
    assert json.loads(done.stdout)["passed"]
