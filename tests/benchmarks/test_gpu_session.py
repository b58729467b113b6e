"""The session on a GPU, without one: what becomes of steps, what is read from commands, and what is written."""

from __future__ import annotations

import doctest
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import gpu_record
from benchmarks.gpu_session import __main__ as session_script
from benchmarks.gpu_session import commands, machine, results, steps, summary
from benchmarks.gpu_session.__main__ import main, plan
from benchmarks.gpu_session.commands import PYTHON, Finished, Log, Processes
from benchmarks.gpu_session.machine import Machine, examine, lacks
from benchmarks.gpu_session.results import Failed
from benchmarks.gpu_session.sizes import FULL, TRIAL
from benchmarks.gpu_session.steps import STEPS
from benchmarks.gpu_session.summary import Outcome
from benchmarks.gpu_session.turn import WIDTH, Result, Session, Step, Turn

CARD = Machine("NVIDIA H200", 1)


def step(name: str, code: str, *, stage: int = 0, seconds: int = 60, needs: tuple[str, ...] = ()) -> Step:
    """A step that runs Python code in a process."""

    def run(turn: Turn) -> Result:
        return Result(turn.call(PYTHON, "-c", code).output.strip(), {"seen": name})

    return Step(name, f"purpose of {name}", stage, seconds, run, needs)


def run_session(out: Path, parts: list[Step], *more: str) -> tuple[int, dict[str, Outcome]]:
    code = main(["--backend", "numpy", "--commit", "abc1234", "--out", str(out), *more], parts)
    return code, summary.read(out / summary.JSON)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands at their limit are killed soon after they were interrupted."""
    for module in (commands, session_script):
        monkeypatch.setattr(module, "GRACE", 0.2)


def make_turn(tmp_path: Path) -> Turn:
    """A turn of a minute."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    processes = Processes(Log(out / "logs.txt", {}))
    session = Session("cupy", False, CARD, FULL, None, out, tmp_path, processes)
    return Turn(session, "step", time.monotonic() + 60, False, 1)


