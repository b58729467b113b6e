"""Starting ranks on this machine: ``--ranks N`` without ``mpiexec``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segattn_cli.errors import UsageError
from segattn_cli.ranks.environment import NOTE


def mpiexec() -> str | None:
    """The path of mpiexec: that of the wheel beside Python, whose MPI mpi4py takes, or that of the site."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def run_under_mpiexec(ranks: int, command: Sequence[str]) -> int | None:
    """Run ``command`` as ``ranks`` processes, and return their exit code; None where one of them was killed.

    Ctrl-C and SIGTERM are passed on to all of them, once. Raises :class:`UsageError` where MPI is not installed.
    """
    launcher = mpiexec()
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        raise UsageError("--ranks needs MPI and mpi4py: install both with pip install 'segattn[mpi]'.")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PMI_", "PMIX_"))}
    with tempfile.TemporaryDirectory(prefix="segattn-") as folder:
        note = Path(folder) / "ended"
        # In a session of its own, where the signals of this terminal reach it through this process alone.
        process = subprocess.Popen(
            [launcher, "-n", str(ranks), *command], env={**environment, NOTE: str(note)}, start_new_session=True
        )

        def pass_on(number: int, frame: Any) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = process.wait()
            return code if code == 0 or note.exists() else None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
