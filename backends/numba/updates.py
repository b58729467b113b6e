"""The steps of the optimisers in one pass over memory, with all threads for large arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from backends.numba.compile import inner, kernel
from reference import updates

#: Values of a block. An array of one block is not worth threads.
_VALUES = 1 << 14


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
    """See :func:`reference.updates.sgd_update`, which moves arrays that are not in C order."""
    if not apply:
        return
    if not _in_c_order((*params, *momenta)):
        updates.sgd_update(
            params, momenta, gradients, rates=rates, decays=decays, momentum=momentum, scale=scale
        )
        return
    for w, v, gradient, rate, decay in zip(params, momenta, gradients, rates, decays, strict=True):
        number = w.dtype.type
        move = _sgd if w.size <= _VALUES else partial(_sgd_on_threads, -(-w.size // _VALUES))
        move(
            w.reshape(-1), v.reshape(-1), gradient.astype(w.dtype, copy=False).reshape(-1), number(scale),
            number(decay), number(momentum), number(rate),
        )  # fmt: skip


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
    """See :func:`reference.updates.adamw_update`, which moves arrays that are not in C order."""
    if not apply:
        return
    if not _in_c_order((*params, *means, *squares)):
        updates.adamw_update(
            params, means, squares, steps, gradients, rates=rates, decays=decays, betas=betas, epsilon=epsilon,
            scale=scale,
        )  # fmt: skip
        return
    steps += 1
    first, second = betas
    mean_correction, square_correction = 1 - first ** float(steps), 1 - second ** float(steps)
    for w, m, v, gradient, rate, decay in zip(params, means, squares, gradients, rates, decays, strict=True):
        number = w.dtype.type
        move = _adamw if w.size <= _VALUES else partial(_adamw_on_threads, -(-w.size // _VALUES))
        move(
            w.reshape(-1), m.reshape(-1), v.reshape(-1), gradient.astype(w.dtype, copy=False).reshape(-1),
            number(scale), number(1 - rate * decay), number(first), number(1 - first), number(second),
            number(1 - second), number(rate / mean_correction), number(square_correction**-0.5), number(epsilon),
        )


def _in_c_order(arrays: Iterable[np.ndarray]) -> bool:
    return all(array.flags.c_contiguous for array in arrays)


@inner
def _sgd(w, v, gradient, scale, decay, momentum, rate):
    for k in range(len(w)):
        v[k] = momentum * v[k] + (scale * gradient[k] + decay * w[k])
        w[k] -= rate * v[k]


@kernel
def _sgd_on_threads(block, w, v, gradient, scale, decay, momentum, rate):
    part = slice(block * _VALUES, (block + 1) * _VALUES)
    _sgd(w[part], v[part], gradient[part], scale, decay, momentum, rate)


@inner
def _adamw(w, m, v, gradient, scale, kept, m_kept, m_given, v_kept, v_given, rate, root, epsilon):
    for k in range(len(w)):
        g = scale * gradient[k]
        m[k] = m_kept * m[k] + m_given * g
        v[k] = v_kept * v[k] + v_given * g * g
        w[k] = kept * w[k] - rate * m[k] / (np.sqrt(v[k]) * root + epsilon)


@kernel
def _adamw_on_threads(block, w, m, v, gradient, scale, kept, m_kept, m_given, v_kept, v_given, rate, root, epsilon):
    part = slice(block * _VALUES, (block + 1) * _VALUES)
    _adamw(
        w[part], m[part], v[part], gradient[part], scale, kept, m_kept, m_given, v_kept, v_given, rate, root,
        epsilon,
    )  # fmt: skip
