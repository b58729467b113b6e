"""How a training looks while it runs: alive on a terminal, line by line elsewhere. All on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from segattn_cli.errors import printable
from segattn_cli.prediction.evaluation import Evaluated
from segattn_cli.training import (
    Event,
    FileOmitted,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    WeightsLoaded,
)

#: Seconds between lines where stderr is no terminal, at least.
QUIET = 5.0


@contextmanager
def display() -> Iterator[Callable[[Event], None]]:
    """What shows an event, in the way that suits stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield PlainLines().show
        return
    dashboard = Dashboard()
    with Live(console=console, get_renderable=dashboard.render, refresh_per_second=4, transient=True) as live:

        def show(event: Event) -> None:
            line = dashboard.update(event)
            if line:
                live.console.print(line, soft_wrap=True, markup=False)

        yield show


class PlainLines:
    """One line for each thing that is worth one; steps at most every few seconds."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.silent = QUIET  # seconds of training since the last step was shown

    def show(self, event: Event) -> None:
        line = milestone(event)
        if isinstance(event, RunStarted):
            self.started = event
        if isinstance(event, StepDone) and self.started is not None:
            self.silent += event.seconds
            if self.silent >= QUIET or event.step == self.started.steps:
                self.silent = 0.0
                figures = "  ".join(f"{title} {text}" for title, text in rows(event, self.started.scales))
                line = f"step {event.step}/{self.started.steps}  {figures}"
        if line:
            print(line, file=sys.stderr, flush=True)


class Dashboard:
    """A bar and a table of the latest figures; validations scroll by above."""

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

    def update(self, event: Event) -> str:
        """Take an event in; returns a line to keep on the screen, or nothing."""
        if isinstance(event, RunStarted):
            self.scales = event.scales
            self.progress.update(self.steps, total=event.steps, completed=event.step)
        elif isinstance(event, StepDone):
            self.latest = event
            left = f"{duration(event.seconds_left)} left"
            self.progress.update(self.steps, completed=event.step, note=left)
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
            for title, figures in rows(self.latest, self.scales):
                table.add_row(title, figures)
        if self.best is not None:
            table.add_row("best mIoU", f"{self.best.miou:.3f} after epoch {self.best.epoch:g}")
        return Group(table, self.progress)


def milestone(event: Event) -> str:
    """The line that an event is worth in either display, or nothing."""
    if isinstance(event, RunStarted):
        start = f"from step {event.step} " if event.step else ""
        line = (
            f"{event.out}: {event.parameters:,} parameters on {event.training_images} images, {len(event.classes)} "
            f"classes; {event.steps} steps {start}with {event.backend}{_in(event.precision)}"
            f"{_first_use(event.backend)}"
        )
        data = [event.data, *(f"! {warning}" for warning in event.warnings)]
        return "\n".join(printable(each) for each in (line, *filter(None, data)))
    if isinstance(event, WeightsLoaded):
        return weights_line(event)
    if isinstance(event, Validated):
        best = "  ← best so far" if event.best else ""
        figures = f"validation mIoU {event.miou:.3f}  pixel accuracy {event.pixel_accuracy:.3f}"
        return f"epoch {event.epoch:g}  {figures}{best}"
    if isinstance(event, FileOmitted):
        return f"{event.path} was not written: {event.reason}."
    if isinstance(event, StoppedEarly):
        return f"Stopped at step {event.step}: nothing was better than step {event.best_step}."
    return ""


def weights_line(event: WeightsLoaded) -> str:
    """What a file of weights gave, and what starts at random."""
    from segattn_cli.weights import summary

    said = [f"{event.matched} parameters from {event.file} ({event.layout})"]
    if event.untouched or event.reset:
        random = [*event.untouched, *([summary(event.reset)] if event.reset else [])]
        said.append(f"{', '.join(random)} start at random")
    if event.unused:
        said.append(f"unused: {summary(event.unused)}")
    return "; ".join(said)


def rows(event: StepDone, scales: tuple[float, ...]) -> list[tuple[str, str]]:
    """The figures of a step, titled."""
    table = [
        ("loss", f"{event.loss:.3f} ({', '.join(f'{name} {part:.3f}' for name, part in event.parts.items())})"),
        ("learning rate", f"{event.learning_rate:.2e}"),
        *([("loss scale", _loss_scale(event.loss_scale, event.skipped))] if event.loss_scale is not None else []),
        ("speed", f"{event.images_per_second:.1f} images/s, {event.wait_share:.0%} waiting for data"),
        ("memory", f"{event.memory / 1e6:.0f} MB"),
        ("left", duration(event.seconds_left)),
    ]
    if event.gates:
        table.append(("gates", ", ".join(f"{gate_name(name)} {gate:+.3f}" for name, gate in event.gates.items())))
    if event.scale_weights:
        weights = zip(scales, event.scale_weights, strict=True)
        table.append(("scales", ", ".join(f"×{scale:g} {weight:.2f}" for scale, weight in weights)))
    return table


def _loss_scale(scale: float, skipped: int) -> str:
    """
    >>> _loss_scale(65536.0, 0), _loss_scale(16384.0, 2)
    ('65,536', '16,384, 2 steps skipped')
    """
    return f"{scale:,.0f}" + (f", {skipped} step{'s' * (skipped != 1)} skipped" if skipped else "")


def gate_name(parameter: str) -> str:
    """The paper's letter and the branch.

    >>> gate_name("head.position.gate"), gate_name("head.channel.gate")
    ('α (position)', 'β (channel)')
    """
    branch = parameter.split(".")[-2]
    return f"{'α' if branch == 'position' else 'β'} ({branch})"


def duration(seconds: float) -> str:
    """
    >>> duration(7.4), duration(192), duration(7620)
    ('0:07', '3:12', '2:07:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _in(precision: str) -> str:
    return "" if precision == "float32" else f" in {precision}"


def _first_use(backend: str) -> str:
    if backend != "numba":
        return ""
    from backends.numba.compile import is_first_use

    return ", whose loops are compiled first, which takes a minute, once" if is_first_use() else ""
