"""Which tensor stopped being finite first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segattn_cli.data import Batch
from segattn_cli.training.gradients import Differentiator

Array = Any


class _Found(Exception):
    """Carries the name out of the pass that it was found in."""


def first_non_finite(
    differentiator: Differentiator, params: dict[str, Array], batches: Sequence[Batch], step: int
) -> str:
    """Run a step again and name the first tensor with a NaN or an infinity, in the order of computation.

    Parameters come first, then images, then what each layer makes of them, then gradients.
    """
    to_numpy = differentiator.ops.to_numpy

    def check(name: str, array: Array) -> None:
        if not np.isfinite(to_numpy(array)).all():
            raise _Found(f"the gradient of {name[2:]}" if name.startswith("d ") else f"the output of {name}")

    for name, parameter in params.items():
        if not np.isfinite(to_numpy(parameter)).all():
            return f"the parameter {name}"
    for batch in batches:
        for name, image in zip(batch.names, batch.images, strict=True):
            if not np.isfinite(image).all():
                return f"the image {name}"
    try:
        differentiator.gradients(params, batches, step, check)
    except _Found as found:
        return str(found)
    return "the norm of all gradients together"
