"""The calls of cuDNN's frontend, without it and without a GPU: by public names, which all of its versions have."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends


class Tensor:
    """A tensor of a graph; each of its settings returns it."""

    def __init__(self, **described: Any) -> None:
        self.described = described

    def set_output(self, value: bool) -> Tensor:
        return self._set(output=value)

    def set_uid(self, value: int) -> Tensor:
        return self._set(uid=value)

    def set_dim(self, value: list[int]) -> Tensor:
        return self._set(dim=value)

    def set_stride(self, value: list[int]) -> Tensor:
        return self._set(stride=value)

    def set_data_type(self, value: Any) -> Tensor:
        return self._set(data_type=value)

    def _set(self, **values: Any) -> Tensor:
        self.described |= values
        return self


class Graph:
    """A graph with four algorithms, of which the first cannot be built and the second is slow."""

    MILLISECONDS = (0.0, 9.0, 1.1, 1.0)

    def __init__(self, **types: Any) -> None:
        self.types, self.executed, self.built = types, [], []
        made.append(self)

    def tensor(self, *, dim: list[int], stride: list[int], data_type: Any, uid: int) -> Tensor:
        return Tensor(dim=dim, stride=stride, data_type=data_type, uid=uid)

    def conv_fprop(self, *, image: Tensor, weight: Tensor, **window: Any) -> Tensor:
        return self._convolution(image, weight, window)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, **window: Any) -> Tensor:
        return self._convolution(loss, filter, window)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, **window: Any) -> Tensor:
        return self._convolution(image, loss, window)

    def _convolution(self, first: Tensor, second: Tensor, window: Any) -> Tensor:
        self.inputs, self.window, self.result = (first, second), window, Tensor()
        return self.result

    def validate(self) -> None: ...
    def build_operation_graph(self) -> None: ...
    def create_execution_plans(self, modes: list[str]) -> None: ...
    def check_support(self) -> None: ...

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.notes = notes

    def deselect_workspace_greater_than(self, size: int) -> None:
        self.most = size

    def get_execution_plan_count(self) -> int:
        return len(self.MILLISECONDS)

    def build_plan_at_index(self, index: int) -> None:
        if index == 0:
            raise RuntimeError("no kernel")
        self.built.append(index)

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return 1000 * index

    def execute_plan_at_index(self, tensors: dict[int, int], workspace: int, index: int, handle: str) -> None:
        clock[0] += self.MILLISECONDS[index]
        self.executed.append((tensors, workspace, index, handle))


class Event:
    def record(self) -> None:
        self.at = clock[0]

    def synchronize(self) -> None: ...


made: list[Graph] = []
clock = [0.0]


class Array:
    """An array at an address."""

    dtype = np.dtype(np.float16)

    def __init__(self, address: int, *shape: int) -> None:
        self.data, self.shape = types.SimpleNamespace(ptr=address), shape


@pytest.fixture
def cudnn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with a frontend and a CuPy that have what it uses, and nothing else."""
    made.clear()
    frontend = types.SimpleNamespace(
        backend_version=lambda: 91900, pygraph=Graph, create_handle=lambda: "handle",
        set_stream=lambda *, handle, stream: None,
        data_type=types.SimpleNamespace(FLOAT="float", HALF="half", BFLOAT16="bfloat16"),
        heur_mode=types.SimpleNamespace(A="a", FALLBACK="fallback"),
        numerical_note=types.SimpleNamespace(NONDETERMINISTIC="nondeterministic"),
    )  # fmt: skip
    cuda = types.SimpleNamespace(
        get_device_id=lambda: 0, alloc=lambda size: types.SimpleNamespace(ptr=size), Event=Event,
        get_elapsed_time=lambda begin, end: end.at - begin.at,
        get_current_stream=lambda: types.SimpleNamespace(ptr=0),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cudnn", frontend)
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda, ndarray=Array))
    file = Path(backends.__file__).parent / "cupy" / "cudnn.py"
    spec = importlib.util.spec_from_file_location("backends.cupy.cudnn", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_convolution_is_planned_once_and_executed_by_its_number(cudnn: Any):
    x, weight, y = Array(0x100, 2, 16, 12, 8), Array(0x200, 24, 3, 3, 8), Array(0x300, 2, 8, 6, 24)
    assert cudnn.version() == "9.19"
    assert cudnn.convolve(x, weight, y, 2, 1, 1) is y
    (graph,) = made
    assert graph.built == [1, 2, 3]
    assert graph.notes == ["nondeterministic"]
    assert graph.window == {"stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}
    image, packed = (tensor.described for tensor in graph.inputs)
    assert (image["dim"], image["stride"], image["uid"]) == ([2, 8, 16, 12], [1536, 1, 96, 8], 1)
    assert (packed["dim"], packed["stride"], packed["uid"]) == ([24, 8, 3, 3], [72, 1, 24, 8], 2)
    assert graph.result.described == {
        "output": True, "uid": 3, "dim": [2, 24, 8, 6], "stride": [1152, 1, 144, 24], "data_type": "half",
    }  # fmt: skip
    # The second of those that can be built is hardly slower than the third, the first of them is.
    assert graph.executed[-1] == ({1: 0x100, 2: 0x200, 3: 0x300}, 2000, 2, "handle")
    timed = len(graph.executed)
    cudnn.convolve(x, weight, Array(0x400, 2, 8, 6, 24), 2, 1, 1)
    assert len(made) == 1
    assert graph.executed[timed:] == [({1: 0x100, 2: 0x200, 3: 0x400}, 2000, 2, "handle")]


@pytest.mark.parametrize("fault", ["check_support", "build_plan_at_index"])
def test_where_it_has_no_algorithm_it_says_so_once(
    cudnn: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
):
    def refuse(*_: Any) -> None:
        raise RuntimeError("not supported\nmore")

    monkeypatch.setattr(Graph, fault, refuse)
    x, weight, y = Array(0x100, 1, 9, 9, 8), Array(0x200, 16, 3, 3, 8), Array(0x300, 1, 9, 9, 16)
    for _ in range(2):
        assert cudnn.convolve(x, weight, y, 1, 1, 1) is None
    assert cudnn.weight_gradient(x, y, weight, 1, 1, 1) is None
    reason = "not supported" if fault == "check_support" else "it has no algorithm"
    assert caplog.messages == [
        f"cuDNN cannot compute a convolution ({reason}), so matrix products do, which may take longer."
    ]
    assert len(made) == 2


def test_want_of_memory_is_not_want_of_an_algorithm(cudnn: Any, monkeypatch: pytest.MonkeyPatch):
    def exhaust(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Graph, "execute_plan_at_index", exhaust)
    with pytest.raises(MemoryError):
        cudnn.convolve(Array(0x100, 1, 9, 9, 8), Array(0x200, 16, 3, 3, 8), Array(0x300, 1, 9, 9, 16), 1, 1, 1)
    assert not cudnn._plans


def test_both_gradients_are_convolutions_of_their_own(cudnn: Any):
    x, weight, dy = Array(0x100, 1, 9, 9, 8), Array(0x200, 16, 3, 3, 8), Array(0x300, 1, 9, 9, 16)
    cudnn.input_gradient(dy, weight, x, 1, 1, 1)
    cudnn.weight_gradient(x, dy, weight, 1, 1, 1)
    assert [graph.executed[-1][0] for graph in made] == [
        {1: 0x300, 2: 0x200, 3: 0x100}, {1: 0x100, 2: 0x300, 3: 0x200},
    ]  # fmt: skip
