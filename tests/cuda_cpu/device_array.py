"""The stand-in's arrays: NumPy computes, and what is not allowed with an array on a device is an error here."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import cupy as real
import numpy as np

from .device_memory import Memory, memory_at


class ndarray:
    """An array on the device. It has the methods that CuPy's has, and no others."""

    __array_ufunc__ = None  # NumPy's arrays want no part in our operators

    def __init__(self, host: np.ndarray, memory: Memory) -> None:
        self._host, self._memory = host, memory

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    @property
    def data(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(ptr=address_of(self._host))

    def get(self) -> np.ndarray:
        return self._host.copy()

    def set(self, values: np.ndarray) -> None:
        self._host[...] = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(real.ndarray, name):
            raise AttributeError(f"cupy.ndarray has no {name!r}")
        value = getattr(self._host, name)
        return on_device(value) if callable(value) else to_device(value)

    def __getitem__(self, index: Any) -> Any:
        return to_device(self._host[to_host(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[to_host(index)] = to_host(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[Any]:
        return (self[n] for n in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __repr__(self) -> str:
        return f"on the device: {self._host!r}"

    __hash__ = None  # type: ignore[assignment]


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, *others: Any) -> Any:
        return to_device(getattr(self._host, name)(*map(to_host, others)))

    return operate


def _in_place(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, other: Any) -> ndarray:
        getattr(self._host, name)(to_host(other))
        return self

    return operate


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__"))
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ("neg", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def address_of(host: np.ndarray) -> int:
    address: int = host.__array_interface__["data"][0]
    return address


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    dtype = np.dtype(dtype)
    memory = Memory(int(np.prod(shape)) * dtype.itemsize)
    return ndarray(memory.bytes.view(dtype).reshape(shape), memory)


def to_device(value: Any) -> Any:
    """NumPy's results as arrays on the device: views where they are views, single numbers without axes."""
    if isinstance(value, tuple):
        return tuple(map(to_device, value))
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        return value
    memory = memory_at(address_of(value))
    if memory is not None and value.base is not None:
        return ndarray(value, memory)
    array = empty(value.shape, value.dtype)
    array._host[...] = value
    return array


def to_host(value: Any) -> Any:
    """What NumPy gets to compute with; arrays of NumPy itself do not belong among those of a device."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, list | tuple):
        return type(value)(map(to_host, value))
    return value


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy, for arrays on the device."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return to_device(function(*map(to_host, args), **{name: to_host(value) for name, value in kwargs.items()}))

    return call
