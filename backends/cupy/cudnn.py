"""Convolution by cuDNN, through its frontend (the extra ``cudnn``): the choice of an algorithm, and its calls.

A graph is built once for each shape. Of the deterministic algorithms, the first by cuDNN's heuristic is used,
unless it turns out to be slow: see :func:`_choose`. Where cuDNN has none, the functions return None. Maps are
``(B, H, W, C)``, weights are packed as ``(Co, kh, kw, Ci)``.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Literal, NamedTuple

import cupy

Kind = Literal["convolve", "input gradient", "weight gradient"]

#: The largest workspace of an algorithm.
WORKSPACE_BYTES = 256 * 2**20
_CANDIDATES = 4  # algorithms that are timed
_MUCH_SLOWER = 1.25  # than the fastest of them: the heuristic's choice is not used then
_ROUNDS = 3


@cache
def version() -> str | None:
    """The version of cuDNN, such as ``"9.19"``; None if cuDNN or its frontend is not installed."""
    try:
        import cudnn

        number = cudnn.backend_version()
    except Exception:  # of many types: no package, no library, an incompatible library
        return None
    return f"{number // 10000}.{number // 100 % 100}"


def convolve(
    x: cupy.ndarray, weight: cupy.ndarray, y: cupy.ndarray, stride: int, padding: int, dilation: int
) -> cupy.ndarray | None:
    """``y (B, H', W', Co)`` from ``x (B, H, W, Ci)`` and ``weight (Co, kh, kw, Ci)``."""
    return _run("convolve", x, weight, y, stride, padding, dilation)


def input_gradient(
    dy: cupy.ndarray, weight: cupy.ndarray, dx: cupy.ndarray, stride: int, padding: int, dilation: int
) -> cupy.ndarray | None:
    """``dx (B, H, W, Ci)`` from ``dy (B, H', W', Co)`` and ``weight (Co, kh, kw, Ci)``."""
    return _run("input gradient", dy, weight, dx, stride, padding, dilation)


def weight_gradient(
    x: cupy.ndarray, dy: cupy.ndarray, dweight: cupy.ndarray, stride: int, padding: int, dilation: int
) -> cupy.ndarray | None:
    """``dweight (Co, kh, kw, Ci)`` from ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``."""
    return _run("weight gradient", x, dy, dweight, stride, padding, dilation)


class _Plan(NamedTuple):
    """A graph of one convolution, ready to run."""

    graph: Any
    number: int  # of the algorithm among those of the graph
    workspace: int  # bytes


_plans: dict[tuple[Any, ...], _Plan | None] = {}
_FIRST, _SECOND, _OUT = 1, 2, 3  # the tensors of a graph


def _run(
    kind: Kind, first: cupy.ndarray, second: cupy.ndarray, out: cupy.ndarray, stride: int, padding: int,
    dilation: int,
) -> cupy.ndarray | None:
    shapes = first.shape, second.shape, out.shape
    key = (kind, first.dtype, shapes, stride, padding, dilation, cupy.cuda.get_device_id())
    pointers = {_FIRST: first.data.ptr, _SECOND: second.data.ptr, _OUT: out.data.ptr}
    if key not in _plans:
        geometry = {"stride": stride, "padding": padding, "dilation": dilation}
        try:
            _plans[key] = _choose(_build(kind, first, second, out, geometry), pointers)
        except MemoryError:
            raise
        except Exception as error:  # of several types: a shape, a GPU or a version that it does not support
            _report(str(error).partition("\n")[0])
            _plans[key] = None
    plan = _plans[key]
    if plan is None:
        return None
    _execute(plan, pointers)
    return out


@cache
def _report(reason: str) -> None:
    """Say why cuDNN does not compute, once for each reason."""
    logging.getLogger(__name__).warning(
        "cuDNN cannot compute a convolution (%s), so matrix products do, which may take longer.", reason
    )


def _execute(plan: _Plan, pointers: dict[int, int]) -> None:
    workspace = cupy.cuda.alloc(plan.workspace)
    plan.graph.execute_plan_at_index(pointers, workspace.ptr, plan.number, _handle())


def _build(
    kind: Kind, first: cupy.ndarray, second: cupy.ndarray, out: cupy.ndarray, geometry: dict[str, int]
) -> Any:
    """The graph of one convolution, with all its algorithms that are deterministic and fit into the workspace."""
    import cudnn

    data_type = {
        "float32": cudnn.data_type.FLOAT, "float16": cudnn.data_type.HALF, "bfloat16": cudnn.data_type.BFLOAT16
    }[first.dtype.name]  # fmt: skip
    graph = cudnn.pygraph(
        io_data_type=data_type, intermediate_data_type=cudnn.data_type.FLOAT,
        compute_data_type=cudnn.data_type.FLOAT, handle=_handle(),
    )  # fmt: skip
    a, b = (
        graph.tensor(dim=_dim(array), stride=_stride(array), data_type=data_type, uid=uid)
        for array, uid in ((first, _FIRST), (second, _SECOND))
    )
    window = {name: [value, value] for name, value in geometry.items()}
    if kind == "convolve":
        result = graph.conv_fprop(image=a, weight=b, **window)
    elif kind == "input gradient":
        result = graph.conv_dgrad(loss=a, filter=b, **window)
    else:
        result = graph.conv_wgrad(image=a, loss=b, **window)
    result.set_output(True).set_uid(_OUT).set_dim(_dim(out)).set_stride(_stride(out)).set_data_type(data_type)

    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.deselect_numeric_notes([cudnn.numerical_note.NONDETERMINISTIC])
    graph.deselect_workspace_greater_than(WORKSPACE_BYTES)
    graph.check_support()
    return graph


def _choose(graph: Any, pointers: dict[int, int]) -> _Plan:
    """The first algorithm by the heuristic that is not much slower than the fastest.

    The rule is lenient so that each run chooses the same one: sums in another order differ in their last bits.
    """
    plans = []
    for index in range(graph.get_execution_plan_count()):
        try:
            graph.build_plan_at_index(index)
            plans.append(_Plan(graph, index, graph.get_workspace_size_plan_at_index(index)))
        except Exception:  # cuDNN offers some algorithms that it cannot build
            continue
        if len(plans) == _CANDIDATES:
            break
    if not plans:
        raise RuntimeError("it has no algorithm")
    times = [_milliseconds(plan, pointers) for plan in plans]
    return next(plan for plan, time in zip(plans, times, strict=True) if time <= _MUCH_SLOWER * min(times))


def _milliseconds(plan: _Plan, pointers: dict[int, int]) -> float:
    """The shortest of some runs, after a warm-up."""
    times = []
    for _ in range(1 + _ROUNDS):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        _execute(plan, pointers)
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end))
    return min(times[1:])


def _handle() -> Any:
    return _handle_of(cupy.cuda.get_device_id())


@cache
def _handle_of(device: int) -> Any:
    """cuDNN's handle of a device, on the current stream, which is CuPy's default."""
    import cudnn

    handle = cudnn.create_handle()
    cudnn.set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
    return handle


def _dim(array: cupy.ndarray) -> list[int]:
    """The shape in cuDNN's order: channels second."""
    batch, height, width, channels = array.shape
    return [batch, channels, height, width]


def _stride(array: cupy.ndarray) -> list[int]:
    _, height, width, channels = array.shape
    return [height * width * channels, 1, width * channels, channels]
