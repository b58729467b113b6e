"""What mpiexec or srun say of this process, before MPI is imported: a plain run never imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backends.cores import allowed_cores, cpu_quota

if TYPE_CHECKING:
    from segattn_cli.ranks.communicator import Communicator

#: Variables with the rank and the number of ranks: of MPICH, Intel's MPI and Slurm with PMI; and of Open MPI.
VARIABLES = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
#: Variables by which users and launchers set the number of threads.
THREADS = ("SEGATTN_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

#: The variable with the path of a file that a rank makes when it ends by itself: mpiexec's exit code does not tell.
NOTE = "SEGATTN_RANKS_ENDED"


class Place(NamedTuple):
    """Which of how many processes this is."""

    rank: int
    size: int


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place of this process among those that were started together; None where it was started alone.

    >>> place({"PMI_RANK": "1", "PMI_SIZE": "4"})
    Place(rank=1, size=4)
    >>> place({"PMI_RANK": "0", "PMI_SIZE": "1"}), place({})
    (None, None)
    """
    for rank, size in VARIABLES:
        if rank in environment and environment.get(size, "1") != "1":
            return Place(int(environment[rank]), int(environment[size]))
    if "PMIX_RANK" in environment and environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        return Place(int(environment["PMIX_RANK"]), int(environment["SLURM_STEP_NUM_TASKS"]))
    return None


def note_end(of_all: bool = False) -> None:
    """Tell the process that started the ranks, where ``--ranks`` did, that rank 0 ends by itself, or ends all."""
    here = place()
    with suppress(OSError):
        if NOTE in os.environ and (of_all or (here is not None and here.rank == 0)):
            Path(os.environ[NOTE]).touch()


def divide_machine(comm: Communicator) -> None:
    """Give this rank its fraction of the cores of its machine, and its GPU, before CuPy is imported.

    Cores that no other rank may use, as where the launcher bound each rank to its own, are its own already. What
    variables of the environment say is left as it is.
    """
    import socket

    usable = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(allowed_cores()))
    everyone = comm.gather((socket.gethostname(), usable))
    host = everyone[comm.rank][0]
    neighbours = [rank for rank, (name, _) in enumerate(everyone) if name == host]
    card = own_card(os.environ.get("CUDA_VISIBLE_DEVICES"), neighbours.index(comm.rank), len(neighbours))
    os.environ["CUDA_VISIBLE_DEVICES"] = card
    if any(name in os.environ for name in THREADS):
        return

    from backends.numpy.threads import blas_libraries, set_thread_count

    threads = own_threads(usable, [everyone[rank][1] for rank in neighbours], cpu_quota())
    set_thread_count(threads)
    blas_libraries().limit(limits=threads)


def own_threads(usable: frozenset[int], of_ranks: list[frozenset[int]], quota: float | None) -> int:
    """The number of threads of a rank that may use the cores ``usable``, of all ranks of its machine.

    >>> own_threads(frozenset({0, 1, 2, 3}), [frozenset({0, 1, 2, 3})] * 2, None)
    2
    >>> own_threads(frozenset({2, 3}), [frozenset({0, 1}), frozenset({2, 3})], None)  # bound to its own
    2
    >>> own_threads(frozenset({0, 1, 2, 3}), [frozenset({0, 1, 2, 3})] * 2, quota=2.0)  # cores for all of them
    1
    """
    threads = len(usable) // sum(bool(cores & usable) for cores in of_ranks)
    if quota is not None:
        threads = min(threads, int(quota / len(of_ranks)))
    return max(1, threads)


def own_card(visible: str | None, number: int, ranks: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES for rank ``number`` of the ``ranks`` of a machine.

    >>> own_card(None, 1, 2), own_card("4,6", 1, 2)
    ('1', '6')
    >>> own_card("3", 1, 2)  # of a launcher that gives each rank its card
    '3'
    """
    if visible is None:
        return str(number)
    cards = visible.split(",")
    return cards[number] if len(cards) >= ranks else visible
