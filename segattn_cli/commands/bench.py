"""``segattn bench``: compare the speed of a backend with PyTorch on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segattn_cli.commands.bench_busy import bench_busy
from segattn_cli.commands.shared import completion
from segattn_cli.commands.shared.json import show_and_write
from segattn_cli.commands.shared.options import COMPUTATION, OUTPUT, Backend, JsonFile, ListChoices
from segattn_cli.commands.shared.output_paths import require_replaceable
from segattn_cli.commands.shared.progress import follow
from segattn_cli.commands.shared.terminal import complain, console, plain, remark
from segattn_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from segattn_cli.benchmarking import Event, Measurement, Row
    from segattn_cli.benchmarking.machine import Machine

SELECTION, TIMING = "Selection", "Timing"


def bench(
    suite: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=SELECTION, show_default=False, autocompletion=completion.suites,
            help="Benchmarks to run: ops, networks, attention, memory, gpu, busy or all. The default is all, and "
            "gpu with the backend cupy."
        ),
    ] = "",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", rich_help_panel=SELECTION,
            help="Run only the benchmarks with this text in their title. Can be repeated.",
        ),
    ] = None,
    list_only: ListChoices = False,
    backend: Backend = "numpy",
    against: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=COMPUTATION, autocompletion=completion.baselines,
            help="Baseline to compare with: torch or reference; for inference of networks also onnxruntime or "
            "openvino, which run the exported network.",
        ),
    ] = "torch",
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=COMPUTATION, show_default=False,
            autocompletion=completion.precisions,
            help="Precision to compute in: float32, tf32, float16 or bfloat16. Can be repeated, or separated by "
            "commas. The default is every precision that the backend has.",
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", rich_help_panel=TIMING, show_default=False,
            help="Number of timed rounds. The default is 3 to 15, as many as fit into 5 seconds.",
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", rich_help_panel=TIMING, help="Measure the peak memory too.")
    ] = True,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", rich_help_panel=TIMING, show_default=False,
            help="Also try torch.compile for networks, which takes minutes and needs a C++ compiler. By default, "
            "only position attention on a GPU is compiled.",
        ),
    ] = None,
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Draw the ratios to this PNG file."),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(
            metavar="HASH", rich_help_panel=OUTPUT, show_default=False,
            help="Commit to record in the JSON where git cannot tell it.",
        ),
    ] = None,
) -> None:
    """Compare the speed of a backend with PyTorch.

    Both implementations first have to compute the same numbers. Then they are
    timed in alternation, in one process and with the same number of threads.
    PyTorch has several variants (memory layouts, attention kernels): the fastest
    one is the baseline. GFLOP/s count the operations of the direct algorithm, so
    that Winograd's convolution, which needs fewer, can exceed the peak of a
    matrix product. With the backend cupy, both implementations run on the GPU.
    The suite busy times a training step beside other processes, which it starts
    and ends, under a quota, and on more threads than cores.
    The exit code is 10 if the numbers differ.

    \b
    Examples:
      segattn bench --suite networks
      segattn bench --suite ops --only conv2d --no-memory
      segattn bench --suite attention --json times.json --plot times.png
      segattn bench --suite ops --against reference
      segattn bench --suite busy
      segattn bench --backend cupy --precision tf32,float16 --json h100.json
    """
    from backends import get_backend
    from segattn_cli.benchmarking import BUSY, Mismatch, Note, Row, plan, precisions_of, run
    from segattn_cli.benchmarking.machine import examine
    from segattn_cli.benchmarking.variants import require_baseline, require_compiler

    if list_only:
        _print_choices()
        return
    require_replaceable(json_file, plot)
    if suite == BUSY:
        if only or precision or plot or compiled is not None or backend.startswith("cupy"):
            raise UsageError(
                "The suite busy times one step by all implementations on the CPU: of the other options, it has "
                "--repeat, --json and --commit."
            )
        bench_busy(repeat, json_file, commit)
        return
    name = get_backend(backend).name
    backend = name if backend == "auto" else backend
    asked = [each for text in precision or () for each in text.split(",")]
    precisions = precisions_of(backend, asked)
    planned = plan(
        suite or ("gpu" if name == "cupy" else "all"), only or (), backend=backend, baseline=against,
        precisions=precisions, repeat=repeat, memory=memory, compiled=compiled,
    )  # fmt: skip
    require_baseline(against, get_backend(backend))
    if compiled:
        require_compiler()
    machine = examine(backend, precisions, commit)

    rows: list[Row] = []
    differences: list[str] = []
    interrupted = False

    def collect(event: Event) -> None:
        if isinstance(event, Row):
            rows.append(event)
        elif isinstance(event, Mismatch):
            differences.append(event.sentence)
        elif isinstance(event, Note):
            remark(event.sentence)

    try:
        follow(run(planned, machine.peaks), "benchmarks", lambda event: event.benchmark.title, show=collect)
    except KeyboardInterrupt:
        interrupted = True
    _report(name, machine, rows, differences, json_file, plot)
    if interrupted:
        complain("Interrupted; what was measured until then is kept.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if differences:
        raise typer.Exit(ExitCode.DISAGREE)


def _print_choices() -> None:
    from segattn_cli.benchmarking import BUSY, SUITES
    from segattn_cli.benchmarking.benchmark import times
    from segattn_cli.benchmarking.busy import SHAPE, conditions

    out = console()
    for name, make in SUITES.items():
        out.print(f"[bold]{name}[/]")
        for benchmark in make():
            out.print(f"  {benchmark.title}: {', '.join(benchmark.passes)}")
    out.print(f"[bold]{BUSY}[/]")
    for condition in conditions():
        out.print(f"  DANet-ResNet18 {times(SHAPE)}, {condition.title}: train")


def _report(
    backend: str, machine: Machine, rows: Sequence[Row], differences: Sequence[str],
    json_file: Path | None, plot: Path | None,
) -> None:
    from segattn_cli.benchmarking.plot import draw_ratios

    def show() -> None:
        out = console()
        out.print(_describe(machine))
        out.print(_table(backend, rows))
        for sentence in differences:
            out.print(f"[red]✗[/] {plain(sentence)}")

    report = {"backend": backend, **machine.as_json(), "rows": [row.as_json() for row in rows]}
    show_and_write(report | {"differences": differences}, json_file, show)
    if plot is not None and any(row.ratio for row in rows):
        draw_ratios(rows, plot)


def _describe(machine: Machine) -> str:
    facts = machine.machine
    kernels = dict.fromkeys(f"{each['architecture'] or each['library']} ({each['of']})" for each in machine.kernels)
    versions = [f"{name} {value}" for name, value in machine.versions.items() if value != "not installed"]
    peaks = ", ".join(f"{value:.0f} ({name})" for name, value in machine.peaks.items())
    if "device" in facts:
        where = (
            f"{facts['device']}, driver {facts['driver']}, CUDA {facts['CUDA runtime']}, "
            f"convolutions by {facts['convolutions']}"
        )
    else:
        where = f"{facts['processor']}, {facts['threads']} threads, kernels {', '.join(kernels)}"
    return f"{where}, matrix product {peaks} GFLOP/s\n{', '.join(versions)}"


def _table(backend: str, rows: Sequence[Row]) -> Table:
    """One line for each pass; repeated names are left out, and so are columns without a value."""
    from rich import box
    from rich.table import Table

    def both(heading: str, write: Callable[[Measurement], str]) -> list[tuple[str, Callable[[Row], str]]]:
        """Two columns: the value of the backend and that of the baseline."""
        return [
            (heading, lambda row: write(row.ours)),
            ("baseline's", lambda row: write(row.baseline) if row.baseline else ""),
        ]

    times = both(backend, lambda each: _duration(each.seconds, each.spread))
    columns: list[tuple[str, Callable[[Row], str]]] = [
        times[0],
        ("GFLOP/s", lambda row: "" if row.gflops is None else f"{row.gflops:.0f}"),
        ("of peak", lambda row: "" if row.peak_fraction is None else f"{100 * row.peak_fraction:.0f} %"),
        ("baseline", times[1][1]),
        ("ratio", lambda row: _ratio(row.ratio)),
        *both("memory", lambda each: _bytes(each.extra_bytes)),
        *both("error", lambda each: _error(each.error)),
        *both("queued", lambda each: _duration(each.queue_seconds)),
    ]
    columns = [(heading, write) for heading, write in columns if any(map(write, rows))]
    in_float32 = all(row.precision == "float32" for row in rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for _ in range(3 if in_float32 else 4):
        table.add_column("")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("variant")
    last: tuple[str, ...] | None = None
    for row in rows:
        if last is not None and last[0] != row.suite:
            table.add_section()
        subject = row.suite, row.subject, row.shape
        table.add_row(
            *(("", "") if subject == last else subject[1:]), row.pass_, *(() if in_float32 else (row.precision,)),
            *(write(row) for _, write in columns),
            row.variant or "none",
        )  # fmt: skip
        last = subject
    return table


def _duration(seconds: float | None, spread: float | None = None) -> str:
    if seconds is None:
        return ""
    factor, unit = (1, "s ") if seconds >= 1 else (1e3, "ms")
    value = factor * seconds
    digits = 2 if value < 10 else 1 if value < 100 else 0
    around = "" if spread is None else f" ± {factor * spread:.{digits}f}"
    return f"{value:.{digits}f}{around} {unit}"


def _error(error: float | None) -> str:
    return "" if error is None else f"{error:.0e}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"[{'green' if ratio < 1 else 'red'}]{ratio:.2f}[/]"


def _bytes(count: int | None) -> str:
    from segattn_cli.rendering.style import megabytes

    return "" if count is None else megabytes(count, 1 if count < 1e8 else 0)
