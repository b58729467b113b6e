"""A trained network as an ONNX model: its forward pass, run on ops that record operators of ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backends import BackendError
from reference.layers import Context
from reference.networks import Network
from segattn_cli.data.dataset import IGNORE_LABEL
from segattn_cli.data.normalise import IMAGENET_MEAN, IMAGENET_STD
from segattn_cli.errors import UsageError
from segattn_cli.exporting.dimensions import FLOAT, UINT8
from segattn_cli.exporting.graph import Constant, Node, Value, named, ordered
from segattn_cli.exporting.onnx_ops import OnnxOps
from segattn_cli.exporting.traced import Parameter, TracedArray
from segattn_cli.files import write_atomically
from segattn_cli.json_text import json_text
from segattn_cli.machine.versions import versions
from segattn_cli.runs import Model

if TYPE_CHECKING:
    from onnx import ModelProto

#: Before 13, Softmax meant something else; 21 is the newest that onnxruntime 1.20 runs.
OPSETS = range(13, 22)
DEFAULT_OPSET = 17
INPUTS = ("float32", "uint8")


class Port(NamedTuple):
    """An input or an output of the model."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]  # a word is an axis of any length


def onnx_model(
    model: Model, *, opset: int = DEFAULT_OPSET, input: str = "float32", labels: bool = False
) -> ModelProto:
    """``model`` as ONNX, with batch norms folded, for batches and images of any size.

    ==================  ===============================================================================
    ``image``           float32 ``(batch, 3, height, width)``, normalised; as ``uint8`` the image itself,
                        ``(batch, height, width, 3)``
    ``scores``          float32 ``(batch, classes, height, width)``: before any softmax, at the image's size
    ``label``           with ``labels``: uint8 ``(batch, height, width)``, the class with the highest score
    ``scale_weights``   where attention fuses scales: float32 ``(batch, scales, rows, columns)``
    ==================  ===============================================================================

    Values are named after layers. The metadata of the model has what a program needs to use it: see
    :func:`metadata`.

    Raises:
        UsageError: for an opset that is not in :data:`OPSETS`, or an input that is not in :data:`INPUTS`.
        BackendError: where the package onnx is not installed.
    """
    proto = network_proto(model.network, model.params, opset=opset, input=input, labels=labels)
    properties = {key: json_text(value) for key, value in metadata(model, input).items()}
    _onnx().helper.set_model_props(proto, properties)
    return proto


def network_proto(
    network: Network, params: Mapping[str, np.ndarray], *, opset: int = DEFAULT_OPSET, input: str = "float32",
    labels: bool = False,
) -> ModelProto:
    """As :func:`onnx_model`, without metadata, for a network that is in no file."""
    onnx = _onnx()
    if opset not in OPSETS:
        raise UsageError(f"--opset must be from {OPSETS[0]} to {OPSETS[-1]}, got {opset}.")
    if input not in INPUTS:
        raise UsageError(f"--input must be {' or '.join(INPUTS)}, got {input!r}.")
    image, outputs = _trace(network, params, opset, input, labels)
    classes, scales = network.config.classes, len(network.config.scales)
    shapes: dict[str, tuple[str | int, ...]] = {
        "image": ("batch", "height", "width", 3) if input == "uint8" else ("batch", 3, "height", "width"),
        "scores": ("batch", classes, "height", "width"),
        "label": ("batch", "height", "width"),
        "scale_weights": ("batch", scales, "rows", "columns"),
    }
    types = {"image": UINT8 if input == "uint8" else FLOAT, "label": UINT8}

    def port(value: Value) -> Any:
        return onnx.helper.make_tensor_value_info(value.name, types.get(value.name, FLOAT), shapes[value.name])

    nodes, constants = protos(outputs)
    graph = onnx.helper.make_graph(nodes, "segattn", [port(image)], [*map(port, outputs)], constants)
    opsets = [onnx.helper.make_opsetid("", opset)]
    proto = onnx.helper.make_model(
        graph, producer_name="segattn", producer_version=versions(["segattn"])["segattn"], opset_imports=opsets,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
    )  # fmt: skip
    onnx.checker.check_model(proto, full_check=True)
    return proto


