"""Write the golden files: what ``torch.save`` makes of small contents, to test the reader without PyTorch.

Run it from the root of the repository, with PyTorch installed, when a content below changes:

    .venv/bin/python tests/segattn_cli/weights/make_golden.py

Each content gives three files in ``golden/``: ``NAME.zip.pt`` as PyTorch writes it since 1.6, ``NAME.legacy.pt``
as it did before, and ``NAME.npz`` with what should be found: every tensor and number under its path (its keys, with
"/" in between), and in ``dtypes`` the rows (path, dtype) of the tensors. A bfloat16 is there as the float32 of the
same value.

The ``.zip.pt`` and ``.npz`` are the same in every run. In the ``.legacy.pt`` PyTorch names its storages by their
addresses and sorts them by these names: names and order change from run to run, and nothing else.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).with_name("golden")
#: What rounds differently in each dtype, the largest float16 and one of its smallest, and what is no number.
NUMBERS = [0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 65504.0, 6e-8, 1e-5, float("inf"), float("-inf"), float("nan")]


def dtypes() -> dict[str, Tensor]:
    """One tensor of each dtype, and such as have no dimensions, no elements, or five dimensions."""
    numbers = torch.tensor(NUMBERS, dtype=torch.float64)
    return {
        "float64": numbers,
        "float32": numbers.float(),
        "float16": numbers.half(),
        "bfloat16": numbers.bfloat16(),
        "int64": torch.tensor([0, -1, 2**62, -(2**63)]),
        "int32": torch.tensor([0, -1, 2**31 - 1], dtype=torch.int32),
        "int16": torch.tensor([0, -1, 2**15 - 1], dtype=torch.int16),
        "int8": torch.tensor([0, -1, 127], dtype=torch.int8),
        "uint8": torch.tensor([0, 1, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "zero_dimensional": torch.tensor(0.25),
        "zero_dimensional_int64": torch.tensor(40000),
        "empty": torch.zeros(0, 3),
        "five_dimensional": torch.arange(32.0).view(2, 1, 4, 1, 4),
    }


def views() -> dict[str, Tensor]:
    """Tensors that share a storage, start in the middle of it, or skip through it."""
    storage = torch.arange(24.0)
    matrix = storage.view(4, 6)
    images = torch.arange(120.0).view(2, 3, 4, 5)
    shared = torch.arange(24, 64, dtype=torch.int64)
    return {
        "first": storage[:8],
        "last": storage[20:],
        "transposed": matrix.T,
        "block": matrix[1:3, 2:5],
        "every_other_column": matrix[:, ::2],
        "channels_last": images.to(memory_format=torch.channels_last),
        "permuted": images.permute(2, 3, 1, 0),
        "element": shared[3],
        "tied": shared,
        "tied_again": shared,
    }


def network() -> nn.Module:
    """A convolution, BN and a classifier with a transposed weight; its state dict has ``_metadata``."""
    numbers = torch.Generator().manual_seed(16)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        for name, value in layers.state_dict().items():
            if value.dtype == torch.int64:
                value.fill_(7)
            else:
                positive = name.endswith("running_var")
                value.copy_(torch.rand(value.shape, generator=numbers) + 0.5 * positive - 0.5 * (not positive))
        layers[3].weight.data = layers[3].weight.data.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    return layers


def checkpoint() -> dict[str, Any]:
    """As PyTorch-Encoding and the DANet authors wrap it: with momenta, and a score that is a scalar of NumPy."""
    layers = network()
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.003, momentum=0.9, weight_decay=1e-4)
    for parameter in layers.parameters():
        parameter.grad = parameter.detach() / 8
    state = OrderedDict((name, value.clone()) for name, value in layers.state_dict().items())
    optimizer.step()
    return {"epoch": 240, "state_dict": state, "optimizer": optimizer.state_dict(), "best_pred": np.float64(0.8665)}


def mmcv() -> dict[str, Any]:
    """As mmsegmentation's model zoo wraps it; the palette is an array of NumPy for users' own classes."""
    meta = {
        "mmseg_version": "0.5.0+b57fb2b",
        "config": "model = dict(type='EncoderDecoder')\n",
        "CLASSES": ("road", "sky"),
        "PALETTE": [[128, 64, 128], [70, 130, 180]],
        "iter": 40000,
        "time": "Tue Jun  9 00:00:00 2020",
    }
    return {"meta": meta, "state_dict": network().state_dict()}


def mmcv_array() -> dict[str, Any]:
    content = mmcv()
    return {**content, "meta": {**content["meta"], "PALETTE": np.array(content["meta"]["PALETTE"])}}


def mmengine() -> dict[str, Any]:
    """As mmsegmentation wraps it since 1.0, with the histories of the log: objects of a class of mmengine."""

    def history(values: list[float]) -> Any:
        made = sys.modules["mmengine.logging.history_buffer"].HistoryBuffer()
        made.max_length, made._log_history, made._count_history = 1000000, np.array(values), np.ones(len(values))
        return made

    return {
        "meta": {
            "epoch": 0,
            "iter": 40000,
            "cfg": "model = dict(type='EncoderDecoder')\n",
            "seed": 1,
            "experiment_name": "danet_20230101_000000",
            "time": "20230101_000000",
            "mmengine_version": "0.10.7",
            "dataset_meta": {
                "classes": ("road", "sky"),
                "palette": [[128, 64, 128], [70, 130, 180]],
                "label_map": None,
                "reduce_zero_label": False,
            },
        },
        "state_dict": network().state_dict(),
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": history([2.5, 1.25])}),
            "runtime_info": OrderedDict(iter=39999, max_iters=40000),
            "resumed_keys": OrderedDict({"train/loss": True}),
        },
        "param_schedulers": [{"power": 0.9, "eta_min": 1e-4, "last_step": 40000, "_global_step": 40001}],
    }


def data_parallel() -> OrderedDict[str, Tensor]:
    """``module.`` in front of each name, as DataParallel leaves it."""
    return OrderedDict((f"module.{name}", value) for name, value in network().state_dict().items())


def parameters() -> dict[str, nn.Parameter]:
    """``nn.Parameter`` instead of tensors, and one with an attribute of its own."""
    tagged = nn.Parameter(torch.tensor([1.0, -2.0]))
    tagged.tag = "gate"
    return {
        "weight": nn.Parameter(torch.arange(6.0).view(2, 3)),
        "half": nn.Parameter(torch.tensor([0.5, 1.5], dtype=torch.float16), requires_grad=False),
        "tagged": tagged,
    }


CONTENTS = {
    "dtypes": dtypes,
    "views": views,
    "state_dict": lambda: network().state_dict(),
    "checkpoint": checkpoint,
    "mmcv": mmcv,
    "mmcv_array": mmcv_array,
    "mmengine": mmengine,
    "data_parallel": data_parallel,
    "parameters": parameters,
}


@contextmanager
def imitated_mmengine() -> Iterator[None]:
    """A class of the name that mmengine's log has, which is all that its pickle says of it."""
    names = ["mmengine", "mmengine.logging", "mmengine.logging.history_buffer"]
    sys.modules.update({name: ModuleType(name) for name in names})
    module = sys.modules[names[-1]]
    module.HistoryBuffer = type("HistoryBuffer", (), {"__module__": module.__name__})
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def flat(content: Any, path: str = "") -> Iterator[tuple[str, Tensor | np.ndarray]]:
    """The tensors and numbers in ``content``, by path."""
    if isinstance(content, Tensor):
        yield path, content.detach()
    elif isinstance(content, (bool, int, float, np.generic)):
        yield path, np.asarray(content)
    elif isinstance(content, (dict, list, tuple)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from flat(value, f"{path}/{key}" if path else str(key))


def expected(content: Any) -> dict[str, np.ndarray]:
    """What the reader should find, as it goes into an ``.npz``."""
    found = dict(flat(content))
    tensors = {path: value for path, value in found.items() if isinstance(value, Tensor)}
    rows = [(path, str(value.dtype).removeprefix("torch.")) for path, value in tensors.items()]
    arrays = {path: (x.float() if x.dtype == torch.bfloat16 else x).numpy() for path, x in tensors.items()}
    return {**found, **arrays, "dtypes": np.array(rows)}


def main(folder: Path = GOLDEN) -> None:
    folder.mkdir(exist_ok=True)
    with imitated_mmengine():
        for name, make in CONTENTS.items():
            content = make()
            np.savez(folder / f"{name}.npz", **expected(content))
            torch.save(content, folder / f"{name}.zip.pt")
            torch.save(content, folder / f"{name}.legacy.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
