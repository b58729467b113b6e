"""NCCL for arrays on GPUs: each rank has a card, and data moves from card to card.

NCCL moves bytes and adds nothing: its sums follow the topology and the size of the message. What is no array, and
whether the other ranks are alive, is the business of the communicator of the processes. Calls are queued on the
current stream, or on one beside it; nothing here waits for the card.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import cupy
import numpy as np
from cupy.cuda import nccl

from backends.errors import BackendError
from segattn_cli.ranks.communicator import MESSAGE, Communicator, Transport, from_first, on_all, together

T = TypeVar("T")


class Nccl:
    """A :class:`~segattn_cli.ranks.communicator.Communicator` for arrays of CuPy.

    Args:
        processes: the communicator of the same ranks.

    Raises:
        BackendError: where NCCL is not installed, or two ranks have one card, which NCCL refuses.
    """

    def __init__(self, processes: Communicator) -> None:
        self.rank, self.size = processes.rank, processes.size
        self._processes = processes
        with together(processes):
            if not nccl.available:
                raise BackendError("Several GPUs need NCCL: install it with pip install nvidia-nccl-cu13.")
        card = (socket.gethostname(), cupy.cuda.Device().pci_bus_id)
        cards = on_all(processes, lambda: card)
        with together(processes):
            if len(set(cards)) < len(cards):
                raise BackendError(
                    f"{len(cards)} ranks have {len(set(cards))} GPUs: start as many ranks as there are GPUs, or "
                    "choose the backend numba."
                )
        world = from_first(processes, nccl.get_unique_id, "what NCCL begins with")
        self._nccl = nccl.NcclCommunicator(self.size, world, self.rank)
        self._beside = cupy.cuda.Stream(non_blocking=True)

    @property
    def seconds(self) -> float:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`; only that of the processes is known."""
        return self._processes.seconds

    @property
    def hidden_seconds(self) -> float:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`; what the card does is not timed."""
        return 0.0

    def gather(self, value: T, what: str = MESSAGE) -> list[T]:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        self._nccl.check_async_error()
        return self._processes.gather(value, what)

    def empty(self, count: int, dtype: np.dtype) -> Any:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        return cupy.empty(count, dtype)

    def exchange(self, blocks: Any) -> Any:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        received = cupy.empty(blocks.shape, blocks.dtype)
        stream = cupy.cuda.get_current_stream().ptr
        count = blocks[0].nbytes
        nccl.groupStart()
        for rank in range(self.size):
            self._nccl.send(blocks[rank].data.ptr, count, nccl.NCCL_UINT8, rank, stream)
            self._nccl.recv(received[rank].data.ptr, count, nccl.NCCL_UINT8, rank, stream)
        nccl.groupEnd()
        return received

    def collect(self, block: Any) -> Any:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        received = cupy.empty((self.size, *block.shape), block.dtype)
        stream = cupy.cuda.get_current_stream().ptr
        self._nccl.allGather(block.data.ptr, received.data.ptr, block.nbytes, nccl.NCCL_UINT8, stream)
        return received

    def later(self, function: Callable[[Transport], T]) -> Callable[[], T]:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`.

        The other stream begins when what is queued so far is done. Memory that belongs to one stream and is used on
        the other is kept until the streams have met: ``function`` with its arrays until the result is taken, and
        what the result is in until the next call of this.
        """
        self._beside.wait_event(cupy.cuda.get_current_stream().record())
        with self._beside:
            result = function(self)
            done = self._beside.record()

        def wait(function: Callable[[Transport], T] = function) -> T:
            cupy.cuda.get_current_stream().wait_event(done)
            return result

        return wait

    def abort(self, code: int) -> NoReturn:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        self._nccl.abort()
        self._processes.abort(code)
