"""Reading files of weights: safetensors, ``.npz`` and what ``torch.save`` wrote."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segattn_cli.errors import CheckpointError
from segattn_cli.files import is_no_file
from segattn_cli.npz import DAMAGE, NpzError, npz_arrays
from segattn_cli.runs.checkpoint import has_endless_header
from segattn_cli.weights.tensors import FileError, Tensor, errors_of, stored_dtype
from segattn_cli.weights.torch_save import read_legacy, read_zip

#: Keys under which training scripts save the state dict of their network.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module")
#: Largest size of an unpacked .npz file, as a multiple of its own: weights hardly compress.
EXPANSION = 20
LONGEST_NAME = 200  # letters


@dataclass(frozen=True)
class WeightsFile:
    """The content of a file of weights.

    Args:
        kind: ``safetensors``, ``npz``, ``PyTorch`` or ``PyTorch (before 1.6)``.
        wrapper: the keys under which the tensors are, such as ``state_dict``; empty where they are at the top.
        extra: other entries: plain data of a PyTorch file, the metadata of a safetensors file.
    """

    path: Path
    kind: str
    tensors: dict[str, Tensor]
    wrapper: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(tensor.values.nbytes for tensor in self.tensors.values())


def read_weights(path: Path | str) -> WeightsFile:
    """Read ``.safetensors``, ``.npz`` or what ``torch.save`` wrote; the content decides, not the file's name.

    Nothing in a file is executed, and the memory that it takes is bounded by its size. Raises
    :class:`CheckpointError` for a file that is missing, damaged, malicious or of another kind.
    """
    path = Path(path)
    if is_no_file(path):
        raise CheckpointError(f"{path} is a folder, a pipe or a device: give a file of weights.")
    with errors_of(path):
        try:
            file = _read(path)
        except FileNotFoundError:
            raise CheckpointError(f"There is no file {path}.") from None
        except (OSError, *DAMAGE) as error:
            raise FileError(f"is damaged, or cannot be read: {str(error)[:200] or 'it ends early'}") from None
        if not file.tensors:
            raise FileError("holds no tensors")
        for name in file.tensors:
            if not name.isprintable() or len(name) > LONGEST_NAME:
                raise FileError(f"has a tensor with a name that no layer has: {name[:60]}")
    return file


def _read(path: Path) -> WeightsFile:
    with open(path, "rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":  # tested first: the length of safetensors' header may begin with any byte
        return _safetensors(path)
    if head[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            is_npz = all(name.endswith(".npy") for name in archive.namelist())
        return _npz(path) if is_npz else _state_dict(path, "PyTorch", read_zip(path))
    if head[:1] == b"\x80":
        return _state_dict(path, "PyTorch (before 1.6)", read_legacy(path))
    if head == b"":
        raise FileError("is empty")
    raise FileError("is neither safetensors, nor .npz, nor what torch.save writes")


def _safetensors(path: Path) -> WeightsFile:
    from safetensors import SafetensorError, deserialize, safe_open

    if has_endless_header(path):
        raise FileError("describes more tensors than a network has")
    try:
        with safe_open(path, framework="numpy") as file:
            extra = file.metadata() or {}
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise FileError(f"is a damaged safetensors file ({str(error)[:200]})") from None
    tensors = {name: _tensor(name, entry) for name, entry in sorted(entries)}
    return WeightsFile(path, "safetensors", tensors, extra=extra)


#: safetensors' names of dtypes, and ours.
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def _tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise FileError(f"holds {name} as {entry['dtype']}, a dtype that weights for training do not have")
    return Tensor(np.frombuffer(entry["data"], stored_dtype(dtype)).reshape(entry["shape"]), dtype)


def _npz(path: Path) -> WeightsFile:
    try:
        arrays = npz_arrays(path, kinds="fiub", largest=EXPANSION * path.stat().st_size)
    except NpzError as error:
        raise FileError(str(error)) from None
    return WeightsFile(path, "npz", {name: Tensor(values, values.dtype.name) for name, values in arrays.items()})


def _state_dict(path: Path, kind: str, content: Any) -> WeightsFile:
    """The dict of tensors in ``content``, under up to three wrappers."""
    wrapper: list[str] = []
    extra: dict[str, Any] = {}
    while isinstance(content, dict) and len(wrapper) < 3:
        inside = next((key for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inside is None:
            break
        extra |= {str(key): value for key, value in content.items() if key != inside}
        wrapper.append(inside)
        content = content[inside]
    tensors = {}
    if isinstance(content, dict):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(repr(key)[:40] for key in list(content)[:5]) if isinstance(content, dict) else "no dict"
        raise FileError(f"holds no tensors by name ({keys}): save the model's state_dict() with torch.save")
    return WeightsFile(path, kind, tensors, ".".join(wrapper), extra)
