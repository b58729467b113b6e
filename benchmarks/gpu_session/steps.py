"""The steps of a session, the most valuable first. Each returns what it has shown, or raises :class:`Failed`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.gpu_session import results
from benchmarks.gpu_session.commands import PYTHON
from benchmarks.gpu_session.results import Failed
from benchmarks.gpu_session.turn import Result, Step, Turn, cores, tool

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
#: In the order in which a run is resumed: from each to a coarser and to a finer one, and twice the same.
RESUMED = ("float32", "float32", "bfloat16", "float16", "tf32", "float32")
#: Fraction of the labels that may differ from those of the backend numpy, and points of the pixel accuracy, too.
LABELS = {"float32": 0.005, "float16": 0.05}
#: How far an array of an explanation may be from that of the backend numpy, relative to its largest value.
ARRAYS = 0.01
LIMIT, MEMORY_CODE, BACKEND_CODE = "2GB", 11, 6
#: Failed tests that are run once more, each in a process of its own.
MOST_ALONE = 8


def tests(turn: Turn) -> Result:
    """The tests of the backend, in several processes where pytest-xdist is installed.

    After an illegal access, every other call of its process fails, too. So tests that failed are run once more,
    each in a process of its own.
    """
    sizes = turn.session.sizes
    parallel = ["-n", str(min(cores(), 4))] if find_spec("xdist") and not turn.session.stand_in else []
    select = ["-k", sizes.tests] if sizes.tests else []
    lenient = "--continue-on-collection-errors"  # a file that cannot be imported is one failure
    finished = turn.attempt(*_pytest(turn), *parallel, *select, lenient, "tests/backends/cupy")
    counted = results.read_tests(finished.output)
    facts: dict[str, Any] = {
        "passed": counted.passed, "failed": dict(counted.failed), "skipped": dict(counted.skipped),
    }  # fmt: skip
    alone = {}
    for name in list(counted.failed)[:MOST_ALONE] if len(counted.failed) > 1 else []:
        if turn.seconds_left > 0 and "::" in name:
            alone[name] = "passes" if turn.attempt(*_pytest(turn), name).code == 0 else "fails"
    if alone:
        facts["alone"] = alone
    if counted.failed:
        raise Failed(f"{counted.sentence}: {_first(counted.failed)}", facts)
    if finished.late:
        turn.stop(facts)
    if finished.code:
        raise Failed(f"Exit code {finished.code}: {finished.last_line}", facts)
    if not counted.passed:
        raise Failed(f"No test has run: {next(iter(counted.skipped), finished.last_line)}", facts)
    return Result(counted.sentence, facts)


def _pytest(turn: Turn) -> list[str]:
    plugins = ["-p", "tests.cuda_cpu.plugin"] if turn.session.stand_in else []
    return [PYTHON, "-m", "pytest", *plugins, "-m", "gpu", "-rfE", "-p", "no:cacheprovider"]


def _first(failed: Mapping[str, str]) -> str:
    name, error = next(iter(failed.items()))
    return f"{name}: {error}" if error else name


def check(turn: Turn, dtype: str) -> Result:
    """The cross-check of all ops and networks in one data type."""
    file = turn.work / f"check-{dtype}.json"
    session = turn.session
    finished = turn.segattn(
        "check", *session.sizes.check, "--backend", session.backend, "--dtype", dtype, "--json", file,
        codes=(0, 10),
    )  # fmt: skip
    compared = json.loads(file.read_text(encoding="utf-8"))["comparisons"]
    differ = [each for each in compared if not each["passed"]]
    facts = {"comparisons": len(compared), "differ": [_difference(each) for each in differ[:20]]}
    if differ:
        raise Failed(f"{len(differ)} of {len(compared)} comparisons differ: {_difference(differ[0])}", facts)
    if finished.code or not compared:
        raise Failed(f"Exit code {finished.code} after {len(compared)} comparisons.", facts)
    return Result(f"{len(compared)} comparisons agree", facts)


def _difference(comparison: Mapping[str, Any]) -> str:
    words = ("subject", "direction", "case", "first_divergence", "reason")
    return " ".join(str(comparison[word]) for word in words if comparison.get(word))


def train(turn: Turn, precision: str) -> Result:
    """A training from the same seed in each precision: its losses, and the time of a step."""
    session = turn.session
    run = _anew(turn.work / f"train-{precision}")
    turn.train(run, precision=precision, steps=session.sizes.steps)
    facts = results.describe_training(results.read_steps(run))
    losses = facts["losses"]
    if len(losses) != session.sizes.steps:
        raise Failed(f"The run has {len(losses)} of {session.sizes.steps} steps.", facts)
    exact = session.facts.get("train-float32")
    try:
        results.require_fall(losses)
        if exact is not None and precision != "float32":
            facts |= results.compare_losses(losses, exact["losses"], precision)
    except Failed as error:
        raise Failed(error.sentence, facts) from None
    return Result(
        f"loss {losses[0]:.4f} → {losses[-1]:.4f}, {1e3 * facts['seconds a step']:.1f} ms a step, "
        f"{100 * facts['waited for data']:.0f} % of it for data",
        facts,
    )


def resume(turn: Turn) -> Result:
    """One run that is resumed in other precisions, at last by NumPy; in the same one, the bits are the same."""
    part, on_gpu = turn.session.sizes.part, turn.session.backend == "cupy"
    chain = RESUMED if on_gpu else ("float32", "float32")
    run = _anew(turn.work / "resumed")
    for n, precision in enumerate(chain):
        turn.train(run, *(["--resume"] if n else []), precision=precision, steps=part * (n + 1))
    turn.train(run, "--resume", "--backend", "numpy", steps=part * len(chain) + 1)
    steps, precisions = results.read_steps(run), results.read_precisions(run)
    facts = results.describe_training(steps) | {"precisions": precisions}
    if precisions != [*chain, "float32"]:
        raise Failed(f"The event log says that it was resumed in {', '.join(precisions)}.", facts)
    if [step["step"] for step in steps] != list(range(1, part * len(chain) + 2)):
        raise Failed(f"The run has the steps {[step['step'] for step in steps]}.", facts)
    whole = _anew(turn.work / "not-resumed")
    turn.train(whole, steps=2 * part)
    losses = [step["loss"] for step in results.read_steps(whole)]
    if losses != facts["losses"][: 2 * part]:
        raise Failed(f"Resumed in float32, the losses are {facts['losses'][: 2 * part]}, else {losses}.", facts)
    return Result(
        f"{len(steps)} steps, resumed in {', '.join(chain)} and by numpy; the first {2 * part} losses are those of "
        "a run without a pause",
        facts,
    )


def evaluate(turn: Turn) -> Result:
    """The evaluation of a trained network, compared with that of the backend numpy."""
    run = _trained(turn)
    accuracy = {}
    for name, (backend, precision) in _ways(turn).items():
        file = turn.work / f"eval-{name}.json"
        turn.segattn(
            "eval", run, "--backend", backend, "--precision", precision, "--limit", turn.session.sizes.images,
            "--json", file,
        )  # fmt: skip
        accuracy[name] = json.loads(file.read_text(encoding="utf-8"))["pixel_accuracy"]
    for name, value in accuracy.items():
        if abs(value - accuracy["numpy"]) > LABELS.get(name, 0):
            exact = accuracy["numpy"]
            raise Failed(f"The pixel accuracy is {value:.4f} in {name}, by numpy {exact:.4f}.", accuracy)
    return Result(f"pixel accuracy {_listed(accuracy)}", accuracy)


def infer(turn: Turn) -> Result:
    """The labels of images, compared with those of the backend numpy; and within a small limit of the memory."""
    run, images = _trained(turn), _images(turn)
    folders = {}
    for name, (backend, precision) in _ways(turn).items():
        folders[name] = _anew(turn.work / f"infer-{name}")
        turn.segattn(
            "infer", run, *images, "--backend", backend, "--precision", precision, "--out", folders[name],
        )  # fmt: skip
    if turn.session.backend == "cupy" and not turn.session.stand_in:
        limited = _anew(turn.work / "infer-limited")
        turn.segattn("--gpu-memory", LIMIT, "infer", run, *images, "--backend", "cupy", "--out", limited)
    equal = {name: results.equal_labels(folder, folders["numpy"]) for name, folder in folders.items()}
    for name, fraction in equal.items():
        if 1 - fraction > LABELS.get(name, 0):
            raise Failed(f"In {name}, {100 * fraction:.2f} % of the labels are those of numpy.", equal)
    del equal["numpy"]
    return Result(f"labels equal to numpy's: {_listed(equal)}", equal)


def explain(turn: Turn) -> Result:
    """The page of two images, and its arrays, compared with those of the backend numpy."""
    run, images = _trained(turn), _images(turn)[:2]
    for name, backend in (("own", turn.session.backend), ("numpy", "numpy")):
        page, arrays = turn.work / f"explain-{name}.html", turn.work / f"explain-{name}.npz"
        turn.segattn("explain", run, *images, "--backend", backend, "--out", page, "--npz", arrays)
    off, furthest = results.largest_difference(turn.work / "explain-own.npz", turn.work / "explain-numpy.npz")
    facts = {"off": off, "array": furthest, "bytes of the page": page.stat().st_size}
    if not off <= ARRAYS:
        raise Failed(f"The array {furthest} is {off:.1e} off that of numpy.", facts)
    return Result(f"arrays at most {off:.1e} off those of numpy", facts)


def doctor(turn: Turn) -> Result:
    """What the tool says of the GPU."""
    output = turn.segattn("doctor", "--json").output  # with what it said on standard error
    gpu = json.loads(output[output.find("{") : output.rfind("}") + 1])["gpu"]
    if not gpu or "device" not in gpu:
        raise Failed("It describes no GPU.", gpu)
    return Result(", ".join(f"{name}: {value}" for name, value in gpu.items()), gpu)


def refuse(turn: Turn) -> Result:
    """One sentence each: a training that needs more than ``--gpu-memory`` allows, a device that is not there."""
    out = _anew(turn.work / "limited")
    session = turn.session
    finished = turn.segattn(
        "--gpu-memory", LIMIT, "train", *session.sizes.network(session.data), "--backend", "cupy", "--max-steps", 2,
        "--out", out, *session.sizes.large, codes=(MEMORY_CODE,),
    )  # fmt: skip
    if not results.is_one_sentence(finished.output, "SEGATTN_GPU_MEMORY"):
        raise Failed(f"Exit code {MEMORY_CODE}, but not one sentence about the limit: {finished.last_line}")
    absent = turn.segattn("check", "--backend", "cupy:99", "--op", "relu", codes=(BACKEND_CODE,))
    if not results.is_one_sentence(absent.output, "cupy:99"):
        raise Failed(f"Exit code {BACKEND_CODE}, but not one sentence about the device: {absent.last_line}")
    return Result(f"exit codes {MEMORY_CODE} and {BACKEND_CODE}: {finished.last_line} {absent.last_line}")


def two_processes(turn: Turn) -> Result:
    """Two trainings at the same time, which share the card, and compute the same bits."""
    runs = [_anew(turn.work / f"beside-{n}") for n in (1, 2)]
    with ThreadPoolExecutor(len(runs)) as pool:
        for ended in [pool.submit(turn.train, run, steps=2 * turn.session.sizes.part) for run in runs]:
            ended.result()
    first, second = ([step["loss"] for step in results.read_steps(run)] for run in runs)
    if first != second:
        raise Failed(f"Their losses differ: {first} and {second}.")
    return Result(f"both trained {len(first)} steps with the same losses")


def two_ranks(turn: Turn) -> Result:
    """A training on two ranks, each with a card, and on one: their losses are the same bits."""
    steps = 2 * turn.session.sizes.part
    losses = []
    for ranks in (1, 2):
        run = _anew(turn.work / f"ranks-{ranks}")
        turn.train(run, "--set", "optimiser.accumulate=2", "--ranks", ranks, steps=steps)
        losses.append([step["loss"] for step in results.read_steps(run)])
    if losses[0] != losses[1]:
        raise Failed(f"On one rank the losses are {losses[0]}, on two {losses[1]}.")
    return Result(f"{steps} steps with the losses of one rank")


def record(turn: Turn) -> Result:
    """The speed compared with PyTorch. What was measured until the end of the time is recorded, too."""
    session = turn.session
    file = turn.work / "record.json"
    commit = [] if session.machine.changed is not None else ["--commit", session.machine.commit]
    finished = turn.attempt(
        *tool(session, "bench", "--backend", session.backend, *session.sizes.bench, *commit, "--json", file)
    )
    if not file.is_file():
        if finished.late:
            turn.stop()
        raise Failed(f"Exit code {finished.code}: {finished.last_line}")
    measured = json.loads(file.read_text(encoding="utf-8"))
    name = results.record_name(measured["machine"].get("device", "cpu"), measured["machine"]["date"])
    shutil.copyfile(file, session.out / name)
    ratios = {
        " ".join(str(row[key]) for key in ("subject", "shape", "work", "precision")): row["ratio"]
        for row in measured["rows"]
    }
    facts = {"file": name, "ratios": ratios, "differences": measured["differences"]}
    if measured["differences"]:
        raise Failed(measured["differences"][0], facts)
    if finished.late:
        turn.stop(facts)
    if finished.code or not ratios:
        raise Failed(f"Exit code {finished.code} with {len(ratios)} rows: {finished.last_line}", facts)
    return Result(f"{len(ratios)} rows in {name}", facts)


def pictures(turn: Turn, precision: str) -> Result:
    """Images a second, from files to files, beside PyTorch."""
    session = turn.session
    file = session.out / f"images-{precision}.json"
    finished = turn.attempt(
        PYTHON, "-m", "benchmarks.many_pictures", session.sizes.preset, *session.sizes.pictures, "--backend",
        session.backend, "--precision", precision, "--json", str(file),
    )  # fmt: skip
    rows = [line for line in finished.output.splitlines() if " images/s, " in line]
    facts = {"rows": rows}
    if finished.late:
        turn.stop(facts)
    if finished.code or not rows:
        raise Failed(f"Exit code {finished.code}: {finished.last_line}", facts)
    return Result("; ".join(rows), facts | {"file": file.name})


def sanitize(turn: Turn, tool: str) -> Result:
    """Some of the tests under a tool of compute-sanitizer, which knows the end of an array without CuPy's pool."""
    finished = turn.call(
        "env", "SEGATTN_TESTS_WITHOUT_POOL=1",
        "compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *_pytest(turn), "-k",
        turn.session.sizes.sanitized, "tests/backends/cupy/test_ops.py", codes=(0, 1),
    )  # fmt: skip
    counted = results.read_tests(finished.output)
    errors = re.findall(r"ERROR SUMMARY: (\d+) error", finished.output)
    facts = {"passed": counted.passed, "failed": dict(counted.failed), "errors": list(map(int, errors))}
    if counted.failed:
        raise Failed(f"{counted.sentence}: {_first(counted.failed)}", facts)
    if finished.code or any(map(int, errors)):
        raise Failed(f"Exit code {finished.code}: {finished.last_line}", facts)
    if not counted.passed:
        raise Failed(f"No test has run: {next(iter(counted.skipped), finished.last_line)}", facts)
    return Result(f"{counted.passed} tests without an error", facts)


