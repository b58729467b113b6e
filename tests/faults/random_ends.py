"""Commands that are killed or stopped at random moments, and go on: the end is that of one that never ended."""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from segattn_cli.errors import ExitCode
from segattn_cli.runs import BEST, LAST, open_model
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.runs.history import read_history

from .forks import Forks, Stop
from .scenarios import TRAIN, filled, meanings, said, unfinished

#: Trainings whose state differs: what a checkpoint holds, and when it is written.
VARIANTS = {
    "plain": (),
    "everything": (
        "--set=training.ema=0.9", "--set=optimiser.accumulate=2", "--set=optimiser.clip_norm=1.0",
        "--set=training.batch_size=1",
    ),
    "rare checkpoints": ("--set=training.checkpoint_every=100", "--set=optimiser.kind=adamw"),
}  # fmt: skip


class Training:
    """A training that is ended at random moments until it has reached its end."""

    def __init__(self, variant: str, forks: Forks, template: Path, work: Path, chance: random.Random) -> None:
        self.forks, self.work, self.chance = forks, work, chance
        self.counts: Counter[str] = Counter()
        self.spent = 0.0  # seconds on its ends
        self.command = (*TRAIN, *VARIANTS[variant])
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        ended = forks.run(filled(self.command, work), work)
        assert ended.code == 0, said(ended)
        self.seconds = ended.seconds
        self.whole = meanings(work, ("out",))

    def problems(self, number: int) -> Iterator[str]:
        """What does not hold of a training that the signal of this ``number`` ends again and again."""
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)  # none is left of a training that ended before it began
        step = 0
        while True:
            is_run = (out / "config.toml").exists()
            command = ("train", "--resume", "--out", "{w}/out") if is_run else self.command
            events = _size(out / "events.jsonl")
            stop = Stop(number, self.chance.uniform(0, 1.2) * self.seconds)
            ended = self.forks.run(
                filled(command, self.work), self.work, stop=stop,
                streams={} if self.chance.random() < 0.5 else {"stdout": "gone", "stderr": "gone"},
            )  # fmt: skip
            where = f"{signal.Signals(number).name} after {stop.after:.3f} s, exit code {ended.code}"
            self.counts[f"{signal.Signals(number).name} at random moments"] += 1
            if "Traceback" in ended.err:
                yield f"{where}: {said(ended)}"
            yield from (f"{where}: {problem}" for problem in damages(out, step))
            if (out / LAST).exists():
                step = load_checkpoint(out / LAST).metadata["progress"]["step"]
            finished = ended.code in (0, ExitCode.CLOSED_PIPE)
            if finished and (out / "report.html").exists():
                break
            expected = {-number} if number == signal.SIGKILL else {ExitCode.INTERRUPTED, ExitCode.CLOSED_PIPE}
            is_outside = _size(out / "events.jsonl") == events or (out / "report.html").exists()
            if number == signal.SIGTERM and is_outside:  # before the training began, or after its end
                expected.add(-number)
            if ended.code not in expected:
                yield f"{where}: {said(ended)}"
                return
            if number != signal.SIGKILL and unfinished(self.work):
                yield f"{where}: left {unfinished(self.work)}"
        self.counts["trainings that were ended again and again"] += 1
        if (found := meanings(self.work, ("out",))) != self.whole:
            names = sorted(name for name in self.whole | found if self.whole.get(name) != found.get(name))
            yield f"{where}: the training that went on ended otherwise: {names}"
        if unfinished(self.work):
            yield f"{where}: left {unfinished(self.work)}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def damages(out: Path, step: int) -> Iterator[str]:
    """What is wrong with the folder of a run, whose checkpoint was once at ``step``."""
    if not (out / "config.toml").exists():
        if step:
            yield "the configuration is lost"
        return
    try:
        read_history(out)
        if (out / LAST).exists():
            reached = load_checkpoint(out / LAST).metadata["progress"]["step"]
            if reached < step:
                yield f"the checkpoint went back from step {step} to {reached}"
        elif step:
            yield "the checkpoint is lost"
        if (out / BEST).exists():
            open_model(out)
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
    for name, text in meanings(out.parent, (out.name,)).items():
        if text.startswith("damaged") and not name.endswith(".jsonl"):
            yield f"{name} is {text}"
