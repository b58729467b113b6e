"""Writes ``fuzz/corpus/weights``: small files of every kind that the reader of weights knows. Needs PyTorch.

python fuzz/make_weights.py
"""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

CORPUS = Path(__file__).parent / "corpus" / "weights"


def main() -> None:
    torch.manual_seed(0)
    tensors = OrderedDict(
        [("layer1.0.conv1.weight", torch.randn(2, 3, 1, 1)), ("bn1.running_var", torch.rand(2)),
         ("bn1.num_batches_tracked", torch.tensor(3)), ("head.sa.gamma", torch.zeros(1))]
    )  # fmt: skip
    shared = torch.randn(4, 4)
    wrapped = {
        "epoch": 3, "state_dict": tensors, "best_pred": np.float64(0.5),
        "optimizer": {"param_groups": [{"lr": 0.1}]},
        "meta": {"CLASSES": ("road", "sky"), "PALETTE": [[0, 0, 0], [1, 2, 3]]},
    }  # fmt: skip
    views = {"a": shared.t(), "b": shared[1:, 2:], "half": shared.half(), "brain": shared.bfloat16()}
    parameters = {"module": {"p": torch.nn.Parameter(shared), "size": torch.Size([1, 2]), "kind": torch.float32}}
    CORPUS.mkdir(exist_ok=True)
    for name, content in (("plain", tensors), ("wrapped", wrapped), ("views", views), ("parameters", parameters)):
        for form, is_zip in (("zip", True), ("legacy", False)):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
            (CORPUS / f"{name}-{form}.pth").write_bytes(buffer.getvalue())
            if is_zip:
                with zipfile.ZipFile(buffer) as archive:
                    (CORPUS / f"{name}.pkl").write_bytes(archive.read("archive/data.pkl"))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(CORPUS / "plain.npz", **arrays)
    np.savez_compressed(CORPUS / "packed.npz", **arrays)
    (CORPUS / "plain.safetensors").write_bytes(save(dict(tensors), {"format": "pt"}))
    (CORPUS / "own.safetensors").write_bytes(
        save({"backbone.conv1.weight": shared}, {"segattn": '{"version": 1, "weights": {"backbone": "resnet18"}}'})
    )


if __name__ == "__main__":
    main()
