"""Commands on several ranks: how they start, that only rank 0 prints, and how they end together."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from segattn_cli.commands.shared.options import COMPUTATION
from segattn_cli.commands.shared.terminal import complain
from segattn_cli.errors import ExitCode, UsageError, counted

if TYPE_CHECKING:
    from segattn_cli.ranks.communicator import Communicator
    from segattn_cli.ranks.mpi import Mpi

#: The commands that run on several ranks. All others run as often as they are started.
ON_RANKS = ("train", "eval", "infer")

Ranks = Annotated[
    int | None,
    typer.Option(
        "--ranks", metavar="N", min=1, rich_help_panel=COMPUTATION, show_default=False,
        help="Number of processes that share the work. They need MPI.",
    ),
]

#: Ranks that ``--ranks`` starts at most for each core, which they share: more would stop the machine.
RANKS_PER_CORE = 8
#: Seconds for which a rank waits for the others to start. One that has ended before never comes.
START = 300

_connected: Mpi | None = None  # while this rank has not ended together with the others


@contextmanager
def on_ranks(wanted: int | None) -> Iterator[Communicator]:
    """The communicator of the ranks that run this command: of one, unless mpiexec or srun started several.

    Where this process was started alone and several are ``wanted``, they are started, and it ends with their exit
    code. What ends the block on all ranks ends it in order; what ends it on one of them alone ends all: see
    :func:`all_end_together`.
    """
    from segattn_cli.ranks.communicator import ALONE, is_agreed, together
    from segattn_cli.ranks.environment import divide_machine, place

    here = place()
    if here is None:
        if wanted is not None and wanted > 1:
            _start(wanted)
        yield ALONE
        return
    if wanted not in (None, here.size):
        raise UsageError(f"--ranks is {wanted}, but mpiexec or srun started {here.size}: leave out --ranks.")
    comm = _connect()
    try:
        divide_machine(comm)
        commands = comm.gather(sys.argv[1:])
        with together(comm):
            if any(each != commands[0] for each in commands):
                raise UsageError(
                    "The ranks were started with different arguments: start all of them with the same, or each by "
                    "itself, without mpiexec (inside srun, with env -u PMI_RANK -u PMIX_RANK)."
                )
        yield comm
    except (Exception, KeyboardInterrupt) as error:
        if is_agreed(error) or isinstance(error, typer.Exit):
            _disconnect()
        else:
            _unmute()
        raise
    _disconnect()


@contextmanager
def all_end_together() -> Iterator[None]:
    """Where this rank comes to an end that the others do not know of, end them, too, with its exit code."""
    from segattn_cli.ranks.environment import note_end

    try:
        yield
    except BaseException as end:
        if _connected is None:
            note_end()
            raise
        note_end(of_all=True)
        code = end.code if isinstance(end, SystemExit) else ExitCode.FAILURE
        if not isinstance(end, SystemExit):
            traceback.print_exc()
        _connected.abort(code if isinstance(code, int) else ExitCode.FAILURE)
    note_end()


def mute_other_ranks(command: str | None) -> None:
    """Leave it to rank 0 to print, where ``command`` is one that runs on all of them."""
    from segattn_cli.ranks.environment import place

    here = place()
    if command in ON_RANKS and here is not None and here.rank > 0:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)


def _unmute() -> None:
    """Let this rank report an error that no other has."""
    if sys.stdout is sys.stderr and sys.__stderr__ is not None:
        sys.stdout = sys.stderr = sys.__stderr__


def _connect() -> Mpi:
    global _connected
    try:
        with _deadline(START):
            from mpi4py import MPI
        if MPI.Query_thread() != MPI.THREAD_MULTIPLE:
            raise RuntimeError("it does not allow calls from several threads")
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"Several ranks need MPI, which cannot be used here ({str(error).splitlines()[0]}): install it with "
            "pip install 'segattn[mpi]'."
        ) from None
    from segattn_cli.ranks.mpi import Mpi

    with _deadline(START):
        _connected = Mpi()
    return _connected


@contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    """End this process, and with it all ranks, where the block takes longer: also in C, where no handler runs."""
    if not hasattr(signal, "SIGALRM"):  # Windows
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _disconnect() -> None:
    global _connected
    if _connected is not None:
        _connected.close()
        with _deadline(START):
            _connected.finalize()
        _connected = None


def _start(ranks: int) -> NoReturn:
    """Run this command under mpiexec, and end with its exit code."""
    from segattn_cli.ranks.launcher import run_under_mpiexec

    require_cores(ranks)
    code = run_under_mpiexec(ranks, [sys.executable, "-m", "segattn_cli", *sys.argv[1:]])
    if code is None:
        complain("A rank was killed, so all ranks ended; what was saved is complete: go on with --resume.")
        code = ExitCode.RANK_LOST
    sys.exit(int(code))


def require_cores(ranks: int) -> None:
    """Raise :class:`UsageError` for more ``ranks`` than this machine should start."""
    from backends.cores import allowed_cores

    cores = allowed_cores()
    if ranks > RANKS_PER_CORE * cores:
        raise UsageError(
            f"--ranks {ranks} would start {ranks} processes on {counted(cores, 'core')}: start at most "
            f"{RANKS_PER_CORE * cores} of them, or use several machines, under mpiexec or srun."
        )