def test_the_next_step_runs_whatever_became_of_the_last(tmp_path: Path, quick: None):
    parts = [
        step("broken", "import sys; print('segattn: It broke.'); sys.exit(3)"),
        step("slow", "import time; time.sleep(60)", stage=1, seconds=1),
        step("lacking", "", stage=1, needs=("no_such_module", "gpu")),
        Step("wrong", "", 2, 60, lambda turn: Result(str(1 // 0))),
        step("last", "print('well')", stage=3),
    ]
    code, outcomes = run_session(tmp_path, parts)
    assert code == 1
    assert {name: (each.status, each.sentence) for name, each in outcomes.items()} == {
        "broken": ("failed", "Exit code 3: segattn: It broke."),
        "slow": ("failed", "It took longer than its limit."),
        "lacking": (
            "not run",
            "no_such_module is not installed; it needs the backend cupy, and this is a session of numpy",
        ),
        "wrong": ("failed", "ZeroDivisionError: integer division or modulo by zero"),
        "last": ("passed", "well"),
    }
    assert outcomes["last"].commit == "abc1234"
    assert list(outcomes) == [each.name for each in parts]
    markdown = (tmp_path / "summary.md").read_text()
    assert "1 passed, 3 failed, 0 cut off, 1 not run" in markdown
    assert "| broken | failed | " in markdown
    logs = (tmp_path / "logs.txt").read_text()
    assert "===== slow: python -c 'import time; time.sleep(60)'\n===== ended by the time limit after 1." in logs
    assert "segattn: It broke." in logs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs.txt", "summary.json", "summary.md"]


def test_without_a_gpu_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session_script, "examine", lambda *_, **__: Machine("none", reason="no driver"))
    code, outcomes = run_session(tmp_path, [step("one", "")], "--backend", "cupy")
    assert (code, outcomes["one"].status, outcomes["one"].sentence) == (1, "not run", "there is no GPU: no driver")


def test_all_that_ran_has_passed(tmp_path: Path):
    assert run_session(tmp_path, [step("one", ""), step("lacking", "", needs=("gpu",))])[0] == 0
    assert run_session(tmp_path / "nothing", [step("lacking", "", needs=("gpu",))])[0] == 1


def test_a_later_call_continues(tmp_path: Path):
    switch = tmp_path / "mended"
    parts = [
        step("passes", f"import os; print('mended' if os.path.exists({str(switch)!r}) else 'at first')"),
        step("breaks", f"import os, sys; sys.exit(not os.path.exists({str(switch)!r}))"),
        step("waits", "print('here')", stage=1, seconds=1000),
    ]
    code, outcomes = run_session(tmp_path / "out", parts, "--seconds", "200")
    assert (code, outcomes["waits"].status) == (1, "not run")
    assert outcomes["waits"].sentence.endswith("s of the session were left, and it may take 1000 s")
    switch.touch()
    later = tmp_path / "later"
    code, outcomes = run_session(later, parts, "--after", str(tmp_path / "out" / "summary.json"))
    assert code == 0
    assert {name: each.status for name, each in outcomes.items()} == dict.fromkeys(outcomes, "passed")
    assert outcomes["passes"].sentence == "at first"  # was not run again
    logs = (later / "logs.txt").read_text()
    assert logs.index("===== waits") < logs.index("===== breaks")  # what failed before is the last
    code, outcomes = run_session(later, parts, "--only", "pass")
    assert outcomes["passes"].sentence == "mended"
    assert (later / "logs.txt").read_text().startswith(logs)


def test_a_former_outcome_is_not_lost_where_no_time_is_left():
    earlier = {"a": Outcome("a", "failed", "x"), "b": Outcome("b", "passed", ""), "c": Outcome("c", "cut off", "")}
    parts = [step(name, "") for name in "abcd"]
    assert [[each.name for each in group] for group in plan(parts, earlier, [])] == [["c", "d"], ["a"]]
    assert [[each.name for each in group] for group in plan(parts, earlier, ["b"])] == [["b"]]


def test_the_end_of_the_session_cuts_a_step_off(tmp_path: Path, quick: None):
    parts = [step("long", "import time; time.sleep(60)", seconds=3), step("none", "", stage=1, seconds=3)]
    code, outcomes = run_session(tmp_path, parts, "--seconds", "1.5")
    assert code == 1
    assert (outcomes["long"].status, outcomes["long"].sentence) == ("cut off", "The time of the session was over.")
    assert outcomes["none"].status == "not run"


def test_steps_of_a_stage_run_side_by_side_unless_they_are_timed(tmp_path: Path):
    """Each waits for what the other one leaves."""
    code = "import os, time, pathlib; pathlib.Path({!r}).touch()\nwhile not os.path.exists({!r}): time.sleep(0.01)"
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    parts = [step("one", code.format(here, there)), step("two", code.format(there, here))]
    assert run_session(tmp_path / "out", parts)[0] == 0
    timed = [step(name, "", stage=steps.TIMED[0]) for name in "ab"]
    assert [len(group) for group in plan(timed, {}, [])] == [1, 1]


SESSION = """
import sys
from pathlib import Path
from benchmarks.gpu_session.__main__ import main
from benchmarks.gpu_session.commands import PYTHON
from benchmarks.gpu_session.turn import Result, Step

def run(turn):
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    return Result(turn.call(PYTHON, "-c", code, sys.argv[2]).output)

steps = [Step("long", "", 0, 600, run), Step("never", "", 1, 60, run)]
sys.exit(main(["--backend", "numpy", "--out", sys.argv[1]], steps))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_session_with_its_commands(tmp_path: Path, repository: Path, number: signal.Signals):
    started, out = tmp_path / "started", tmp_path / "out"
    command = [sys.executable, "-c", SESSION, str(out), str(started)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=repository) as process:
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Interrupted; what was done until then is in the summary." in errors
    assert {name: each.status for name, each in summary.read(out / "summary.json").items()} == {"long": "cut off"}
    assert "ended by the time limit" in (out / "logs.txt").read_text()


def test_a_command_at_its_limit_can_write_what_it_has_and_leaves_nothing_behind(tmp_path: Path):
    number = tmp_path / "child"
    code = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(number)!r}).write_text(str(child.pid))
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("written")
"""
    finished = Processes(Log(tmp_path / "log", {})).run("a", [PYTHON, "-c", code], seconds=1.5)
    assert finished.late
    assert finished.output == "written\n"
    while is_running(int(number.read_text())):
        time.sleep(0.02)


def is_running(number: int) -> bool:
    """Whether there is such a process; a killed one is there until its new parent has seen it."""
    try:
        os.kill(number, 0)
        return Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_program_that_is_missing_is_a_failure(tmp_path: Path):
    with pytest.raises(Failed, match="Exit code 127: no-such-program: No such file"):
        make_turn(tmp_path).call("no-such-program")


def test_the_log_stays_small_and_names_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commands, "LARGEST", 60_000)
    log = Log(tmp_path / "log", {"/secret": "HERE"})
    for _ in range(10):
        log.write("a", ["x"], Finished(0, False, 1.0, "/secret" + 100_000 * "x" + "the end"))
    text = log.path.read_text()
    assert len(text) < 60_000 + commands.HEAD + commands.TAIL + 10 * 1500
    assert text.count("the end") == 10
    assert "/secret" not in text
    assert text.count("HERE") == 3  # later ones have no beginning
    assert len(Log(log.path, {}).path.read_text()) < 25_000


TESTS = """
import pytest
def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.fixture
def broken(): raise OSError("no such card")
def test_breaks(broken): pass
@pytest.mark.parametrize("n", [1, 2])
def test_skips(n): pytest.skip("PyTorch is not installed: pip install torch")
"""


def test_the_output_of_pytest_is_read(tmp_path: Path, repository: Path):
    file = tmp_path / "test_it.py"
    file.write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "tests.conftest", "-p", "no:cacheprovider", file]
    environment = os.environ | {"PYTHONPATH": str(repository), "COLUMNS": WIDTH}
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    tests = results.read_tests(output)
    assert tests.passed == 1
    assert dict(tests.failed) == {
        "test_it.py::test_fails": "assert 1 == 2", "test_it.py::test_breaks": "OSError: no such card",
    }  # fmt: skip
    assert dict(tests.skipped) == {"PyTorch is not installed: pip install torch": "2 tests"}
    assert tests.sentence == "1 passed, 2 failed, 2 skipped"


