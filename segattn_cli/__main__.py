"""The console script: prepares the streams before anything opens a file, and imports the rest.

An import may be interrupted, or lack memory; both end in one sentence as they do later.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Run ``segattn``."""
    before = signal.getsignal(signal.SIGINT)
    can_be_interrupted = before is signal.default_int_handler  # not if started by nohup, say
    if can_be_interrupted:  # an exception in the middle of an import may become another one
        signal.signal(signal.SIGINT, _interrupt)
    gc.set_threshold(20_000, 50, 50)  # a start makes a few hundred thousand objects, and hardly any garbage
    app = _imported()
    try:
        signal.signal(signal.SIGINT, before)
        app.main()
    except KeyboardInterrupt:
        _interrupt()
    finally:
        if can_be_interrupted:  # while the interpreter ends, an exception would only be a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _imported() -> Any:
    """:mod:`segattn_cli.app`."""
    from segattn_cli.commands.shared.streams import prepare_streams
    from segattn_cli.errors import ExitCode, lacks_memory

    prepare_streams()
    try:
        from segattn_cli import app
    except (MemoryError, ImportError, OSError) as error:
        if not lacks_memory(error):
            raise
        print(
            "segattn: There is not enough memory to start: allow this process at least 500 MB.", file=sys.stderr
        )
        sys.exit(int(ExitCode.MEMORY))
    return app


def _interrupt(*_: object) -> None:
    """End the process at once: nothing has been begun, or all is over."""
    try:
        os.write(2, b"segattn: Interrupted.\n")
    finally:
        os._exit(130)  # ExitCode.INTERRUPTED, which may not have been imported yet


if __name__ == "__main__":
    main()
