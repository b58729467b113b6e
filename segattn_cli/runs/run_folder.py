"""A run's folder, and the trained model in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reference.networks import Network, build_network
from segattn_cli.config import Config, config_from
from segattn_cli.errors import CheckpointError, ConfigError, NonFiniteError
from segattn_cli.runs.checkpoint import load_checkpoint

CONFIG = "config.toml"
EVENTS = "events.jsonl"
LAST = "last.safetensors"
BEST = "best.safetensors"
RESULT = "result.json"
CURVES = "curves.png"
PREDICTIONS = "predictions.png"
REPORT = "report.html"
EVALUATIONS = "evaluations"

#: The kind of checkpoint that `segattn weights import` makes of a backbone.
BACKBONE = "backbone"

#: What a training checkpoint holds beside the parameters, most of it under a parameter's name after this prefix:
#: the state of the optimiser, of SGD or of AdamW, and the moving average.
MOMENTUM = "momentum."
ADAMW = "adamw."
OPTIMISER_STATE = (MOMENTUM, ADAMW)
EMA = "ema."


@dataclass(frozen=True)
class Model:
    """A trained network and what it was trained on."""

    network: Network
    params: dict[str, np.ndarray]
    config: Config
    classes: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8
    metadata: dict[str, Any]
    path: Path  # of the checkpoint

    def without_weights(self) -> Model:
        """The same for those who have a predictor, which holds weights of its own: these can be freed."""
        return replace(self, params={})


def open_model(path: Path | str) -> Model:
    """The model in a run's folder (its best one if there is one, else the last) or in one checkpoint.

    Where there is a moving average of the weights, the model has that. Raises :class:`CheckpointError` for
    a checkpoint that is missing, damaged, foreign, or does not fit the network that it claims to be, and
    :class:`NonFiniteError` for weights that are not finite.
    """
    path = checkpoint_of(Path(path))
    checkpoint = load_checkpoint(path)
    config, classes, palette = describe_checkpoint(path, checkpoint.metadata)
    network = build_network(config.network_config(len(classes)))
    averaged = arrays_under(checkpoint.arrays, EMA)
    params = averaged or arrays_under(checkpoint.arrays, "")
    require_shapes(path, params, network.shapes())
    for name, array in params.items():
        if not np.isfinite(array).all():
            raise NonFiniteError(f"{path} holds a NaN or an infinity in {name}: take an earlier checkpoint.")
    return Model(network, params, config, classes, palette, checkpoint.metadata, path)


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that ``path`` means: itself, or the best one of a run's folder, or its last one."""
    if not path.is_dir():
        if path.suffix.lower() == ".toml" and path.is_file():
            raise CheckpointError(
                f"{path} is a configuration, not a trained network: give the folder of a run or a .safetensors "
                f"file; segattn train {path} --out RUN makes one."
            )
        return path
    for name in (BEST, LAST):
        if (path / name).exists():
            return path / name
    if (path / CONFIG).is_file():
        raise CheckpointError(f"There is no checkpoint in {path}: train there first, with --out {path}.")
    raise CheckpointError(
        f"{path} is not the folder of a run: give the folder that segattn train --out wrote, or a .safetensors "
        "file. Images and data sets are given beside it."
    )


def is_run(path: Path) -> bool:
    """Whether ``path`` is the folder of a run or a checkpoint file, and nothing else such as a folder of images."""
    if not path.is_dir():
        return path.suffix == ".safetensors" and path.is_file()
    return any((path / name).is_file() for name in (CONFIG, BEST, LAST))


def describe_checkpoint(path: Path, metadata: Mapping[str, Any]) -> tuple[Config, tuple[str, ...], np.ndarray]:
    """Configuration, classes and palette of a checkpoint's metadata."""
    if metadata.get("kind") == BACKBONE:
        raise CheckpointError(f"{path} holds a backbone and no whole network: train from it with --weights {path}.")
    try:
        config = config_from(metadata["config"])
        classes = tuple(metadata["classes"])
        if not all(isinstance(name, str) for name in classes):
            raise TypeError("the classes are no names")
        "".join(classes).encode()  # JSON can hold halves of characters, of which no file can be written
        palette = np.array(metadata["palette"], np.uint8)
        config.network_config(len(classes))
        if palette.shape != (len(classes), 3):
            raise ValueError(f"{len(classes)} classes, but colours of shape {palette.shape}")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, ConfigError) as error:
        raise CheckpointError(f"{path} does not describe its network as this segattn expects: {error}") from None
    return config, classes, palette


def arrays_under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays under ``prefix``, without it; ``""`` means the parameters themselves.

    >>> arrays_under({"w": 1, "ema.w": 2}, ""), arrays_under({"w": 1, "ema.w": 2}, "ema.")
    ({'w': 1}, {'w': 2})
    """
    if not prefix:
        return {name: array for name, array in arrays.items() if not name.startswith((*OPTIMISER_STATE, EMA))}
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def require_shapes(path: Path, got: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raise :class:`CheckpointError` where ``got`` has not the names and shapes that are ``wanted``, in float32."""
    for name, shape in wanted.items():
        if name not in got:
            raise CheckpointError(f"{path} is of another network: it has no {name}.")
        if got[name].shape != shape:
            raise CheckpointError(
                f"{path} is of another network: {name} has shape {got[name].shape} there and {shape} here."
            )
        if got[name].dtype != np.float32:
            raise CheckpointError(f"{path} holds {name} in {got[name].dtype}, wants float32.")
    extra = sorted(set(got) - set(wanted))
    if extra:
        raise CheckpointError(f"{path} is of another network: it has {extra[0]}, which is nowhere in this one.")
