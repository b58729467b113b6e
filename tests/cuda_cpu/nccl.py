"""The stand-in's NCCL: ranks are threads, and a message is the bytes at an address.

Sends and receives of a group happen together at its end, as in the library, where one alone would wait for ever.
"""

from __future__ import annotations

import ctypes
import itertools
import queue
import threading
from collections import defaultdict
from typing import Any

from .device_memory import DeviceError, memory_of

available = True
NCCL_UINT8 = 1
SECONDS = 120  # after which a message that does not come is an error
_numbers = itertools.count()
_group = threading.local()
_mail: defaultdict[tuple[Any, int, int], queue.Queue[bytes]] = defaultdict(queue.Queue)
_worlds: dict[Any, threading.Barrier] = {}
_lock = threading.Lock()


def get_unique_id() -> tuple[int, ...]:
    return (next(_numbers), *[0] * 127)


def groupStart() -> None:
    _group.calls = []


def groupEnd() -> None:
    calls, _group.calls = sorted(_group.calls, key=lambda call: call[0]), None
    for _, call in calls:  # what is sent first
        call()


class NcclCommunicator:
    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        if len(commId) != 128:
            raise DeviceError("NcclCommunicator: the id has 128 numbers.")
        self._world, self._rank, self._size = commId, rank, ndev
        with _lock:
            barrier = _worlds.setdefault(commId, threading.Barrier(ndev))
        barrier.wait(SECONDS)

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        _bytes("send", sendbuf, count, datatype)
        _group.calls.append((0, lambda: self._put(sendbuf, count, peer)))

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        _bytes("recv", recvbuf, count, datatype)
        _group.calls.append((1, lambda: self._take(recvbuf, count, peer)))

    def allGather(self, sendbuf: int, recvbuf: int, count: int, datatype: int, stream: int) -> None:
        _bytes("allGather", sendbuf, count, datatype)
        _bytes("allGather", recvbuf, count * self._size, datatype)
        for peer in range(self._size):
            self._put(sendbuf, count, peer)
        for peer in range(self._size):
            self._take(recvbuf + peer * count, count, peer)

    def check_async_error(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def _put(self, address: int, count: int, peer: int) -> None:
        _mail[self._world, self._rank, peer].put(ctypes.string_at(address, count))

    def _take(self, address: int, count: int, peer: int) -> None:
        message = _mail[self._world, peer, self._rank].get(timeout=SECONDS)
        if len(message) != count:
            raise DeviceError(f"recv: {count} bytes of a message of {len(message)}.")
        ctypes.memmove(address, message, count)


def _bytes(call: str, address: int, count: int, datatype: int) -> None:
    if datatype != NCCL_UINT8:
        raise DeviceError(f"{call}: the type {datatype} is not that of bytes.")
    memory_of(address, count, call)