def _ways(turn: Turn) -> dict[str, tuple[str, str]]:
    """How images are predicted: a name, the backend, and the precision; NumPy is what others are compared with."""
    backend = turn.session.backend
    precisions = ("float32", "float16") if backend == "cupy" else ("float32",)
    return {each: (backend, each) for each in precisions} | {"numpy": ("numpy", "float32")}


def _trained(turn: Turn) -> Path:
    """A run to predict with: that of the training in float32, or a short one where that was not in this session."""
    with turn.session.training:
        for run in (turn.work / "train-float32", turn.work / "short"):
            if (run / "best.safetensors").is_file():
                return run
        turn.train(_anew(run), steps=2 * turn.session.sizes.part)
        return run


def _images(turn: Turn) -> list[Path]:
    """Images to predict: of the data set's validation, or drawn ones."""
    session = turn.session
    count = session.sizes.images
    if session.data is not None:
        return sorted((session.data / "val").glob("*.png"))[:count]
    folder = turn.work / "images" / "images"
    with session.training:
        if not folder.is_dir():
            size = ",".join(map(str, session.sizes.scenes))
            turn.segattn(
                "data", "sample", "scenes", "--split", "val", "--count", count, "--size", size, "--out",
                folder.parent,
            )  # fmt: skip
    return sorted(folder.glob("*.png"))


