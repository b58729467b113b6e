"""One run of a study in a process of its own: ``python -m segattn_cli.training.worker OUT``.

The configuration is the first line of standard input, as JSON. When standard input ends, the current step is
finished and saved: so a run also stops where the process that started it has died. Events are lines of JSON on
standard output, and an error is one sentence on standard error, with its exit code.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from backends import BackendError
from segattn_cli import runs
from segattn_cli.config import config_from
from segattn_cli.errors import ExitCode, SegattnError, unusable_file
from segattn_cli.runs.event_log import line_format
from segattn_cli.runs.events import Interrupted, RunStarted, StepDone, Validated
from segattn_cli.training.loop import train


def main() -> None:
    out = Path(sys.argv[1])
    commands = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 (read until the process ends)
    config = config_from(json.loads(commands.readline()))
    stopped = threading.Event()

    def wait_for_end() -> None:
        while commands.read(1):
            pass
        stopped.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    code: int = ExitCode.OK
    try:
        resume = (out / runs.CONFIG).is_file()
        for event in train(config, out, resume=resume, should_stop=stopped.is_set):
            if isinstance(event, RunStarted | StepDone | Validated):
                _report(line_format().dump_json(event), stopped)
            elif isinstance(event, Interrupted):
                code = ExitCode.INTERRUPTED
    except SegattnError as error:
        code = _failed(str(error), error.exit_code)
    except BackendError as error:
        code = _failed(str(error), ExitCode.BACKEND)
    except MemoryError as error:
        code = _failed(f"There is not enough memory ({error}).", ExitCode.MEMORY)
    except OSError as error:
        sentence = unusable_file(error)
        if sentence is None:
            raise
        code = _failed(sentence, ExitCode.OUTPUT)
    sys.exit(int(code))


def _report(line: bytes, stopped: threading.Event) -> None:
    """Write a line; where nobody reads any more, the training is to stop."""
    try:
        os.write(1, line + b"\n")
    except BrokenPipeError:
        stopped.set()


def _failed(sentence: str, code: ExitCode) -> ExitCode:
    print(sentence, file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
