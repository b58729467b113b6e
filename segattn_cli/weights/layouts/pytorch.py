"""Our names with PyTorch's shapes, as ``segattn export --to state-dict`` writes networks that only we have."""

from __future__ import annotations

import json
from typing import Any

from segattn_cli.weights.names import Naming, checked_settings
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

#: The metadata in which files that we export, in any layout, describe their network.
KEY = "segattn.network"
#: The beginnings of our parameters' names.
PARTS = ("backbone.", "head.", "auxiliary_head.", "decoder.", "scale_attention.", "scale_classifier.")


def recognise(file: WeightsFile) -> Naming | None:
    """Recognise our names; the metadata describe the network."""
    settings = stored_settings(file)
    if settings is None or not all(name.startswith(PARTS) for name in file.tensors):
        return None
    return Naming("pytorch", settings, {"": ""})


def stored_settings(file: WeightsFile) -> dict[str, Any] | None:
    """The settings of the network that the metadata of ``file`` describe; None where they describe none."""
    if KEY not in file.extra:
        return None
    try:
        stored = dict(json.loads(file.extra[KEY]))
    except (ValueError, TypeError, RecursionError) as error:
        raise FileError(f"does not describe its network as this segattn expects ({str(error)[:100]})") from None
    return checked_settings(stored)