def _anew(folder: Path) -> Path:
    """A path where nothing is, so that a command can make a folder there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


#: The stages whose steps are timed, and so run one after the other.
TIMED = (1, 3, 4)
STEPS = (
    Step("doctor", "segattn doctor", 0, 60, doctor, ("card", "tool")),
    Step("tests", "tests of the backend", 0, 300, tests, ("gpu", "pytest")),
    *[
        Step(f"check-{each}", f"segattn check in {each}", 0, 240, partial(check, dtype=each), ("tool", *needs))
        for each, needs in (
            ("float32", ()), ("float16", ("gpu",)), ("bfloat16", ("gpu",)), ("tf32", ("gpu",)), ("float64", ()),
        )
    ],
    *[
        Step(
            f"train-{each}", f"segattn train in {each}", 1, 90, partial(train, precision=each),
            ("tool", *(() if each == "float32" else ("gpu",))),
        )
        for each in PRECISIONS
    ],
    Step("eval", "segattn eval, beside numpy", 2, 120, evaluate, ("tool",)),
    Step("infer", "segattn infer, beside numpy", 2, 120, infer, ("tool",)),
    Step("explain", "segattn explain, beside numpy", 2, 120, explain, ("tool",)),
    Step("resume", "a run that is resumed in other precisions", 2, 180, resume, ("tool",)),
    Step("errors", f"--gpu-memory {LIMIT} is too little, cupy:99 is not there", 2, 90, refuse, ("card", "tool")),
    Step("processes", "two processes on one card", 2, 120, two_processes, ("tool",)),
    Step("ranks", "two ranks with a card each", 2, 120, two_ranks, ("two cards", "mpi", "tool")),
    Step("record", "segattn bench against PyTorch", 3, 400, record, ("clock", "torch", "tool")),
    *[
        Step(
            f"images-{each}", f"images a second of infer in {each}", 4, 240, partial(pictures, precision=each),
            ("clock", "torch", "tool", *(() if each == "float32" else ("gpu",))),
        )
        for each in ("float16", "float32")
    ],
    *[
        Step(each, f"compute-sanitizer's {each}", 5, 300, partial(sanitize, tool=each), (
            "card", "compute-sanitizer", "pytest",
        ))
        for each in ("memcheck", "racecheck", "synccheck")
    ],
)  # fmt: skip
