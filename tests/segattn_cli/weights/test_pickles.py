"""The reader of pickles: plain data come through, everything else is refused by name, and nothing ever runs."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segattn_cli.weights.pickles import Storage, TensorView, read_pickle
from segattn_cli.weights.tensors import FileError


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data))


def program(*opcodes: bytes) -> bytes:
    return b"\x80\x02" + b"".join(opcodes) + b"."


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(plain, st.integers(2, 5))
@settings(deadline=None, max_examples=200)
def test_plain_data_come_back(value: Any, protocol: int) -> None:
    if protocol < 3 and _has_bytes(value):
        return  # bytes of protocol 2 are a call of _codecs.encode, which comes back as something opaque
    assert read(pickle.dumps(value, protocol)) == value


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(_has_bytes, value)))


def test_tuples_sets_and_ordered_dicts_come_back_as_plain_data() -> None:
    value = [(1, 2), {3}, frozenset([4]), collections.OrderedDict(a=5), collections.Counter("aab")]
    for protocol in (2, 3, 4, 5):
        assert read(pickle.dumps(value, protocol)) == [(1, 2), [3], [4], {"a": 5}, {"a": 2, "b": 1}]


class Calls:
    """An object whose pickle calls ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {}",), "system"),
        (eval, ("__import__('os').mkdir('{}')",), "eval"),
        (exec, ("open('{}', 'w')",), "exec"),
        (getattr, (os, "system"), "getattr"),
        (__import__, ("os",), "__import__"),
        (open, ("{}", "w"), "open"),
        (bytearray, (10**9,), "bytearray"),
        (pickle.loads, (b"cos\nsystem\n(S'true'\ntR.",), "loads"),
    ],
)
def test_calls_are_refused_by_name_and_not_made(
    protocol: int, function: Any, arguments: tuple, name: str, tmp_path: Any
) -> None:
    victim = tmp_path / "victim"
    filled = tuple(each.format(victim) if isinstance(each, str) else each for each in arguments if each is not os)
    data = pickle.dumps({"state_dict": Calls(function, *filled)}, protocol)
    with pytest.raises(FileError, match=name):
        read(data)
    assert not victim.exists()


def test_a_chain_of_getattr_is_refused() -> None:
    module = b"cbuiltins\n__import__\n(X\x02\x00\x00\x00ostR"
    chain = b"cbuiltins\ngetattr\n(" + module + b"X\x06\x00\x00\x00systemtR(X\x04\x00\x00\x00truetR"
    with pytest.raises(FileError, match=r"builtins\.getattr"):
        read(program(chain))


@pytest.mark.parametrize(
    "data",
    [
        program(b"cos\nsystem\n", b"N", b"b"),  # BUILD on a name
        program(b"X\x02\x00\x00\x00os", b"X\x06\x00\x00\x00system", b"\x93"),  # STACK_GLOBAL
        program(b"(icollections\nabc\n"),  # INST
        program(b"(ccollections\nOrderedDict\no"),  # OBJ
        program(b"ccollections\nOrderedDict\n", b")", b"\x81"),  # NEWOBJ
        program(b"\x82\x01"),  # EXT1
        b"cnumpy\nload\n.",
        b"ctorch\nload\n.",
        b"ctorch.storage\n_load_from_bytes\n.",
        b"ctorchvision.models.resnet\nResNet\n.",
    ],
)
def test_other_ways_to_code_are_refused(data: bytes) -> None:
    with pytest.raises(FileError, match=r"no plain data|which plain data do not need"):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80\x02", b".", program(b"0"), program(b"N0"), program(b"("), program(b"(0"), program(b"t"),
        program(b"N", b"u"), program(b"}", b"(N", b"u"), program(b"](K\x01u"), program(b"h\x05"),
        program(b"ctorch\nFloatStorage\n", b")", b"R"),  # a storage class is no function
        program(b"ctorch\nSize\n", b"K\x03", b"R"),  # arguments that are no tuple
        program(b"ccollections\nOrderedDict\n", b"K\x03\x85", b"R"),
        program(b"ctorch._utils\n_rebuild_tensor_v2\n", b"(K\x00K\x00))\x89Nt", b"R"),
        program(
            b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n", b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu",
            b"J\xff\xff\xff\xfft", b"Q",
        ),
        program(b"X\x07\x00\x00\x00storage", b"Q"),
        program(b"\x8a\xff" + b"1"),  # a LONG1 that ends early
        program(b"\x8d" + struct.pack("<Q", 2**62) + b"abc"),  # a string that claims exabytes
        program(b"}", b"]", b"N", b"s"),  # a list as a key
        program(b"}", b"N" + b"\x85" * 100_000, b"N", b"s"),  # a key whose hash would not come back
    ],
)  # fmt: skip
def test_damaged_pickles_are_one_sentence(data: bytes) -> None:
    with pytest.raises(FileError):
        read(data)


def test_what_is_written_once_is_not_copied_a_million_times() -> None:
    """A list of n pairs, made a dict n times over, would take n² of memory."""
    pairs = b"](" + b"](NNeq\x01" + b"h\x01" * 5000 + b"eq\x02"
    bomb = program(pairs, b"(" + b"ccollections\nOrderedDict\nh\x02\x85R" * 5000 + b"l")
    with pytest.raises(FileError, match="more copies than content"):
        read(bomb)


def test_deep_nesting_is_read() -> None:
    deep = read(program(b"N" + b"\x85" * 100_000))
    for _ in range(100_000):
        (deep,) = deep
    assert deep is None


def test_a_tensor_is_a_view_of_a_storage() -> None:
    storage = b"(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x0ctQ"
    numbers = b"K\x02K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)R"
    view = read(program(b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, numbers, b"tR"))
    assert isinstance(view, TensorView)
    assert (view.offset, view.shape, view.strides) == (2, (2, 3), (3, 1))
    assert isinstance(view.storage, Storage)
    assert (view.storage.key, view.storage.dtype, view.storage.size) == ("7", "float16", 12)


def test_every_opcode_is_known_or_refused() -> None:
    for opcode in pickletools.opcodes:
        data = b"\x80\x05" + opcode.code.encode("latin-1") + b"\x00" * 16 + b"\n\n."
        with suppress(FileError):
            read(data)
