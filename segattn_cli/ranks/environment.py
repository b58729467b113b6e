"""What mpiexec or srun say of this process, before MPI is imported: a plain run never imports it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

from segattn_cli.ranks.communicator import Communicator

#: Variables with the rank and the number of ranks: of MPICH, Intel's MPI and Slurm with PMI; and of Open MPI.
VARIABLES = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
#: Variables by which users and launchers set the number of threads.
THREADS = ("SEGATTN_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


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


def divide_cores(comm: Communicator) -> int | None:
    """Give this rank its fraction of the cores of its machine, unless a variable says otherwise.

    Returns the number of threads that it computes on from now on. Cores that no other rank may use, as where the
    launcher bound each rank to its own, are its own already.
    """
    if not hasattr(os, "sched_getaffinity"):
        usable = frozenset(range(os.cpu_count() or 1))
    else:
        usable = frozenset(os.sched_getaffinity(0))
    everyone = comm.gather((socket.gethostname(), usable))
    if any(name in os.environ for name in THREADS):
        return None
    host = everyone[comm.rank][0]
    threads = share(usable, [cores for name, cores in everyone if name == host])

    from backends.numpy.threads import blas_libraries, set_thread_count

    set_thread_count(threads)
    blas_libraries().limit(limits=threads)
    return threads


def share(usable: frozenset[int], of_ranks: list[frozenset[int]]) -> int:
    """The number of threads of a rank that may use the cores ``usable``, where those of its machine may so.

    >>> share(frozenset({0, 1, 2, 3}), [frozenset({0, 1, 2, 3})] * 2)
    2
    >>> share(frozenset({2, 3}), [frozenset({0, 1}), frozenset({2, 3})])
    2
    >>> share(frozenset({0, 1}), [frozenset({0, 1})] * 4)
    1
    """
    sharing = sum(bool(cores & usable) for cores in of_ranks)
    return max(1, len(usable) // sharing)
