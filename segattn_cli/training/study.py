"""The runs of a study: which there are, which are done, and the processes that do the others."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pydantic import ValidationError

from backends.cores import usable_cores
from segattn_cli import runs
from segattn_cli.config import Config, differences
from segattn_cli.config.study import Study
from segattn_cli.errors import ConfigError, ExitCode, OutputError, counted
from segattn_cli.runs.event_log import line_format
from segattn_cli.runs.events import RunStarted, StepDone, Validated
from segattn_cli.runs.history import read_history

#: Variables by which the libraries that compute learn how many threads they may have.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
#: Seconds between questions whether to stop.
PATIENCE = 0.2


@dataclass(frozen=True)
class StudyRun:
    """One training of a study."""

    row: str
    seed: int
    fold: int | None
    config: Config
    out: Path

    @property
    def label(self) -> str:
        return f"{self.row}/seed-{self.seed}" + ("" if self.fold is None else f"/fold-{self.fold}")


@dataclass(frozen=True)
class RunEnded:
    """A run is finished, has failed, or was stopped and can go on."""

    run: StudyRun
    state: Literal["finished", "failed", "stopped"]
    reason: str  # of a failure: one sentence
    done: int  # runs that have ended so far
    total: int

    @property
    def note(self) -> str:
        return f"{self.run.label} {self.state}"


@dataclass(frozen=True)
class RunProgress:
    """A run has come further."""

    run: StudyRun
    note: str
    done: int
    total: int


def runs_of(study: Study, out: Path) -> list[StudyRun]:
    """Every run of ``study``, in a folder of its own below ``out``: all rows with the first seed come first."""
    made = []
    for seed in range(study.seeds):
        for row in study.rows:
            for fold in (None,) if study.folds is None else range(1, study.folds + 1):
                config = study.config(row, seed, fold)
                folder = out / row / f"seed-{seed}"
                made.append(StudyRun(row, seed, fold, config, folder if fold is None else folder / f"fold-{fold}"))
    return made


def is_finished(run: StudyRun) -> bool:
    """Whether the folder of ``run`` holds it, finished.

    Raises :class:`ConfigError` where that is a run of another configuration.
    """
    if not (run.out / runs.CONFIG).is_file():
        return False
    history = read_history(run.out)
    found = differences([history.config, run.config])
    if found:
        key, (before, now) = found[0]
        more = f" and {len(found) - 1} other keys differ" if len(found) > 1 else ""
        raise ConfigError(
            f"{run.out} was trained with {key} = {before}, which is {now} in the study now{more}: choose another "
            "--out, or remove that folder."
        )
    return history.state == "finished"


def do_runs(
    planned: Sequence[StudyRun], *, jobs: int = 1, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[RunEnded | RunProgress]:
    """Train what is not finished, ``jobs`` runs at a time, each in a process with its part of the cores.

    A run that was interrupted goes on. One that fails does not end the others. When ``should_stop()`` becomes true,
    the runs that are going on finish their step, save and end as ``stopped``.

    Raises :class:`ConfigError` before anything is trained, where a folder holds another run.
    """
    total, done = len(planned), 0
    finished = [run for run in planned if is_finished(run)]
    for run in finished:
        done += 1
        yield RunEnded(run, "finished", "", done, total)
    waiting = deque(run for run in planned if run not in finished)
    environment = _environment(jobs)
    lines: queue.Queue[tuple[_Process, bytes | None]] = queue.Queue()
    active: list[_Process] = []
    stopping = False
    try:
        while active or (waiting and not stopping):
            while waiting and len(active) < jobs and not stopping:
                active.append(_Process(waiting.popleft(), environment, lines))
            if not stopping and should_stop():
                stopping = True
                for process in active:
                    process.ask_to_stop()
            try:
                process, line = lines.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            if line is not None:
                note = _note(line)
                if note:
                    yield RunProgress(process.run, f"{process.run.label} {note}", done, total)
                continue
            active.remove(process)
            done += 1
            state, reason = process.end()
            yield RunEnded(process.run, state, reason, done, total)
    finally:
        for process in active:
            process.kill()


class _Process:
    """The process of one run. What it says arrives in ``lines``, with None at its end."""

    def __init__(
        self, run: StudyRun, environment: dict[str, str], lines: queue.Queue[tuple[_Process, bytes | None]]
    ) -> None:
        self.run = run
        try:
            run.out.parent.mkdir(parents=True, exist_ok=True)
            self.log = open(self.log_path, "w+b")  # noqa: SIM115 (closed by end)
        except OSError as error:
            raise OutputError(f"{run.out.parent} cannot be written to: {error.strerror}.") from None
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "segattn_cli.training.worker", str(run.out.absolute())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then asks the others to stop
        )
        assert self.process.stdin is not None
        config = run.config.model_dump(mode="json", exclude_none=True)
        with suppress(BrokenPipeError):  # it has ended already; its log says why
            os.write(self.process.stdin.fileno(), json.dumps(config).encode() + b"\n")
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, lines), daemon=True)
        self.reader.start()

    @property
    def log_path(self) -> Path:
        """Where what the process writes to standard error is found: beside the run's folder."""
        return self.run.out.with_name(f"{self.run.out.name}.log")

    def _read(self, stream: IO[bytes], lines: queue.Queue[tuple[_Process, bytes | None]]) -> None:
        for line in stream:
            lines.put((self, line))
        lines.put((self, None))

    def ask_to_stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> tuple[Literal["finished", "failed", "stopped"], str]:
        """Wait for the end, and say what came of the run. An empty log is removed."""
        code = self.process.wait()
        self._close()
        self.log.seek(0)
        said = self.log.read().decode(errors="replace").strip()
        self.log.close()
        if not said:
            self.log_path.unlink()
        if code == ExitCode.OK:
            return "finished", ""
        if code == ExitCode.INTERRUPTED:
            return "stopped", ""
        if code < 0:
            return "failed", f"The process was ended by {signal.Signals(-code).name}."
        return "failed", said.splitlines()[-1] if said else f"The process ended with exit code {code}."

    def kill(self) -> None:
        """End the process at once; the run can go on from its last checkpoint."""
        self.process.kill()
        self.process.wait()
        self._close()
        self.log.close()

    def _close(self) -> None:
        self.reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


def _environment(jobs: int) -> dict[str, str]:
    """The environment of a process when ``jobs`` of them share the cores; what the user has set is left alone."""
    if jobs == 1:
        return dict(os.environ)
    return dict.fromkeys(THREADS, str(max(1, usable_cores() // jobs))) | os.environ


def _note(line: bytes) -> str:
    """What the line of an event says about the progress of a run."""
    try:
        event = line_format().validate_json(line, strict=True)
    except ValidationError:  # something else that was printed
        return ""
    if isinstance(event, RunStarted):
        return f"from step {event.step} of {event.steps}" if event.step else counted(event.steps, 'step')
    if isinstance(event, StepDone):
        return f"step {event.step} loss {event.loss:.3f}"
    if isinstance(event, Validated):
        return f"step {event.step} mIoU {event.miou:.3f}"
    return ""
