"""The plain data in a pickle, read without running it.

A pickle is a program for a stack machine that may call any function of any module; unpickling a file runs it. The
machine here has the same opcodes but imports nothing: it compares each name with a short list, builds dicts, lists
and PyTorch's tensors as plain data, and refuses all other names.

The opcodes are those of https://docs.python.org/3/library/pickletools.html, the names those that
``torch.save`` writes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from segattn_cli.weights.tensors import FileError

#: PyTorch's names of the dtypes of storages, and NumPy's; NumPy has no "bfloat16".
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip

_DTYPES = {*STORAGES.values(), "half", "float", "double", "short", "int", "long"}
#: Largest number of axes of a tensor; NumPy's limit is 64.
MAX_DIMENSIONS = 32
_MARK = object()


@dataclass(frozen=True, eq=False)
class Storage:
    """The numbers of one or more tensors, which are elsewhere in the file, under ``key``."""

    key: str
    dtype: str
    size: int  # in elements


@dataclass(frozen=True, eq=False)
class TensorView:
    """The elements of a storage that make up a tensor."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


class Opaque:
    """A harmless value that is not needed here: a dtype, a scalar or an array of NumPy."""


class _Name(NamedTuple):
    """A function or class that a pickle refers to."""

    module: str
    name: str


def read_pickle(file: BinaryIO) -> Any:
    """The plain data in the pickle at the position of ``file``, which is then the position of the pickle's end.

    Dicts, also ordered ones, are returned as dict, lists and sets as list, tensors as :class:`TensorView`.

    Raises:
        FileError: for a damaged pickle, and for other values, which it names.

    >>> import collections, io, os, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps(collections.OrderedDict(epoch=3, names=["road", "sky"]))))
    {'epoch': 3, 'names': ['road', 'sky']}
    >>> read_pickle(io.BytesIO(pickle.dumps(os.system)))
    Traceback (most recent call last):
    segattn_cli.weights.tensors.FileError: holds 'posix.system', which is no plain data: save the state_dict alone
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.step(opcode.name, argument)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise FileError(f"has a damaged pickle ({str(error)[:100]})") from None
    return machine.result


class _Machine:
    """The stack, the marks in it, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.steps = 0
        self.copied = 0
        self.result: Any = None

    def step(self, opcode: str, argument: Any) -> None:
        """Run one opcode; :mod:`pickletools` documents what each does to the stack."""
        self.steps += 1
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case _ if opcode in _VALUES:
                self.stack.append(argument)
            case _ if opcode in _NEW:
                self.stack.append(_NEW[opcode]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(self.pop(int(opcode[-1])))
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "LIST" | "FROZENSET":
                self.stack.append(self.pop_to_mark())
            case "DICT":
                values = self.pop_to_mark()
                self.stack.append({})
                self.set_items(values)
            case "APPEND":
                self.extend(self.pop(1))
            case "APPENDS" | "ADDITEMS":
                self.extend(self.pop_to_mark())
            case "SETITEM":
                self.set_items(self.pop(2))
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self.pop_to_mark()
            case "DUP":
                self.stack.append(self.top(object))
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top(object)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top(object)
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.name(*self.pop(2))
            case "REDUCE":
                self.call(*self.pop(2))
            case "BUILD":
                self.build(*self.pop(1))
            case "BINPERSID":
                self.stack.append(_storage(*self.pop(1)))
            case "STOP":
                (self.result,) = self.pop(1)
            case _:
                raise FileError(f"has a pickle with the opcode {opcode}, which plain data do not need")

    def pop(self, count: int) -> tuple[Any, ...]:
        values = tuple(self.stack[-count:])
        if len(values) < count or any(value is _MARK for value in values):
            raise ValueError("a value is missing")
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        for start in reversed(range(len(self.stack))):
            if self.stack[start] is _MARK:
                values = self.stack[start + 1 :]
                del self.stack[start:]
                return values
        raise ValueError("a mark is missing")

    def top(self, kind: type) -> Any:
        value = self.stack[-1]
        if value is _MARK or not isinstance(value, kind):
            raise ValueError(f"a {type(value).__name__} where a {kind.__name__} should be")
        return value

    def extend(self, values: Iterable[Any]) -> None:
        self.top(list).extend(values)

    def set_items(self, values: Sequence[Any]) -> None:
        self.top(dict).update(_dict(zip(values[::2], values[1::2], strict=True)))

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is none")
        known = _Name(module, name)
        if known not in _CALLS and not (module == "torch" and (name in STORAGES or name in _DTYPES)):
            written = f"{module}.{name}"[:100]
            raise FileError(f"holds {written!r}, which is no plain data: save the state_dict alone")
        self.stack.append(known)

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Name) or function not in _CALLS or type(arguments) is not tuple:
            raise ValueError("a call of what cannot be called")
        # A value that is in the file once could be copied a million times; each honest value takes an opcode.
        self.copied += sum(len(argument) for argument in arguments if isinstance(argument, (list, tuple, dict)))
        if self.copied > self.steps:
            raise ValueError("more copies than content")
        self.stack.append(_CALLS[function](*arguments))

    def build(self, attributes: Any) -> None:
        """Discard the attributes of an object, such as ``_metadata`` of PyTorch's state dicts: none is needed."""
        if not isinstance(self.top(object), (dict, Opaque, TensorView)):
            raise ValueError("attributes of something that has none")


