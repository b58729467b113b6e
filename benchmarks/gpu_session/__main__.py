"""Try segattn on a GPU in one call: tests, cross-checks, trainings, the tool, a record of the speed, sanitizers.

Each step has a time limit, and the next one runs whatever became of it. The steps, the most valuable first:

{steps}

DIR receives at most eight small files: summary.md and summary.json (what ran, where, and what has not run),
losses.csv, logs.txt, the record of `segattn bench`, images a second. The exit code is 0 if all that ran has passed.

A later call continues: it leaves out what has passed in DIR/summary.json, or in the summary that --after names, and
tries what failed last.

Nothing is installed. Where packages are missing, the steps that need them are listed with what they lack. Packages
can be taken along as wheels (5 MB). On a machine with a network, for Python 3.12 on Linux:

  python3 -m pip download --only-binary=:all: --python-version 3.12 --implementation cp \\
      --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \\
      --dest wheels pydantic tomli-w 'nvidia-cudnn-frontend<1.19'

and on the machine with the GPU, of what the steps lack:

  python3 -m pip install --no-index --find-links wheels --target site pydantic tomli-w nvidia-cudnn-frontend
  PYTHONPATH=site python3 -m benchmarks.gpu_session --out DIR
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gpu_session import summary
from benchmarks.gpu_session.commands import GRACE, PYTHON, ROOT, Log, Processes
from benchmarks.gpu_session.machine import examine, lacks
from benchmarks.gpu_session.results import CutOff, Failed
from benchmarks.gpu_session.sizes import FULL, TRIAL
from benchmarks.gpu_session.steps import STEPS, TIMED
from benchmarks.gpu_session.summary import CUT_OFF, FAILED, LOGS, NOT_RUN, PASSED, Outcome, Summary
from benchmarks.gpu_session.turn import Result, Session, Step, Turn, cores

#: A step begins only if so much of its limit is left of the session.
LEAST = 0.25
#: How many times as long a step may take on the stand-in for CuPy.
SLOWER = 8


def main(arguments: Sequence[str] | None = None, steps: Sequence[Step] = STEPS) -> int:
    parser = _parser(steps)
    options = parser.parse_args(arguments)
    only = options.only or []
    for name in only:
        if not any(step.name.startswith(name) for step in steps):
            parser.error(f"there is no step {name!r}: choose from {', '.join(step.name for step in steps)}")
    if options.data is not None and not (options.data / "train").is_dir():
        parser.error(f"there is no CamVid in {options.data}")
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    earlier: dict[str, Outcome] = {}
    before = options.out / summary.JSON if options.after is None else options.after
    if options.after is not None or before.exists():
        try:
            earlier = summary.read(before)
        except ValueError as error:
            parser.error(str(error))
    with _interrupted_by_signals(), tempfile.TemporaryDirectory(prefix="segattn-") as work:
        machine = examine(options.backend, options.commit, stand_in=options.stand_in)
        hidden = {work: "WORK", str(options.out.resolve()): "OUT", PYTHON: "python", str(ROOT): "."}
        log = Log(options.out / LOGS, hidden)
        session = Session(
            options.backend, options.stand_in, machine, TRIAL if options.trial else FULL,
            options.data and options.data.resolve(), options.out.resolve(), Path(work), Processes(log),
            {each.step: each.facts for each in earlier.values() if each.status == PASSED},
        )  # fmt: skip
        written = Summary(machine, [step.name for step in steps], options.backend, dict(earlier))
        return _run(session, written, plan(steps, earlier, only), start + options.seconds - GRACE)


def _parser(steps: Sequence[Step]) -> argparse.ArgumentParser:
    listed = "\n".join(f"  {step.name:16} {step.purpose}" for step in steps)
    title, _, text = (__doc__ or "").format(steps=listed).partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_session", description=title, epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the summary, the logs and the record")
    add("--seconds", type=float, default=540, help="time of the whole session (default: 540)")
    add("--data", type=Path, metavar="CAMVID", help="CamVid: train, trainannot, val, valannot; else drawn images")
    add("--only", action="append", metavar="NAME", help="only this step, or all that begin so; repeatable")
    add("--after", type=Path, metavar="FILE", help="the summary.json of the session to continue")
    add("--commit", help="the commit, where git cannot tell")
    add("--backend", default="cupy", choices=("cupy", "numba", "numpy"), help="another one, to try the script")
    add("--trial", action="store_true", help="the smallest sizes, to try the script")
    add("--stand-in", action="store_true", help="compute with the stand-in for CuPy of tests/cuda_cpu")
    return parser


def plan(steps: Sequence[Step], earlier: Mapping[str, Outcome], only: Collection[str]) -> list[list[Step]]:
    """Groups of steps that run side by side, one group after the other; those that failed before are the last.

    Steps that passed before are left out, unless ``only`` names them.
    """
    chosen = [
        step
        for step in steps
        if any(map(step.name.startswith, only))
        or (not only and (step.name not in earlier or earlier[step.name].status != PASSED))
    ]
    failed = {name for name, each in earlier.items() if each.status == FAILED}
    groups = []
    for part in ([s for s in chosen if s.name not in failed], [s for s in chosen if s.name in failed]):
        for stage in sorted({step.stage for step in part}):
            group = [step for step in part if step.stage == stage]
            groups += [[step] for step in group] if stage in TIMED else [group]
    return groups


def _run(session: Session, written: Summary, groups: Sequence[Sequence[Step]], deadline: float) -> int:
    """Run the groups, and write the summary after each step. Returns the exit code."""
    ran: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        ran.append(outcome)
        written.outcomes[outcome.step] = outcome
        if outcome.status == PASSED:
            session.facts[outcome.step] = outcome.facts
        _say(f"{outcome.step}: {outcome.status} after {outcome.seconds:.0f} s: {outcome.sentence}")
        written.write(session.out)

    code = 0
    try:
        for group in groups:
            ready = [step for step in group if _can_run(step, session, written, deadline)]
            written.write(session.out)
            if ready:
                _side_by_side(ready, session, deadline, note)
    except KeyboardInterrupt:
        _say("Interrupted; what was done until then is in the summary.")
        code = 130
    _say(str(session.out / summary.MARKDOWN))
    passed = bool(ran) and all(each.status == PASSED for each in ran)
    return code or (0 if passed else 1)


def _side_by_side(
    steps: Sequence[Step], session: Session, deadline: float, note: Callable[[Outcome], None]
) -> None:
    """Run steps at the same time, and note the outcome of each, also where they are interrupted."""
    threads = max(cores() // len(steps), 1)
    with ThreadPoolExecutor(len(steps)) as pool:
        running = {pool.submit(_take, step, session, deadline, threads) for step in steps}
        try:
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for each in ended:
                    note(each.result())
        except KeyboardInterrupt:
            session.processes.end()
            for each in running:
                note(each.result())
            raise


def _can_run(step: Step, session: Session, written: Summary, deadline: float) -> bool:
    """Whether a step can run here and now; the summary says why not."""
    needs = [
        lacks(need, session.machine, session.backend, stand_in=session.stand_in)
        for need in ("backend", *step.needs)
    ]
    reasons = list(dict.fromkeys(filter(None, needs)))
    left = deadline - time.monotonic()
    if not reasons and left < LEAST * step.seconds:
        reasons = [f"{max(left, 0):.0f} s of the session were left, and it may take {step.seconds} s"]
    if not reasons:
        return True
    _say(f"{step.name}: not run: {reasons[0]}")
    before = written.outcomes.get(step.name)
    if before is None or before.status == NOT_RUN:
        written.outcomes[step.name] = Outcome(step.name, NOT_RUN, "; ".join(reasons))
    return False


def _take(step: Step, session: Session, deadline: float, threads: int) -> Outcome:
    """Run one step."""
    start = time.monotonic()
    own_end = start + step.seconds * (SLOWER if session.stand_in else 1)
    turn = Turn(session, step.name, min(own_end, deadline), deadline < own_end, threads)
    _say(f"{step.name} …")
    status = PASSED
    try:
        result = step.run(turn)
    except Failed as error:
        status, result = FAILED, Result(error.sentence, error.facts)
    except CutOff as error:
        status, result = CUT_OFF, Result(error.sentence, error.facts)
    except Exception as error:  # a file that a command should have left, say: the others go on
        status, result = FAILED, Result(f"{type(error).__name__}: {error}")
    without_paths = session.processes.log.without_paths
    machine = session.machine
    return Outcome(
        step.name, status, without_paths(result.sentence), time.monotonic() - start, machine.commit, machine.device,
        result.facts,
    )  # fmt: skip


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """End as by Ctrl-C also by SIGTERM, and where the shell lets its background jobs ignore Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
