"""The display of a training: a live table on a terminal, lines elsewhere. All on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from segattn_cli.checking.compilation import Compiled
from segattn_cli.errors import counted, printable
from segattn_cli.prediction.evaluation import Evaluated
from segattn_cli.training import (
    Event,
    FileOmitted,
    Previewed,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    WeightsLoaded,
)

#: Least number of seconds between the lines of steps where stderr is no terminal.
QUIET = 5.0


@contextmanager
def display() -> Iterator[Callable[[Event | Compiled], None]]:
    """A function that shows an event, in the way that suits stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield PlainLines().show
        return
    dashboard = Dashboard()
    with Live(console=console, get_renderable=dashboard.render, refresh_per_second=4, transient=True) as live:

        def show(event: Event | Compiled) -> None:
            line = dashboard.update(event)
            if line:
                live.console.print(line, markup=False)

        yield show


class PlainLines:
    """A line for each milestone and, every few seconds, for a step; the event log has the details."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.silent = QUIET  # seconds of training since the last step was shown

    def show(self, event: Event | Compiled) -> None:
        line = milestone(event)
        if isinstance(event, RunStarted):
            self.started = event
        if isinstance(event, Compiled):
            line = f"compiled {event.op}, {event.done} of {event.total}"
        if isinstance(event, StepDone) and self.started is not None:
            self.silent += event.seconds
            if self.silent >= QUIET or event.step == self.started.steps:
                self.silent = 0.0
                line = f"step {event.step}/{self.started.steps}  {essentials(event)}"
        if line:
            print(line, file=sys.stderr, flush=True)


class Dashboard:
    """A bar and a table of the latest values; milestones scroll by above."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[note]}"), expand=True,
        )
        self.steps = self.progress.add_task("steps", total=None, note="")
        self.validation = self.progress.add_task("validation", total=None, visible=False, note="")
        self.scales: tuple[float, ...] = ()
        self.latest: StepDone | None = None
        self.best: Validated | None = None
        self.waiting = "first step"  # the bar says so until there is one
        self.began = time.monotonic()

    def update(self, event: Event | Compiled) -> str:
        """Take an event in; returns a line that stays on the screen, or nothing."""
        if isinstance(event, RunStarted):
            self.scales, self.began = event.scales, time.monotonic()
            self.waiting = "compiling" if _compiles(event.backend) else "first step"
            self.progress.update(self.steps, total=event.steps, completed=event.step)
        elif isinstance(event, Compiled):
            compiling = f"compiled {event.op}, {event.done} of {event.total}"
            self.waiting = compiling if event.done < event.total else "first step"
            return ""
        elif isinstance(event, StepDone):
            self.latest = event
            self.progress.update(self.steps, completed=event.step, note=_left(event.seconds_left))
            self.progress.update(self.validation, visible=False)
        elif isinstance(event, Evaluated):
            note = f"mIoU {event.miou:.3f}"
            self.progress.update(
                self.validation, visible=True, total=event.total, completed=event.done, note=note
            )
        elif isinstance(event, Validated) and event.best:
            self.best = event
        return milestone(event)

    def render(self) -> Group:
        table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        if self.latest is not None:
            for title, values in rows(self.latest, self.scales):
                table.add_row(title, values)
        else:
            note = f"{self.waiting} … {duration(time.monotonic() - self.began)}"
            self.progress.update(self.steps, note=note)
        if self.best is not None:
            table.add_row("best mIoU", f"{self.best.miou:.3f} after epoch {_rounded(self.best.epoch)}")
        return Group(table, self.progress)


def milestone(event: Event | Compiled) -> str:
    """The line that either display has for an event, or nothing."""
    if isinstance(event, RunStarted):
        start = f"from step {event.step} " if event.step else ""
        ranks = "" if event.ranks == 1 else f" on {event.ranks} ranks"
        precision = "" if event.precision == "float32" else f" in {event.precision}"
        compiling = "compiling the loops of numba, once" if _compiles(event.backend) else ""
        line = (
            f"{event.out}: {event.parameters:,} parameters on {counted(event.training_images, 'image')}, "
            f"{len(event.classes)} classes; {counted(event.steps, 'step')} {start}"
            f"with {event.backend}{precision}{ranks}"
        )
        lines = [line, compiling, event.data, *(f"! {warning}" for warning in event.warnings)]
        return "\n".join(printable(each) for each in lines if each)
    if isinstance(event, WeightsLoaded):
        return printable(weights_line(event))
    if isinstance(event, Validated):
        change = "" if event.change is None else f" ({event.change:+.3f})"
        values = [
            f"epoch {_rounded(event.epoch)}",
            f"validation mIoU {event.miou:.3f}{change}",
            f"pixel accuracy {event.pixel_accuracy:.3f}",
            _left(event.seconds_left or None),
            "← best so far" if event.best else "",
        ]
        return "  ".join(value for value in values if value)
    if isinstance(event, Previewed):
        values = [
            f"epoch {_rounded(event.epoch)}",
            f"first impression on {event.images} validation images: mIoU {event.miou:.3f}",
            f"pixel accuracy {event.pixel_accuracy:.3f}",
            _left(event.seconds_left),
        ]
        return "  ".join(value for value in values if value)
    if isinstance(event, FileOmitted):
        return printable(f"{event.path} was not written: {event.reason}.")
    if isinstance(event, StoppedEarly):
        return f"Stopped at step {event.step}: nothing was better than step {event.best_step}."
    return ""