def give(monkeypatch: pytest.MonkeyPatch, *outputs: tuple[int, str], late: bool = False) -> list[list[str]]:
    """Let the next commands end with these exit codes and outputs; the commands that were called."""
    called: list[list[str]] = []
    waiting = iter(outputs)

    def run(self: Processes, name: str, command: list[str], **_: Any) -> Finished:
        called.append(list(command))
        code, output = next(waiting)
        return Finished(code, late, 1.0, output)

    monkeypatch.setattr(Processes, "run", run)
    return called


NAMES = ["tests/a.py::test_a[1 b]", "tests/a.py::test_b"]
FAILING = f"FAILED {NAMES[0]} - illegal access\nFAILED {NAMES[1]} - x\n2 failed, 5 passed in 1s\n"


def test_tests_that_failed_are_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    called = give(monkeypatch, (1, FAILING), (1, "1 failed"), (0, "1 passed"))
    with pytest.raises(Failed) as caught:
        steps.tests(make_turn(tmp_path))
    assert caught.value.sentence == "5 passed, 2 failed, 0 skipped: tests/a.py::test_a[1 b]: illegal access"
    assert caught.value.facts["alone"] == dict(zip(NAMES, ["fails", "passes"], strict=True))
    assert [command[-1] for command in called] == ["tests/backends/cupy", *NAMES]


def test_no_test_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    give(monkeypatch, (0, "== skipped ==\n300 tests: There is no driver.\n300 skipped in 1s"))
    with pytest.raises(Failed, match=r"No test has run: There is no driver\."):
        steps.tests(make_turn(tmp_path))
    give(monkeypatch, (0, "300 deselected in 1s"))
    with pytest.raises(Failed, match="No test has run: 300 deselected"):
        steps.sanitize(make_turn(tmp_path), tool="memcheck")


