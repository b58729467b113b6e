"""What commands have left: tests, losses, label maps, arrays; each is read and judged here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

#: How far the losses of the first steps, and the mean of the last ones, may be from those in float32; relative.
LOSSES = {"tf32": (1e-2, 0.1), "float16": (1e-2, 0.1), "bfloat16": (3e-2, 0.1)}
#: Steps that are compared at the beginning. Later, rounding has had its effect on the weights.
FIRST = 5
#: Steps from which on a training is long enough for its loss to fall.
LONG = 100


class Unfinished(Exception):
    """Why a step did not pass: one sentence, and what it has seen until then."""

    def __init__(self, sentence: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.facts = facts or {}


class Failed(Unfinished):
    """A step has shown a fault."""


class CutOff(Unfinished):
    """The session's time was over before a step had ended."""


@dataclass(frozen=True)
class Tests:
    """What a run of pytest counted."""

    passed: int
    failed: Mapping[str, str]  # the name of a test, and the first line of its error
    skipped: Mapping[str, str]  # how many, by their reason

    @property
    def sentence(self) -> str:
        skipped = sum(map(_number, self.skipped.values()))
        return f"{self.passed} passed, {len(self.failed)} failed, {skipped} skipped"


def read_tests(output: str) -> Tests:
    """The counts of pytest, from its output with ``-rfE`` and the list of skips of ``tests/conftest.py``.

    >>> tests = read_tests(
    ...     "FAILED tests/a.py::test_b[1] - assert 1 == 2\\n"
    ...     "====== skipped ======\\n2 tests: PyTorch is not installed\\n1 failed, 8 passed, 2 skipped in 0.12s\\n"
    ... )
    >>> tests.passed, tests.failed, tests.skipped
    (8, {'tests/a.py::test_b[1]': 'assert 1 == 2'}, {'PyTorch is not installed': '2 tests'})
    """
    failed = {}
    for name, error in re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - (.*))?$", output, re.MULTILINE):
        failed[name] = error
    skipped = {}
    _, heading, rest = output.partition(" skipped =")
    if heading:
        for number, reason in re.findall(r"^(\d+ (?:tests?|files?)[^:\n]*): (.*)$", rest, re.MULTILINE):
            skipped[reason] = number
    passed = re.findall(r"\b(\d+) passed\b", output)
    return Tests(int(passed[-1]) if passed else 0, failed, skipped)


def _number(text: str) -> int:
    return sum(map(int, re.findall(r"\d+", text)))


def read_steps(run: Path) -> list[dict[str, Any]]:
    """The steps of a run, as its event log has them."""
    return [event for event in _events(run) if event["event"] == "step"]


def read_precisions(run: Path) -> list[str]:
    """The precision of each start of a run: the first, and every one that resumed it."""
    return [event["precision"] for event in _events(run) if event["event"] == "started"]


