"""The gated residual of DANet's attention modules (Fu et al., CVPR 2019, equations 2 and 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class GatedResidualCache(NamedTuple):
    update: np.ndarray  # any shape
    gate: np.ndarray  # ()


def gated_residual(x: np.ndarray, update: np.ndarray, gate: np.ndarray) -> tuple[np.ndarray, GatedResidualCache]:
    """Add the result of an attention, times one learned scalar. ::

        E_j = α Σ_i s_ji D_i + A_j        (2)
        E_j = β Σ_i x_ji A_i + A_j        (4)

    A is ``x``, the sum is ``update``, and α or β is ``gate``. The gate starts at 0, so training starts from the
    network without attention.

    Shapes: ``x`` and ``update`` of any one shape, ``gate ()``, of one floating dtype. Caches the update and the
    gate. Raises :class:`OpError` for shapes or dtypes that do not fit.

    >>> y, cache = gated_residual(np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array(0.5))
    >>> y
    array([ 6., 12.])
    """
    check_arrays("gated_residual", x=(x, "..."), update=(update, "..."), gate=(gate, ""))

    y = x + gate * update
    return y, GatedResidualCache(update, gate)


def gated_residual_backward(
    dy: np.ndarray, cache: GatedResidualCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From ``dy``: ``dx`` and ``dupdate`` of the same shape, and ``dgate ()``.

    While the gate is 0, the attention below it gets no gradient, but the gate does: it is trained first.

    >>> y, cache = gated_residual(np.zeros(2), np.array([10.0, 20.0]), np.array(0.0))
    >>> gated_residual_backward(np.array([1.0, 2.0]), cache)
    (array([1., 2.]), array([0., 0.]), array(50.))
    """
    update, gate = cache
    check_gradient("gated_residual_backward", dy, update.shape, update.dtype)
    # y = x + gate * update
    dx = dy
    dupdate = gate * dy
    dgate = np.asarray((dy * update).sum(dtype=np.float64), dy.dtype)  # ()
    return dx, dupdate, dgate
