"""A step of Adam with decoupled weight decay, for all parameters at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def adamw_update(
    params: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
    squares: Sequence[np.ndarray],
    steps: np.ndarray,
    gradients: Sequence[np.ndarray],
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    betas: tuple[float, float],
    epsilon: float,
    scale: Any = 1.0,
    apply: Any = True,
) -> None:
    """Move each parameter against its gradient, **in place**, as ``torch.optim.AdamW``.

    Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019, algorithm 2. Their weight decay is
    ``rate·decay`` here, as in PyTorch: a schedule of the rate is one of the decay, too. ::

        t ← t + 1
        g ← scale·gradient
        w ← w − rate·decay·w
        m ← β₁·m + (1 − β₁)·g
        v ← β₂·v + (1 − β₂)·g²
        w ← w − rate · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    ``m`` is the mean of recent gradients and ``v`` that of their squares. Both start at 0, which the divisions by
    ``1 − βᵗ`` correct. ``steps`` is t, an array ``()``: the number of steps that were applied. ``rates`` and
    ``decays`` hold one number for each parameter. ``scale`` undoes the scale of the loss and clips; it and
    ``apply`` may be arrays ``()``, so that the host need not wait for their values. If ``apply`` is false, nothing
    changes, ``steps`` included, whatever the gradients hold.

    Shapes: a parameter, its mean, its square and its gradient have one shape. All that changes is float32 or
    float64; gradients may have 16 bits, too.

    >>> w, m, v, t = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2), np.array(0.0)
    >>> adamw_update(
    ...     [w], [m], [v], t, [np.array([4.0, 0.0])], rates=[0.5], decays=[0.0], betas=(0.75, 0.75), epsilon=1.0
    ... )
    >>> m, v, t
    (array([1., 0.]), array([4., 0.]), array(1.))
    >>> w  # 1 − 0.5 · 4/(4 + 1)
    array([0.6, 2. ])
    """
    if not apply:
        return
    steps += 1
    first, second = betas
    mean_correction, square_correction = 1 - first ** float(steps), 1 - second ** float(steps)
    for w, m, v, gradient, rate, decay in zip(params, means, squares, gradients, rates, decays, strict=True):
        g = gradient.astype(w.dtype, copy=False)
        if not (isinstance(scale, float) and scale == 1):
            g = g * w.dtype.type(scale)
        if decay:
            w *= 1 - rate * decay
        m *= first
        m += (1 - first) * g
        v *= second
        v += (1 - second) * g * g
        w -= rate / mean_correction * m / (np.sqrt(v) / square_correction**0.5 + epsilon)
