"""Values as JSON, which has no notation for NaN and the infinities: they become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any, **layout: Any) -> str:
    """``value`` as JSON, with the ``layout`` of :func:`json.dumps`, and null for a number that is not finite.

    >>> json_text({"miou": float("nan"), "steps": [1, 2.5]})
    '{"miou": null, "steps": [1, 2.5]}'
    """
    return json.dumps(_without_nan(value), allow_nan=False, **layout)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_without_nan(key): _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return value