def _events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def describe_training(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The losses of a training, and the time of a step once all is compiled.

    Raises :class:`Failed` where a loss is not finite.
    """
    losses = [step["loss"] for step in steps]
    if not losses:
        raise Failed("The run has no step.")
    for step in steps:
        if step["loss"] is None or not math.isfinite(step["loss"]):
            raise Failed(f"The loss of step {step['step']} is not finite.")
    later = steps[len(steps) // 2 :]
    return {
        "losses": losses,
        "seconds a step": median(step["seconds"] for step in later),
        "images a second": median(step["images_per_second"] for step in later),
        "waited for data": median(step["wait_share"] for step in later),
        "skipped steps": steps[-1]["skipped"],
    }


def compare_losses(losses: Sequence[float], exact: Sequence[float], precision: str) -> dict[str, float]:
    """How far the losses in ``precision`` are from those in float32, at the beginning and at the end.

    Raises :class:`Failed` where they are further apart than :data:`LOSSES` allows.
    """
    if len(losses) != len(exact):
        raise Failed(f"The training in {precision} has {len(losses)} steps, that in float32 {len(exact)}.")
    tenth = max(len(exact) // 10, 1)
    first = max(abs(a - b) / abs(b) for a, b in zip(losses[:FIRST], exact[:FIRST], strict=True))
    last = abs(mean(losses[-tenth:]) - mean(exact[-tenth:])) / abs(mean(exact[-tenth:]))
    of_first, of_last = LOSSES[precision]
    if first > of_first:
        raise Failed(f"One of the first {FIRST} losses is {first:.1e} off that in float32, more than {of_first:g}.")
    if last > of_last:
        raise Failed(f"The last {tenth} losses are on average {last:.1e} off float32's, more than {of_last:g}.")
    return {"first losses off": first, "last losses off": last}


def require_fall(losses: Sequence[float]) -> None:
    """Raise :class:`Failed` unless the loss of a long training falls."""
    tenth = max(len(losses) // 10, 1)
    first, last = mean(losses[:tenth]), mean(losses[-tenth:])
    if len(losses) >= LONG and not last < first:
        raise Failed(f"The loss did not fall: {first:.3f} at first, {last:.3f} at last.")


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def equal_labels(ours: Path, theirs: Path) -> float:
    """The fraction of pixels with the same label in two folders of predictions, which have the same names."""
    import numpy as np
    from PIL import Image

    names = sorted(path.name for path in theirs.glob("*.png"))
    if not names or names != sorted(path.name for path in ours.glob("*.png")):
        raise Failed(f"The folder {ours.name} does not have the label maps of {theirs.name}.")
    same = pixels = 0
    for name in names:
        a, b = (np.asarray(Image.open(folder / name)) for folder in (ours, theirs))
        if a.shape != b.shape:
            raise Failed(f"{name} is {a.shape} in {ours.name} and {b.shape} in {theirs.name}.")
        same += int((a == b).sum())
        pixels += a.size
    return same / pixels


def largest_difference(ours: Path, theirs: Path) -> tuple[float, str]:
    """How far the floats of two .npz files are apart, relative to the largest of the array, and in which array."""
    import numpy as np

    largest, furthest = 0.0, "none"
    with np.load(ours) as a, np.load(theirs) as b:
        if sorted(a) != sorted(b):
            raise Failed(f"{ours.name} does not have the arrays of {theirs.name}.")
        for name in b:
            exact, value = b[name], a[name]
            if exact.shape != value.shape:
                raise Failed(f"{name} is {value.shape} in {ours.name} and {exact.shape} in {theirs.name}.")
            if exact.dtype.kind != "f" or exact.size == 0:
                continue
            off = float(np.abs(value - exact).max() / (np.abs(exact).max() or 1.0))
            if not off <= largest:  # NaN is the largest
                largest, furthest = off, name
    return largest, furthest


def is_one_sentence(output: str, words: str) -> bool:
    """Whether ``output`` has one line of segattn's with ``words``, and no traceback.

    >>> is_one_sentence("segattn: There is not enough memory.\\n", "memory")
    True
    >>> is_one_sentence("Traceback (most recent call last):\\nsegattn: There is not enough memory.\\n", "memory")
    False
    """
    lines = [line for line in output.splitlines() if words in line and line.startswith("segattn: ")]
    return len(lines) == 1 and "Traceback" not in output


def record_name(device: str, date: str) -> str:
    """The file name of a record, as ``benchmarks/records`` has them.

    >>> record_name("NVIDIA H100 80GB HBM3", "2026-11-22"), record_name("NVIDIA A100-SXM4-80GB", "2026-11-22")
    ('h100-2026-11-22.json', 'a100-2026-11-22.json')
    >>> record_name("NVIDIA GeForce RTX 4090", "2026-11-22")
    'geforce-rtx-4090-2026-11-22.json'
    """
    words = re.findall(r"[a-z0-9]+", device.lower().replace("nvidia", ""))
    model = next((word for word in words if re.fullmatch(r"[a-z]+\d+", word)), "-".join(words) or "gpu")
    return f"{model}-{date}.json"