def test_errors_of_a_sanitizer_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    give(monkeypatch, (1, "93 passed in 1s\n========= ERROR SUMMARY: 2 errors\n"))
    with pytest.raises(Failed, match="Exit code 1: ========= ERROR SUMMARY: 2 errors"):
        steps.sanitize(make_turn(tmp_path), tool="memcheck")
    called = give(monkeypatch, (0, "93 passed in 1s\n========= ERROR SUMMARY: 0 errors\n"))
    assert steps.sanitize(make_turn(tmp_path), tool="memcheck").sentence == "93 tests without an error"
    assert called[0][:5] == ["env", "SEGATTN_TESTS_WITHOUT_POOL=1", "compute-sanitizer", "--tool", "memcheck"]


def write_check(tmp_path: Path, *passed: bool) -> None:
    comparisons = [
        {"subject": "relu", "direction": "forward", "case": "odd", "passed": each, "first_divergence": "y"}
        for each in passed
    ]
    (tmp_path / "check-tf32.json").write_text(json.dumps({"comparisons": comparisons}))


def test_a_check_that_differs_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    give(monkeypatch, (10, ""), (0, ""))
    write_check(tmp_path, True, False)
    with pytest.raises(Failed, match="1 of 2 comparisons differ: relu forward odd y"):
        steps.check(make_turn(tmp_path), dtype="tf32")
    write_check(tmp_path, True, True)
    assert steps.check(make_turn(tmp_path), dtype="tf32").sentence == "2 comparisons agree"


def write_run(folder: Path, losses: list[float | None], precisions: tuple[str, ...] = ("float32",)) -> Path:
    folder.mkdir(exist_ok=True)
    events: list[dict[str, Any]] = [{"event": "started", "precision": each} for each in precisions]
    events += [
        {
            "event": "step", "step": n + 1, "loss": loss, "seconds": 0.1 if n else 9.0, "images_per_second": 80.0,
            "wait_share": 0.25, "skipped": 0,
        }
        for n, loss in enumerate(losses)
    ]  # fmt: skip
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_a_training_is_described_and_compared(tmp_path: Path):
    losses = [3.0 - 0.01 * n for n in range(200)]
    described = results.describe_training(results.read_steps(write_run(tmp_path / "run", list(losses))))
    assert described["losses"] == losses
    assert (described["seconds a step"], described["waited for data"]) == (0.1, 0.25)
    near = [loss * 1.005 for loss in losses]
    assert results.compare_losses(near, losses, "float16")["first losses off"] == pytest.approx(0.005)
    with pytest.raises(Failed, match=r"first 5 losses is 2\.0e-01 off"):
        results.compare_losses([1.2 * losses[0], *losses[1:]], losses, "float16")
    with pytest.raises(Failed, match="last 20 losses are on average"):
        results.compare_losses([*losses[:100], *(3.0 for _ in range(100))], losses, "bfloat16")
    with pytest.raises(Failed, match="199 steps"):
        results.compare_losses(losses[1:], losses, "tf32")
    with pytest.raises(Failed, match="did not fall"):
        results.require_fall(losses[::-1])
    results.require_fall(losses)
    with pytest.raises(Failed, match="loss of step 2 is not finite"):
        results.describe_training(results.read_steps(write_run(tmp_path / "bad", [1.0, None])))


def test_losses_stand_side_by_side(tmp_path: Path):
    outcomes = {
        "train-float32": Outcome("train-float32", "passed", "", facts={"losses": [2.0, 1.5]}),
        "train-float16": Outcome("train-float16", "failed", "", facts={"losses": [2.0009765625, 1.25]}),
    }
    summary.Summary(CARD, list(outcomes), "cupy", outcomes).write(tmp_path)
    assert (tmp_path / "losses.csv").read_text() == "step,float32,float16\n1,2.0,2.0009765625\n2,1.5,1.25\n"
    assert "| step | float32 | float16 |\n| --- | --- | --- |\n| 1 | 2.00000 | 2.00098 |" in (
        tmp_path / "summary.md"
    ).read_text()