def _storage(reference: Any) -> Storage:
    """A reference to a storage, which ``torch.save`` writes outside the pickle."""
    match reference:
        case ("storage", _Name("torch", kind), str(key), str(), int(size), *view) if kind in STORAGES and size >= 0:
            if view not in ([], [None]):
                raise FileError("has storages that are views of others, which only PyTorch before 0.4 wrote")
            return Storage(key, STORAGES[kind], size)
    raise ValueError("a reference that is no storage")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorView:
    """``torch._utils._rebuild_tensor_v2``; the other arguments concern gradients."""
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor that is not made of a storage, an offset, a shape and strides")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor whose shape and strides do not go together")
    if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
        raise ValueError("a tensor whose shape is not made of numbers")
    return TensorView(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> TensorView:
    """``torch._utils._rebuild_parameter``."""
    if not isinstance(data, TensorView):
        raise ValueError("a parameter that is no tensor")
    return data


def _dict(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    """A dict whose keys are plain: hashing deeply nested tuples would exhaust the stack."""
    items = dict.items(pairs) if isinstance(pairs, dict) else pairs
    result = {}
    for key, value in items:
        if not isinstance(key, (str, bytes, int, type(None))):
            raise ValueError(f"a {type(key).__name__} as the key of a dict")
        result[key] = value
    return result


def _list(items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise ValueError("a set that is made of no list")
    return list(items)


def _opaque(*_: Any) -> Opaque:
    return Opaque()


#: The functions that a pickle may call, and what is called instead.
_CALLS: dict[_Name, Callable[..., Any]] = {
    _Name("torch._utils", "_rebuild_tensor"): _tensor,
    _Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    _Name("torch._utils", "_rebuild_parameter"): _parameter,
    _Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    _Name("torch", "Size"): lambda sizes=(): tuple(_list(sizes)),
    _Name("torch", "device"): _opaque,
    _Name("collections", "OrderedDict"): _dict,
    _Name("collections", "Counter"): _dict,
    _Name("builtins", "set"): _list,
    _Name("__builtin__", "set"): _list,
    _Name("builtins", "frozenset"): _list,
    _Name("__builtin__", "frozenset"): _list,
    _Name("numpy", "dtype"): _opaque,
    _Name("numpy", "ndarray"): _opaque,
    _Name("numpy.core.multiarray", "_reconstruct"): _opaque,
    _Name("numpy._core.multiarray", "_reconstruct"): _opaque,
    _Name("numpy.core.multiarray", "scalar"): _opaque,
    _Name("numpy._core.multiarray", "scalar"): _opaque,
    _Name("_codecs", "encode"): _opaque,
}

#: Opcodes whose argument is the value.
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
#: Opcodes that push a new value.
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARK,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
