"""What ranks tell each other, and how all of them end where one of them fails.

Every function here is called by all ranks, in the same order: each of them waits for the others.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from backends.contract import Ops
from backends.errors import BackendError

if TYPE_CHECKING:
    import numpy as np

Array = Any
T = TypeVar("T")
#: What a rank sends, where nothing better can be said.
MESSAGE = "its message"


class Transport(Protocol):
    """What moves arrays between ``size`` processes, of which this is the rank ``rank``."""

    rank: int
    size: int

    def empty(self, count: int, dtype: np.dtype) -> Array:
        """Memory for ``count`` numbers, where the arrays are that are exchanged: ``(count,)``."""

    def exchange(self, blocks: Array) -> Array:
        """Send ``blocks[r]`` of ``(size, n)`` to rank r; returns what each rank sent here, ``(size, n)``."""

    def collect(self, block: Array) -> Array:
        """The ``block`` ``(n,)`` of every rank, ``(size, n)``."""


class Communicator(Transport, Protocol):
    """A transport, and what else ranks tell each other."""

    @property
    def seconds(self) -> float:
        """The time for which this rank has waited in calls so far, for others or for what they sent."""

    @property
    def hidden_seconds(self) -> float:
        """The time that communication took while this rank computed: see :meth:`later`."""

    def gather(self, value: T, what: str = MESSAGE) -> list[T]:
        """The ``value`` of every rank, in the order of the ranks. Values are pickled: they are copies.

        Where a rank does not come, it is said to have sent no ``what``.
        """

    def later(self, function: Callable[[Transport], T]) -> Callable[[], T]:
        """Begin ``function(transport)``, which waits for other ranks, while this rank goes on computing.

        What is returned waits for the result. All ranks begin the same functions in the same order, and these are
        done one after the other.
        """

    def abort(self, code: int) -> NoReturn:
        """End the processes of all ranks at once, with the exit code ``code``."""


class Alone:
    """The only rank."""

    rank, size, seconds, hidden_seconds = 0, 1, 0.0, 0.0

    def gather(self, value: T, what: str = MESSAGE) -> list[T]:
        return [value]

    def empty(self, count: int, dtype: np.dtype) -> Array:
        import numpy as np

        return np.empty(count, dtype)

    def exchange(self, blocks: Array) -> Array:
        return blocks

    def collect(self, block: Array) -> Array:
        return block[None]

    def later(self, function: Callable[[Transport], T]) -> Callable[[], T]:
        value = function(self)
        return lambda: value

    def abort(self, code: int) -> NoReturn:
        raise SystemExit(code)


#: A process that is not one of several.
ALONE = Alone()


def communicator_of(comm: Communicator, ops: Ops) -> Communicator:
    """A communicator of the same ranks that sends arrays of ``ops``.

    Raises :class:`BackendError` where the ranks have different backends, or cards that cannot send.
    """
    require_one_backend(comm, ops)
    if comm.size > 1 and ops.name == "cupy":
        from segattn_cli.ranks.nccl import Nccl

        return Nccl(comm)
    return comm


def require_one_backend(comm: Communicator, ops: Ops) -> None:
    """Raise :class:`BackendError` where ``auto`` found different backends on the machines of the ranks."""
    names = on_all(comm, lambda: ops.name)
    with together(comm):
        if len(set(names)) > 1:
            found = ", ".join(f"{name} on rank {rank}" for rank, name in enumerate(names))
            raise BackendError(f"The ranks found different backends ({found}): choose one by --backend.")


def on_all(comm: Communicator, function: Callable[[], T], what: str = MESSAGE) -> list[T]:
    """What ``function()`` returns on each rank; an error on some of them is raised on all of them.

    It is that of the first rank that has one. Such an error :func:`is_agreed`: all ranks end by it, in the same
    place. ``function`` may itself call this, but wait for other ranks in no other way: where one of them has
    failed, its error arrives in the inner call of the others.

    >>> on_all(ALONE, lambda: 7)
    [7]
    """
    value: Any = None
    error: Exception | None = None
    try:
        value = function()
    except Exception as raised:
        if is_agreed(raised):
            raise
        error = raised
    outcomes = comm.gather((value, None if error is None else _sendable(error, comm)), what)
    failed = [(rank, sent) for rank, (_, sent) in enumerate(outcomes) if sent is not None]
    if not failed:
        return [each for each, _ in outcomes]
    rank, first = failed[0]
    if rank == comm.rank and error is not None:
        first = error  # with its traceback
    first.is_agreed = True  # type: ignore[attr-defined]
    raise first


@contextmanager
def together(comm: Communicator, what: str = MESSAGE) -> Iterator[None]:
    """Leave the block when all ranks have come to its end, or raise the error of one on all: see :func:`on_all`."""
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised

    def outcome() -> None:
        if error is not None:
            raise error

    on_all(comm, outcome, what)


def from_first(comm: Communicator, function: Callable[[], T], what: str) -> T:
    """What ``function()`` returns on rank 0, which alone calls it; or its error, on all ranks.

    ``what`` says what the others wait for, perhaps for long.
    """
    return on_all(comm, lambda: function() if comm.rank == 0 else None, what)[0]  # type: ignore[return-value]


def in_turns(
    comm: Communicator, count: int, function: Callable[[range], Sequence[T]], *, each: int = 1
) -> Iterator[T]:
    """Values for the numbers 0, …, ``count − 1``, in this order, on all ranks, which take turns to compute them.

    In its turn, a rank calls ``function(numbers)`` for up to ``each`` numbers, which returns as many values.

    >>> list(in_turns(ALONE, 3, lambda numbers: [number**2 for number in numbers], each=2))
    [0, 1, 4]
    """

    def values(own: range) -> Sequence[T]:
        return function(own) if own else ()

    for start in range(0, count, comm.size * each):
        end = min(start + comm.size * each, count)
        own = range(start + comm.rank, end, comm.size)
        of_ranks = on_all(comm, partial(values, own), "its image")
        for number in range(end - start):
            yield of_ranks[number % comm.size][number // comm.size]


def is_agreed(error: BaseException) -> bool:
    """Whether all ranks raised ``error`` in the same place."""
    return getattr(error, "is_agreed", False)


def _sendable(error: Exception, comm: Communicator) -> Exception:
    """``error``, or where it cannot be pickled a RuntimeError with its words; the traceback is a note."""
    if comm.size > 1:
        error.add_note(f"On rank {comm.rank}:\n{''.join(traceback.format_exception(error))}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"rank {comm.rank}: {type(error).__name__}: {error}")
    return error