def test_a_run_that_was_not_resumed_in_another_precision_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained: list[tuple[str, ...]] = []

    def train(self: Turn, out: Path, *more: Any, precision: str = "float32", steps: int, seed: int = 0) -> None:
        trained.append((out.name, precision, str(steps), *map(str, more)))
        write_run(out, losses[out.name][:steps], said)

    monkeypatch.setattr(Turn, "train", train)
    said: tuple[str, ...] = (*steps.RESUMED, "float32")
    count = FULL.part * len(steps.RESUMED) + 1
    losses: dict[str, list[float | None]] = {name: [3.0] * count for name in ("resumed", "not-resumed")}
    assert steps.resume(make_turn(tmp_path)).sentence.startswith("61 steps, resumed in float32, float32, bfloat16")
    assert trained[2] == ("resumed", "bfloat16", "30", "--resume")
    assert trained[-2] == ("resumed", "float32", "61", "--resume", "--backend", "numpy")
    losses["not-resumed"][19] = 3.0000001
    with pytest.raises(Failed, match="Resumed in float32"):
        steps.resume(make_turn(tmp_path))
    said = ("float32",) * 7
    with pytest.raises(Failed, match="event log says"):
        steps.resume(make_turn(tmp_path))


def test_label_maps_are_compared(tmp_path: Path):
    labels = np.zeros((4, 5), np.uint8)
    for name, value in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        labels[0, 0] = value
        Image.fromarray(labels).save(tmp_path / name / "x.png")
    assert results.equal_labels(tmp_path / "a", tmp_path / "b") == 0.95
    (tmp_path / "a" / "y.png").touch()
    with pytest.raises(Failed, match="does not have the label maps"):
        results.equal_labels(tmp_path / "a", tmp_path / "b")


def test_arrays_are_compared(tmp_path: Path):
    files = [tmp_path / f"{name}.npz" for name in "abc"]
    for file, value in zip(files, (2.0, 2.5, np.nan), strict=True):
        np.savez(file, map=np.float32([5.0, value]), order=np.int32([int(file == files[0])]))
    assert results.largest_difference(files[0], files[1]) == (pytest.approx(0.1), "map")
    assert results.largest_difference(files[2], files[1])[1] == "map"
    assert not results.largest_difference(files[2], files[1])[0] <= steps.ARRAYS


def test_a_limit_of_the_memory_is_met_by_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sentence = "segattn: There is not enough memory (… 2.0 GB that SEGATTN_GPU_MEMORY allows): lower it."
    absent = "segattn: There is no device cupy:99: this machine has cupy:0."
    called = give(monkeypatch, (11, f"step 1\n{sentence}\n"), (6, absent))
    assert steps.refuse(make_turn(tmp_path)).sentence == f"exit codes 11 and 6: {sentence} {absent}"
    assert called[0][3:6] == ["--gpu-memory", "2GB", "train"]
    give(monkeypatch, (11, f"Traceback\n{sentence}\n"), (11, sentence), (6, "segattn: No."), (0, "done"))
    with pytest.raises(Failed, match="not one sentence about the limit"):
        steps.refuse(make_turn(tmp_path))
    with pytest.raises(Failed, match="not one sentence about the device"):
        steps.refuse(make_turn(tmp_path))
    with pytest.raises(Failed, match="Exit code 0: done"):
        steps.refuse(make_turn(tmp_path))


def test_the_doctor_describes_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    give(monkeypatch, (0, 'Note.\n{"gpu": {"device": "cupy:0, H200", "CUDA": "13.0"}}'), (0, '{"gpu": {}}'))
    assert steps.doctor(make_turn(tmp_path)).sentence == "device: cupy:0, H200, CUDA: 13.0"
    with pytest.raises(Failed, match="describes no GPU"):
        steps.doctor(make_turn(tmp_path))


@pytest.mark.parametrize("late", [False, True])
def test_the_record_is_found_as_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool):
    row = {"subject": "linear", "shape": "2", "work": "forward", "precision": "tf32", "ratio": 0.5}
    measured = {"machine": {"device": "NVIDIA H200", "date": "2026-12-01"}, "rows": [row], "differences": []}
    give(monkeypatch, (0, ""), late=late)
    (tmp_path / "record.json").write_text(json.dumps(measured))
    turn = make_turn(tmp_path)
    if late:  # what was measured is there all the same
        with pytest.raises(Failed, match="longer"):
            steps.record(turn)
    else:
        assert steps.record(turn).facts["ratios"] == {"linear 2 forward tf32": 0.5}
    assert gpu_record.newest(turn.session.out) == turn.session.out / "h200-2026-12-01.json"


