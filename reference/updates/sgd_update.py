"""A step of stochastic gradient descent, for all parameters at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def sgd_update(
    params: Sequence[np.ndarray],
    momenta: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    scale: Any = 1.0,
    apply: Any = True,
) -> None:
    """Move each parameter against its gradient, **in place**, as ``torch.optim.SGD``. ::

        g ← scale·gradient + decay·w
        v ← momentum·v + g
        w ← w − rate·v

    ``rates`` and ``decays`` hold one number for each parameter. ``scale`` undoes the scale of the loss and clips;
    it and ``apply`` may be arrays ``()``, so that the host need not wait for their values. If ``apply`` is false,
    nothing changes, whatever the gradients hold.

    Shapes: a parameter, its momentum and its gradient have one shape. Parameters and momenta are float32 or
    float64; gradients may have 16 bits, too.

    >>> w, v = np.array([1.0, 2.0]), np.zeros(2)
    >>> for _ in range(2):
    ...     sgd_update([w], [v], [np.array([1.0, 0.0])], rates=[0.5], decays=[0.0], momentum=0.5)
    >>> v, w
    (array([1.5, 0. ]), array([-0.25,  2.  ]))
    """
    if not apply:
        return
    for w, v, gradient, rate, decay in zip(params, momenta, gradients, rates, decays, strict=True):
        g = gradient.astype(w.dtype, copy=False)
        if not (isinstance(scale, float) and scale == 1):
            g = g * w.dtype.type(scale)
        if decay:
            g = g + decay * w
        v *= momentum
        v += g
        w -= rate * v
