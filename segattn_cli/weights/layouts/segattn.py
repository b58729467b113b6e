"""segattn's own safetensors: a run's checkpoint, or what ``segattn weights import`` wrote."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from segattn_cli.runs import EMA, OPTIMISER_STATE
from segattn_cli.runs.checkpoint import KEY
from segattn_cli.weights.names import Naming, Shape, checked_settings
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError


def recognise(file: WeightsFile) -> Naming | None:
    """Recognise our own names; of a run that averages its weights, the average is taken."""
    if KEY not in file.extra:
        return None
    try:
        metadata = json.loads(file.extra[KEY])
        network = metadata.get("weights") or metadata["config"]["network"]
        stored: dict[str, Any] = {key: value for key, value in network.items() if key != "weights"}
        if "classes" in metadata:
            stored["classes"] = len(metadata["classes"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"does not describe its network as this segattn expects ({str(error)[:100]})") from None
    settings = checked_settings(stored)
    averaged = any(name.startswith(EMA) for name in file.tensors)
    return Naming("segattn", settings, {"": EMA.removesuffix(".") if averaged else ""}, _unchanged)


def _unchanged(ours: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    return array


def is_training_state(theirs: str, naming: Naming) -> bool:
    """Whether an array belongs to the optimiser, or to the weights beside their average.

    >>> is_training_state("momentum.backbone.conv1.weight", Naming("segattn", {}, {"": ""}))
    True
    """
    averaged = naming.layout == "segattn" and naming.renames[""] != ""
    return theirs.startswith(OPTIMISER_STATE) or (averaged and not theirs.startswith(EMA))