def test_images_a_second_are_those_that_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = "360,480, 4 at once: 51.0 images/s, PyTorch 48.0; 1.06 of its time; 99.99 % of the labels equal"
    called = give(monkeypatch, (0, f"note\n{row}\n"), (1, "segattn: No."))
    turn = make_turn(tmp_path)
    assert steps.pictures(turn, precision="float16").sentence == row
    assert called[0][-1] == str(turn.session.out / "images-float16.json")
    with pytest.raises(Failed, match=r"Exit code 1: segattn: No\."):
        steps.pictures(turn, precision="float16")
    give(monkeypatch, (130, f"{row}\n"), late=True)
    with pytest.raises(Failed) as caught:
        steps.pictures(turn, precision="float16")
    assert caught.value.facts["rows"] == [row]


def test_what_is_missing_is_said_in_one_line():
    none = examine("numba", None, stand_in=False)
    assert (none.device, none.cards) == ("the CPU", 0)
    assert lacks("gpu", none, "numba") == "it needs the backend cupy, and this is a session of numba"
    gone = Machine("none", reason="ModuleNotFoundError: No module named 'cupy'")
    assert lacks("card", gone, "cupy") == "there is no GPU: ModuleNotFoundError: No module named 'cupy'"
    assert lacks("card", CARD, "cupy") == lacks("gpu", CARD, "cupy") == lacks("tool", CARD, "cupy") == ""
    assert lacks("card", CARD, "cupy", stand_in=True) != ""
    assert lacks("two cards", CARD, "cupy") == "there is one card, and each rank needs its own"
    assert lacks("two cards", Machine("H200", 2), "cupy") == ""


def test_without_its_packages_the_tool_is_not_tried(monkeypatch: pytest.MonkeyPatch):
    def version(name: str) -> str:
        if name == "pydantic":
            raise PackageNotFoundError(name)
        return "0.1" if name == "typer" else "999"

    monkeypatch.setattr(machine, "version", version)
    assert lacks("tool", CARD, "cupy") == (
        "the command segattn cannot start: typer 0.1 is older than 0.16; pydantic (2.9 or newer) is not installed"
    )


def test_what_is_read_from_no_summary_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "summary.json"
    file.write_text("[]")
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path)])
    assert caught.value.code == 2
    assert "is not the summary of a session" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--only", "no-such-step"])
    assert "there is no step 'no-such-step': choose from doctor, tests, check-float32" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--data", str(tmp_path)])
    assert "there is no CamVid in" in capsys.readouterr().err


def test_the_help_lists_the_steps_and_how_packages_are_taken_along(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {each.name} " in text for each in STEPS)
    assert "pip install --no-index --find-links wheels" in text
    names = [each.name for each in STEPS]
    assert len(set(names)) == len(names)
    assert [each.stage for each in STEPS] == sorted(each.stage for each in STEPS)


@pytest.mark.parametrize("module", [commands, machine, results, summary], ids=lambda module: module.__name__)
def test_examples_run(module: ModuleType):
    assert doctest.testmod(module).failed == 0


@pytest.mark.slow  # trains, resumes, evaluates, predicts and explains with the tool
def test_the_steps_of_the_tool_run_to_their_end_on_a_cpu(tmp_path: Path):
    only = [word for name in ("train", "resume", "eval", "infer", "explain") for word in ("--only", name)]
    arguments = ["--backend", "numpy", "--trial", "--seconds", "3000", "--out", str(tmp_path), *only]
    assert main(arguments) == 0
    outcomes = summary.read(tmp_path / summary.JSON)
    assert [name for name, each in outcomes.items() if each.status == "passed"] == [
        "train-float32", "eval", "infer", "explain", "resume",
    ]  # fmt: skip
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 1 + TRIAL.steps
