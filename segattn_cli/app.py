"""The command line: one Typer application, one file per command under :mod:`segattn_cli.commands`."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Annotated, Any

import typer

from backends import BackendError
from segattn_cli.commands import (
    ablate,
    bench,
    check,
    compare,
    config,
    data,
    doctor,
    evaluate,
    explain,
    export,
    infer,
    merge,
    presets,
    read,
    report,
    summary,
    train,
    weights,
)
from segattn_cli.commands.shared.help import Command, Group
from segattn_cli.commands.shared.ranks import all_end_together, mute_other_ranks
from segattn_cli.commands.shared.streams import prepare_streams
from segattn_cli.commands.shared.terminal import complain
from segattn_cli.errors import ExitCode, OutputError, SegattnError, UsageError, lacks_memory, unusable_file

app = typer.Typer(
    name="segattn",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from segattn_cli.machine.versions import versions

        print(f"segattn {versions(['segattn'])['segattn']}")
        raise typer.Exit


@app.callback(epilog="Start with: segattn train --out RUN")
def segattn(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    gpu_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", envvar="SEGATTN_GPU_MEMORY", show_default=False, show_envvar=False,
            help="Limit the memory that is used on the GPU, such as 8GB or 50%.",
        ),
    ] = None,
) -> None:
    """Train, run and understand networks for semantic segmentation, with dual attention and attention to scale."""
    mute_other_ranks(ctx.invoked_subcommand)
    if gpu_memory is not None:
        if not re.fullmatch(r"\d+(\.\d+)?\s*(gb|mb|%)", gpu_memory.strip(), re.IGNORECASE):
            raise UsageError(f"--gpu-memory must be a size such as 8GB, 500MB or 50%, got {gpu_memory!r}.")
        os.environ["SEGATTN_GPU_MEMORY"] = gpu_memory
    _show_choices()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home it would report its temporary cache


def _show_choices() -> None:
    """Report on standard error which backend ``auto`` chooses, and what a backend has to do without."""
    log = logging.getLogger("backends")
    log.setLevel(logging.INFO)
    if not any(isinstance(each, _OnStderr) for each in log.handlers):
        log.addHandler(_OnStderr())


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


_PANELS: dict[str, dict[str, Any]] = {
    "Training and prediction": {
        "train": train.train, "eval": evaluate.evaluate, "infer": infer.infer, "export": export.export,
    },
    "Analysis": {
        "ablate": ablate.ablate, "compare": compare.compare, "explain": explain.explain, "merge": merge.merge,
        "read": read.read,
        "report": report.report, "summary": summary.summary,
    },
    "Configuration, data and weights": {
        "config": config.config, "presets": presets.app, "data": data.app, "weights": weights.app,
    },
    "Correctness and speed": {"check": check.check, "bench": bench.bench, "doctor": doctor.doctor},
}  # fmt: skip
for _panel, _commands in _PANELS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, cls=Command, rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command line, also where the streams are not those of a console."""
    prepare_streams()
    with all_end_together():
        try:
            try:
                _run()
            except SystemExit as end:
                if isinstance(end.__context__, BrokenPipeError):  # which Typer makes the exit code of a bug
                    raise end.__context__ from None
                raise
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            sys.exit(int(ExitCode.CLOSED_PIPE))
        except OutputError as error:
            _fail(str(error), error.exit_code)


def _run() -> None:
    """Run the command. An error that a user can cause ends in one sentence on standard error and its exit code."""
    try:
        app(prog_name="segattn")
    except SegattnError as error:
        _fail(str(error), error.exit_code)
    except BackendError as error:
        _fail(str(error), ExitCode.BACKEND)
    except (MemoryError, ImportError, RuntimeError) as error:
        if not (lacks_memory(error) or _is_full_gpu(error)):
            raise
        _fail_for_memory(error)
    except OSError as error:
        if lacks_memory(error):
            _fail_for_memory(error)
        if _lacks_temporary_folder(error):
            _fail(
                "No folder for temporary files can be written: name one in the variable TMPDIR.", ExitCode.OUTPUT
            )
        sentence = unusable_file(error)  # a path that a command may not even look at, a device that fails
        if sentence is None:
            raise
        _fail(sentence, ExitCode.OUTPUT)
    except KeyboardInterrupt:
        _fail("Interrupted.", ExitCode.INTERRUPTED)


def _fail_for_memory(error: Exception) -> None:
    cause = _cause(error)
    detail = f" ({cause})" if cause else ""
    _fail(f"There is not enough memory{detail}: {_way_out(error)}.", ExitCode.MEMORY)


def _cause(error: Exception) -> str:
    if not _of_the_gpu(error):
        return str(error)
    from backends.cupy.memory import out_of_memory

    return out_of_memory(error)


def _way_out(error: Exception) -> str:
    training = "lower training.batch_size (optimiser.accumulate makes up for it) or augmentation.crop"
    if _of_the_gpu(error):
        training += ", compute in --precision float16"
    return f"{training}, or predict with --window or a lower --batch"


def _of_the_gpu(error: Exception) -> bool:
    return type(error).__module__.startswith("cupy")


def _is_full_gpu(error: Exception) -> bool:
    """Whether CUDA or one of its libraries, rather than CuPy's memory pool, reports that memory is full."""
    codes = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")
    return _of_the_gpu(error) and any(code in str(error) for code in codes)


def _lacks_temporary_folder(error: OSError) -> bool:
    """Whether Python found no folder for temporary files, directly or on behalf of a library such as Matplotlib."""
    return any("No usable temporary directory" in str(each) for each in (error, error.__cause__))


def _fail(sentence: str, code: ExitCode) -> None:
    complain(sentence)
    sys.exit(int(code))


if __name__ == "__main__":
    main()