def weights_line(event: WeightsLoaded) -> str:
    """What was taken from a file of weights, and what starts at random."""
    from segattn_cli.weights import summary

    clauses = [f"{event.matched} parameters from {event.file} ({event.layout})"]
    if event.untouched or event.reset:
        random = [*event.untouched, *([summary(event.reset)] if event.reset else [])]
        clauses.append(f"{', '.join(random)} start at random")
    if event.unused:
        clauses.append(f"unused: {summary(event.unused)}")
    return "; ".join(clauses)


def essentials(event: StepDone) -> str:
    """The values of a step that fit into a line."""
    values = [
        f"epoch {_rounded(event.epoch)}",
        f"loss {event.loss:.3f}",
        *(f"{gate_name(name)[0]} {gate:+.3f}" for name, gate in event.gates.items()),
        *([_skipped(event.skipped)] if event.skipped else []),
        *([ranks_of(event)] if event.rank_seconds else []),
        f"{event.images_per_second:.1f} images/s",
        _left(event.seconds_left),
    ]
    return "  ".join(value for value in values if value)


def rows(event: StepDone, scales: tuple[float, ...]) -> list[tuple[str, str]]:
    """All values of a step, with titles."""
    table = [
        ("loss", f"{event.loss:.3f} ({', '.join(f'{name} {part:.3f}' for name, part in event.parts.items())})"),
        ("learning rate", f"{event.learning_rate:.2e}"),
        *([("loss scale", _loss_scale(event.loss_scale, event.skipped))] if event.loss_scale is not None else []),
        ("speed", f"{event.images_per_second:.1f} images/s, {event.wait_share:.0%} waiting for data"),
        ("memory", f"{event.memory / 1e6:.0f} MB"),
        *([("ranks", ranks_of(event))] if event.rank_seconds else []),
    ]
    if event.gates:
        table.append(("gates", ", ".join(f"{gate_name(name)} {gate:+.3f}" for name, gate in event.gates.items())))
    if event.scale_weights:
        weights = zip(scales, event.scale_weights, strict=True)
        table.append(("scales", ", ".join(f"×{scale:g} {weight:.2f}" for scale, weight in weights)))
    return table


def ranks_of(event: StepDone) -> str:
    """How well several ranks work together in a step."""
    slowest = max(range(len(event.rank_seconds)), key=event.rank_seconds.__getitem__)
    mean = sum(event.rank_seconds) / len(event.rank_seconds)
    longer = event.rank_seconds[slowest] / mean - 1 if mean else 0.0
    return (
        f"{event.communication_share:.0%} communicating, {event.hidden_communication_share:.0%} hidden, "
        f"rank {slowest} slowest (+{longer:.0%})"
    )


def _loss_scale(scale: float, skipped: int) -> str:
    """
    >>> _loss_scale(65536.0, 0), _loss_scale(16384.0, 2)
    ('65,536', '16,384, 2 steps skipped')
    """
    return f"{scale:,.0f}" + (f", {_skipped(skipped)}" if skipped else "")


def _skipped(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)} skipped"


def gate_name(parameter: str) -> str:
    """The paper's letter and the branch.

    >>> gate_name("head.position.gate"), gate_name("head.channel.gate")
    ('α (position)', 'β (channel)')
    """
    branch = parameter.split(".")[-2]
    return f"{'α' if branch == 'position' else 'β'} ({branch})"


def duration(seconds: float) -> str:
    """Minutes and seconds, and hours where there are some; nothing for NaN.

    >>> duration(7.4), duration(192), duration(7620), duration(math.nan)
    ('0:07', '3:12', '2:07:00', '')
    """
    if math.isnan(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _left(seconds: float | None) -> str:
    """
    >>> _left(192.0), _left(None), _left(math.nan)
    ('3:12 left', '', '')
    """
    left = "" if seconds is None else duration(seconds)
    return left and f"{left} left"


def _rounded(epoch: float) -> str:
    """
    >>> _rounded(8 / 9), _rounded(24.0)
    ('0.89', '24')
    """
    return f"{round(epoch, 2):g}"


def _compiles(backend: str) -> bool:
    """Whether the first step has to compile the backend's loops."""
    if backend != "numba":
        return False
    from backends.numba.machine_code import is_first_use

    return is_first_use()