def write_onnx(
    model: Model, out: Path, *, opset: int = DEFAULT_OPSET, input: str = "float32", labels: bool = False
) -> tuple[list[Port], list[Port]]:
    """Write :func:`onnx_model` to ``out``; returns the inputs and the outputs.

    Raises :class:`OutputError`, and leaves what was at ``out``, where it cannot be written.
    """
    proto = onnx_model(model, opset=opset, input=input, labels=labels)
    write_atomically(out, proto.SerializeToString())
    return [*map(_port, proto.graph.input)], [*map(_port, proto.graph.output)]


def metadata(model: Model, input: str = "float32") -> dict[str, Any]:
    """What a program needs to use the model; each value becomes a JSON string of its ``metadata_props``."""
    config = model.config
    return {
        "input": "RGB, 0 to 255" if input == "uint8" else "RGB in 0 to 1, minus mean, over std",
        "mean": IMAGENET_MEAN.astype(float).round(3).tolist(),
        "std": IMAGENET_STD.astype(float).round(3).tolist(),
        "size": config.prediction_size,  # to which `segattn infer` resizes an image first
        "smallest_size": smallest_size(config.network.scales),
        "classes": list(model.classes),
        "palette": model.palette.tolist(),
        "ignore_label": IGNORE_LABEL,
        "network": config.network.parts(),
    }


def smallest_size(scales: Sequence[float]) -> int:
    """The least height and width of which every scale leaves a pixel.

    >>> smallest_size([1.0, 0.5]), smallest_size([1.0])
    (2, 1)
    """
    return next(n for n in count(1) if all(round(n * scale) >= 1 for scale in scales))


def _trace(
    network: Network, params: Mapping[str, np.ndarray], opset: int, input: str, labels: bool
) -> tuple[Value, list[Value]]:
    """Run the network on an image without values: the input and the outputs of the graph."""
    image = Value("image")
    pixels = _normalised(image) if input == "uint8" else image  # (B, 3, H, W)
    images = TracedArray(pixels, 4, 3, at_least=smallest_size(network.config.scales))
    ops = OnnxOps(opset)
    traced = {name: Parameter(name, array) for name, array in network.fold(params).items()}
    maps, weights = network.predict_with_weights(images, Context(ops, traced, observe=_name))
    scores, _ = ops.resize_bilinear(maps, images.shape[1:3], align_corners=network.config.align_corners)

    outputs = {"scores": scores.value}
    if labels:
        best = Node("ArgMax", scores.value, axis=1, keepdims=0)  # the first of equals, as in NumPy
        outputs["label"] = Node("Cast", best, to=UINT8)
    if weights is not None:
        outputs["scale_weights"] = weights.value
    for name, value in outputs.items():
        value.name = name
    return image, [*outputs.values()]


def _normalised(image: Value) -> Value:
    """:func:`segattn_cli.data.normalise.normalise` in the graph: ``(B, H, W, 3) → (B, 3, H, W)``."""
    floats = Node("Cast", image, to=FLOAT)
    scaled = Node("Mul", floats, Constant(1 / (255 * IMAGENET_STD)))
    normalised = Node("Transpose", Node("Sub", scaled, Constant(IMAGENET_MEAN / IMAGENET_STD)), perm=[0, 3, 1, 2])
    normalised.name = "normalised"
    return normalised


def _name(name: str, array: TracedArray) -> None:
    """Name the output of a layer after the layer."""
    array.value.name = name.replace(" ", "_")


def protos(outputs: Sequence[Value]) -> tuple[list[Any], list[Any]]:
    """The operators and the constants behind ``outputs``, as ``NodeProto`` and ``TensorProto``."""
    onnx = _onnx()
    values = ordered(outputs)
    names = named(values)
    nodes, constants = [], []
    for value in values:
        name = names[value]
        if isinstance(value, Node):
            inputs = ["" if each is None else names[each] for each in value.inputs]
            nodes.append(onnx.helper.make_node(value.kind, inputs, [name], name, **value.attributes))
        elif isinstance(value, Constant):
            constants.append(onnx.numpy_helper.from_array(value.array, name))
    return nodes, constants


def _port(info: Any) -> Port:
    tensor = info.type.tensor_type
    dtype = _onnx().helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return Port(info.name, dtype, tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim))


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise BackendError("ONNX needs the package onnx: install it with pip install 'segattn[onnx]'.") from error
    return onnx
