"""The stand-in's device memory: what holds an array, and which memory an address belongs to."""

from __future__ import annotations

import bisect
import weakref

import numpy as np

_ALIGNMENT = 256  # bytes, as CuPy's
_GUARD = 1024  # bytes before and after, in which nobody may write
UNWRITTEN = 0xFF  # each byte of fresh memory: NaN in every type of numbers


class DeviceError(Exception):
    """What a GPU would do without a word, or refuse without a reason."""


class Memory:
    """``size`` bytes between two guards; fresh memory is NaN, and so are the guards at first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._buffer = np.full(size + 2 * _GUARD + _ALIGNMENT, UNWRITTEN, np.uint8)
        self._start = _GUARD + -(self._buffer.ctypes.data + _GUARD) % _ALIGNMENT
        self.address = self._buffer.ctypes.data + self._start
        bisect.insort(_addresses, self.address)
        _memories[self.address] = self

    def __del__(self) -> None:
        del _addresses[bisect.bisect_left(_addresses, self.address)]

    @property
    def bytes(self) -> np.ndarray:
        return self._buffer[self._start : self._start + self.size]

    def _guards(self) -> tuple[np.ndarray, np.ndarray]:
        return self._buffer[: self._start], self._buffer[self._start + self.size :]

    def set_guards(self, byte: int) -> None:
        """NaN, for who reads there, or a number: NaN that is written on NaN leaves no trace."""
        for guard in self._guards():
            guard[...] = byte

    def check_guards(self, byte: int, who: str) -> None:
        for guard, where in zip(self._guards(), ("before", "beyond"), strict=True):
            if (guard != byte).any():
                raise DeviceError(f"{who} writes {where} an array of {self.size} bytes.")


_addresses: list[int] = []  # of all that are alive, sorted
_memories: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()


def memory_at(address: int) -> Memory | None:
    """The memory that holds ``address``, or ends there."""
    n = bisect.bisect_right(_addresses, address) - 1
    if n < 0:
        return None
    memory = _memories.get(_addresses[n])
    return memory if memory and address <= memory.address + memory.size else None


def memory_of(address: int, size: int, who: str) -> Memory:
    """The one memory in which ``size`` bytes from ``address`` on lie."""
    memory = memory_at(address)
    if memory is None:
        raise DeviceError(f"{who} is given the address {address:#x}, where no array is.")
    if address + size > memory.address + memory.size:
        beyond = address + size - memory.address - memory.size
        raise DeviceError(f"{who} reads or writes {beyond} bytes beyond an array of {memory.size} bytes.")
    return memory
