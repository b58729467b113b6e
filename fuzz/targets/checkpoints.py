"""Checkpoints and their metadata, as ``infer``, ``train --resume`` and the commands ``weights`` read them.

An input that begins with ``{`` is the header of a file alone: zeros stand for its numbers.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from backends import get_backend
from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate, mutated_json, mutated_safetensors, mutated_tree
from reference.networks import Network, build_network
from segattn_cli.config import Config, load_config
from segattn_cli.data.formats.scenes import CLASSES, PALETTE, SceneOptions, Scenes
from segattn_cli.runs import LAST, open_model
from segattn_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from segattn_cli.training.optimiser import Optimiser, optimiser_of
from segattn_cli.training.setup import initial_state
from segattn_cli.training.state import Progress, State
from segattn_cli.weights import import_weights, read_weights

RUN = FOLDER / "run"
RUN.mkdir()
PATH = RUN / LAST
#: Bytes of zeros that a header gets at most.
MOST_ZEROS = 1 << 21
NUMPY = get_backend("numpy")
CONFIG = load_config(None, ["network.head_channels=4", "network.scale_attention_channels=4", "data.scenes.train=2"])
DATA = Scenes("train", SceneOptions())


def _made(config: Config) -> tuple[Network, Optimiser, State]:
    network = build_network(config.network_config(len(CLASSES)))
    optimiser = optimiser_of(config.optimiser, network.shapes())
    params = {name: np.zeros(shape, np.float32) for name, shape in network.shapes().items()}
    return network, optimiser, State.of(params, Progress(), NUMPY, optimiser, ema=False)


NETWORK, OPTIMISER, STATE = _made(CONFIG)


def seeds() -> Iterator[bytes]:
    """A model, the state of a training, and a backbone: their headers."""
    described = {
        "config": CONFIG.model_dump(mode="json", exclude_none=True),
        "classes": list(CLASSES),
        "palette": PALETTE.tolist(),
    }
    progress = {
        "step": 4,
        "seconds": 2.5,
        "validated_at": 4,
        "since_best": 1,
        "journal": 100,
        "loss_scale": {"scale": 8.0},
    }
    last = {
        "event": "validated", "step": 4, "epoch": 1.0, "miou": 0.5, "pixel_accuracy": 0.5,
        "per_class_iou": {"sky": None}, "scale_weights": [0.5, 0.5], "gates": {}, "seconds": 1.0, "best": True,
    }  # fmt: skip
    backbone = {name: array for name, array in STATE.params.items() if name.startswith("backbone.")}
    for arrays, metadata in (
        (STATE.params, described),
        (STATE.arrays(NUMPY), {**described, "progress": {**progress, "best": last, "last": last}}),
        (backbone, {"kind": "backbone", "weights": {"backbone": "tiny"}}),
        (dict(list(STATE.params.items())[:3]), {"a": 1}),
    ):
        save_checkpoint(PATH, arrays, metadata)
        data = PATH.read_bytes()
        yield data[8 : 8 + struct.unpack_from("<Q", data)[0]]
    yield data


def one_input(data: bytes) -> None:
    PATH.write_bytes(_file(data))
    attempt(load_checkpoint, PATH)
    attempt(open_model, RUN)
    attempt(initial_state, CONFIG, NETWORK, OPTIMISER, DATA, NUMPY, RUN)
    attempt(read_weights, PATH)
    attempt(import_weights, PATH)


def _file(data: bytes) -> bytes:
    if not data.startswith(b"{"):
        return data
    try:
        header = json.loads(data)
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        zeros = min(max(ends, default=0), MOST_ZEROS)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        zeros = 8
    return struct.pack("<Q", len(data)) + data + bytes(zeros if isinstance(zeros, int) and zeros > 0 else 8)


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """Another header, or other metadata in it, which are JSON in JSON; or other bytes."""
    if not data.startswith(b"{"):
        return mutated_safetensors(data, mutate, size, rng)
    try:
        header: dict[str, Any] = json.loads(data)
        metadata = header["__metadata__"]
        if rng.random() < 0.85:
            text = mutated_json(metadata["segattn"].encode(), mutate, size, rng)
            metadata["segattn"] = text.decode("latin-1")
        else:
            header = mutated_tree(header, rng)
        return json.dumps(header).encode()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return mutate(data, size)
