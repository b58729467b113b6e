"""Inference of a network by ONNX Runtime and by OpenVINO, from the file that ``segattn export`` writes for it.

Both compile the model for the machine: they fold constants, fuse what follows a convolution into it, and store
weights in the order in which they are read. They can do more for images whose size they know, so each is tried in
two ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from backends.numpy.threads import thread_count

#: A run of a compiled model: ``(B, 3, H, W)`` → scores ``(B, K, H, W)``.
Run = Callable[[np.ndarray], np.ndarray]


class RuntimeNetwork:
    """An exported network on given images, an inference as often as wanted."""

    def __init__(self, run: Run, images: np.ndarray) -> None:
        self.run = run
        self.images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # (B, 3, H, W)
        self.passes = {"infer": self.infer}
        self.scores: np.ndarray | None = None

    def infer(self) -> None:
        self.scores = None
        self.scores = self.run(self.images)

    def results(self) -> dict[str, np.ndarray]:
        """The scores of the last call, in the project's order of axes."""
        return {} if self.scores is None else {"scores": self.scores.transpose(0, 2, 3, 1)}


def runtime_variants(
    runtime: str, file: Callable[[], bytes], images: Callable[[], np.ndarray]
) -> Iterator[tuple[str, Callable[[], RuntimeNetwork]]]:
    """The model in ``file``, run by one of :data:`RUNTIMES` that compiles it for images of this size, or of any."""

    def build(fixed: bool) -> RuntimeNetwork:
        batch = images()
        shape = (batch.shape[0], 3, *batch.shape[1:3]) if fixed else None
        return RuntimeNetwork(RUNTIMES[runtime](file(), shape), batch)

    yield "fixed size", partial(build, True)
    yield "any size", partial(build, False)


def _onnxruntime(file: bytes, shape: tuple[int, ...] | None) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors
    if shape is not None:
        for name, length in zip(("batch", "height", "width"), (shape[0], *shape[2:]), strict=True):
            options.add_free_dimension_override_by_name(name, length)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        (scores,) = session.run(["scores"], {"image": images})
        return scores

    return run


def _openvino(file: bytes, shape: tuple[int, ...] | None) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    if shape is not None:
        model.reshape(shape)
    request = core.compile_model(
        model, "CPU",
        {
            "INFERENCE_NUM_THREADS": thread_count(), "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # not bfloat16, which it takes by itself where a CPU has it
        },
    ).create_infer_request()  # fmt: skip

    def run(images: np.ndarray) -> np.ndarray:
        return request.infer({"image": images}, share_inputs=True)["scores"]

    return run


#: By name: from a file and a shape, or None for any, to a run.
RUNTIMES: dict[str, Callable[[bytes, tuple[int, ...] | None], Run]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
