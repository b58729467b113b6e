"""The summary of a session: what ran where, what it has shown, and what has not run; as JSON and in Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu_session.machine import Machine

PASSED, FAILED, CUT_OFF, NOT_RUN = "passed", "failed", "cut off", "not run"
JSON, MARKDOWN, LOSSES, LOGS = "summary.json", "summary.md", "losses.csv", "logs.txt"
#: Rows of the table of losses in Markdown.
ROWS = 20
#: Characters of the longest sentence in the table.
LONGEST = 300


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    step: str
    status: str
    sentence: str
    seconds: float = 0.0
    commit: str = "unknown"
    device: str = "none"
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Summary:
    """The outcomes of a session, and of those that it continues; the steps in their order."""

    machine: Machine
    steps: Sequence[str]
    backend: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the JSON, the Markdown, and the losses."""
        write(folder / JSON, json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n")
        write(folder / MARKDOWN, self.as_markdown())
        if losses := self.losses():
            write(folder / LOSSES, losses_csv(losses))

    def as_json(self) -> dict[str, Any]:
        machine = self.machine.as_json()
        return {"backend": self.backend, "machine": machine, "steps": [asdict(each) for each in self._sorted()]}

    def _sorted(self) -> list[Outcome]:
        return [self.outcomes[name] for name in self.steps if name in self.outcomes]

    def losses(self) -> dict[str, list[float]]:
        """The losses of the trainings that were done, by precision."""
        return {
            each.step.removeprefix("train-"): each.facts["losses"]
            for each in self._sorted()
            if each.step.startswith("train-") and "losses" in each.facts
        }

    def with_status(self, *statuses: str) -> list[Outcome]:
        return [each for each in self._sorted() if each.status in statuses]

    def as_markdown(self) -> str:
        machine = self.machine
        changed = {True: " with changes", False: "", None: ""}[machine.changed]
        shown = {name: value for name, value in machine.facts.items() if name != "device"}
        facts = ", ".join(f"{name} {value}" for name, value in shown.items())
        versions = ", ".join(f"{name} {value}" for name, value in machine.versions.items())
        counts = ", ".join(
            f"{len(self.with_status(status))} {status}" for status in (PASSED, FAILED, CUT_OFF, NOT_RUN)
        )
        parts = [
            f"# A session on {machine.device}",
            f"Backend {self.backend}, commit {machine.commit}{changed}; {counts}.",
            "\n".join(line for line in (facts, versions) if line),
            self._table(),
        ]
        if losses := self.losses():
            parts.append(f"## Losses from equal seeds\n\n{losses_table(losses)}")
        for each in self.with_status(FAILED):
            for name, error in each.facts.get("failed", {}).items():
                alone = each.facts.get("alone", {}).get(name)
                parts.append(f"- {each.step}: `{name}` {error}" + (f" ({alone} alone)" if alone else ""))
        return "\n\n".join(parts) + "\n"

    def _table(self) -> str:
        lines = ["| step | | seconds | seen | where |", "| --- | --- | --- | --- | --- |"]
        for each in self._sorted():
            sentence = each.sentence.replace("|", "\\|").replace("\n", " ")
            sentence = sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]} …"
            where = "" if each.status == NOT_RUN else f"{each.device}, {each.commit}"
            seconds = f"{each.seconds:.0f}" if each.seconds else ""
            lines.append(f"| {each.step} | {each.status} | {seconds} | {sentence} | {where} |")
        return "\n".join(lines)


def read(path: Path) -> dict[str, Outcome]:
    """The outcomes in a summary that was written before. Raises ValueError where it is none."""
    try:
        return {each["step"]: Outcome(**each) for each in json.loads(path.read_text(encoding="utf-8"))["steps"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not the summary of a session: {error}") from None


def losses_csv(losses: Mapping[str, Sequence[float]]) -> str:
    """A row for each step, a column for each precision.

    >>> print(losses_csv({"float32": [2.5, 2.25], "float16": [2.5]}), end="")
    step,float32,float16
    1,2.5,2.5
    2,2.25,
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["step", *losses])
    for step in range(max(map(len, losses.values()))):
        table.writerow([step + 1, *(each[step] if step < len(each) else "" for each in losses.values())])
    return text.getvalue()


def losses_table(losses: Mapping[str, Sequence[float]]) -> str:
    """The same in Markdown, every so many steps.

    >>> print(losses_table({"float32": [2.5, 2.25]}))
    | step | float32 |
    | --- | --- |
    | 1 | 2.50000 |
    | 2 | 2.25000 |
    """
    count = max(map(len, losses.values()))
    every = -(-count // ROWS)
    rows = [step for step in range(1, count + 1) if step == 1 or step % every == 0]
    lines = [f"| step | {' | '.join(losses)} |", "| --- " * (len(losses) + 1) + "|"]
    for step in rows:
        values = [f"{each[step - 1]:.5f}" if step <= len(each) else "" for each in losses.values()]
        lines.append(f"| {step} | {' | '.join(values)} |")
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
