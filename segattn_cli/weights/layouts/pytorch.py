"""Our names with PyTorch's shapes: what ``segattn export --to state-dict`` writes of networks that only we have."""

from __future__ import annotations

import json
from typing import Any

from segattn_cli.weights.names import Naming, checked_settings
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

#: Where a file that we wrote, in whatever layout, says what network it is of.
KEY = "segattn.network"
#: What the parts of our networks are called.
PARTS = ("backbone.", "head.", "auxiliary_head.", "scale_attention.", "scale_classifier.")


def recognise(file: WeightsFile) -> Naming | None:
    """Our names; the network stands in the metadata."""
    settings = said_settings(file)
    if settings is None or not all(name.startswith(PARTS) for name in file.tensors):
        return None
    return Naming("pytorch", settings, {"": ""})


def said_settings(file: WeightsFile) -> dict[str, Any] | None:
    """The network that the metadata of ``file`` describe, None where they do not."""
    if KEY not in file.extra:
        return None
    try:
        said = dict(json.loads(file.extra[KEY]))
    except (ValueError, TypeError, RecursionError) as error:
        raise FileError(f"does not describe its network as this segattn expects ({str(error)[:100]})") from None
    return checked_settings(said)
