"""The map of position attention, in little enough space for a page, and what is read off it as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segattn_cli.pages import quantise
from segattn_cli.pages.arrays import Quantised

#: How far a probability that a page computes may be from the network's.
TOLERANCE = 1e-3
#: Rows of the map that are in memory at a time hold about so many numbers.
BLOCK = 2_000_000
#: How many rows a candidate is tried on before it is tried on all.
TRIED = 256


class Compact(NamedTuple):
    """Query and key in few numbers, of which every row of the map can be computed: see :func:`compact`."""

    query: Quantised  # (N, R)
    key: Quantised  # (N, R)
    log_sum_exp: np.ndarray  # (N,) float32, of each row's energies
    error: float  # the largest difference of a probability from the network's, over the whole map

    def row(self, pixel: int) -> np.ndarray:
        """Whom ``pixel`` looks at: (N,), adding to 1."""
        energy = self.key.values.astype(np.float64) @ self.query.values[pixel].astype(np.float64)
        return np.exp(energy - self.log_sum_exp[pixel])

    def column(self, pixel: int) -> np.ndarray:
        """Who looks at ``pixel``, and how much: (N,)."""
        energy = self.query.values.astype(np.float64) @ self.key.values[pixel].astype(np.float64)
        return np.exp(energy - self.log_sum_exp)


@dataclass(frozen=True)
class PositionView:
    """Position attention over one picture at one scale."""

    scale: float
    grid: tuple[int, int]  # (h, w), N = h·w
    gate: float  # α
    share: float  # ‖α·S·D‖ / ‖A‖ over the whole map: how much of the features the gate lets in
    shares: np.ndarray  # (h, w), the same at each pixel
    query: np.ndarray  # (N, D)
    key: np.ndarray  # (N, D)
    compact: Compact
    received: np.ndarray  # (h, w): the sum of a pixel's column, 1 where it gets as much as every other
    reach: np.ndarray  # (h, w): exp of a row's entropy, the number of pixels that it is spread over

    def row(self, pixel: int) -> np.ndarray:
        """Whom ``pixel`` (its number in row order) looks at, computed as in ``reference``: (h, w), adding to 1."""
        energy = self.key.astype(np.float64) @ self.query[pixel].astype(np.float64)
        weights = np.exp(energy - energy.max())
        return (weights / weights.sum()).reshape(self.grid)


def view_positions(
    scale: float, grid: tuple[int, int], gate: float, query: np.ndarray, key: np.ndarray,
    attended: np.ndarray, features: np.ndarray,
) -> PositionView:
    """The view of ``softmax(query·keyᵀ)``, which let ``gate · attended`` into ``features``; arrays are (N, …)."""
    found = compact(query, key)
    received, entropy = np.zeros(len(key)), []
    for _, energy, log_sum_exp in _energies(query, key):
        probabilities = np.exp(energy - log_sum_exp)  # (rows, N)
        received += probabilities.sum(0)
        # H = −Σ p·ln p, and ln p = energy − log_sum_exp
        entropy.append(log_sum_exp[:, 0] - np.einsum("ji,ji->j", probabilities, energy))
    size = np.linalg.norm(features, axis=-1)
    added = np.linalg.norm(gate * attended, axis=-1)
    return PositionView(
        scale, grid, gate,
        share=ratio(np.linalg.norm(added), np.linalg.norm(size)),
        shares=np.divide(added, size, out=np.zeros_like(size), where=size > 0).reshape(grid),
        query=query, key=key, compact=found, received=received.reshape(grid),
        reach=np.exp(np.concatenate(entropy)).reshape(grid),
    )


def compact(query: np.ndarray, key: np.ndarray, tolerance: float = TOLERANCE) -> Compact:
    """``query (N, D)`` and ``key (N, D)`` in as few numbers as keep every probability within ``tolerance``.

    Three things change no probability, or hardly any. What is added to a whole row of energies cancels in the
    softmax, so the keys lose their mean. With the singular value decomposition ``query·keyᵀ = U·Σ·Vᵀ`` the two can
    be replaced by ``U·√Σ`` and ``V·√Σ``, whose last columns matter least and are left out. What remains is rounded
    to 8 or 16 bits. The smallest of these forms that is good enough over the whole map is taken, and its error
    measured, not estimated; where none is, the numbers stay as they are.

    >>> rng = np.random.default_rng(0)
    >>> found = compact(rng.standard_normal((60, 8)), rng.standard_normal((60, 8)))
    >>> found.error < 1e-3, round(float(found.row(7).sum()), 3)
    (True, 1.0)
    """
    left, right = _decomposed(query, key)
    sizes = [(rank * bits, rank, bits) for rank in range(1, left.shape[1] + 1) for bits in (8, 16)]
    tried = np.linspace(0, len(query) - 1, min(len(query), TRIED)).astype(int)
    for _, rank, bits in sorted(sizes):
        short = [quantise(each[:, :rank], f"uint{bits}", columns=True) for each in (left, right)]
        if _error(query[tried], key, short[0].values[tried], short[1].values)[0] > tolerance:
            continue
        error, log_sum_exp = _error(query, key, short[0].values, short[1].values)
        if error <= tolerance:
            return Compact(short[0], short[1], log_sum_exp, error)
    exact = [Quantised(each.astype(np.float32), np.array(1.0), np.array(0.0)) for each in (left, right)]
    error, log_sum_exp = _error(query, key, exact[0].stored, exact[1].stored)
    return Compact(exact[0], exact[1], log_sum_exp, error)


def ratio(part: float, whole: float) -> float:
    """``part / whole``, and 0 of nothing."""
    return float(part / whole) if whole else 0.0


def _decomposed(query: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``U·√Σ`` and ``V·√Σ``, (N, min(N, D)) each, without the N×N matrix of which they are the decomposition."""
    key = key.astype(np.float64) - key.mean(0, dtype=np.float64)
    q, r = np.linalg.qr(query.astype(np.float64))
    k, s = np.linalg.qr(key)
    u, values, vt = np.linalg.svd(r @ s.T)
    root = np.sqrt(values)
    return q @ u * root, k @ vt.T * root


def _error(
    query: np.ndarray, key: np.ndarray, short_query: np.ndarray, short_key: np.ndarray
) -> tuple[float, np.ndarray]:
    """The largest difference between the two maps' probabilities, and the second one's log-sum-exps."""
    worst, sums = 0.0, []
    for rows, energy, log_sum_exp in _energies(query, key):
        short = short_query[rows].astype(np.float64) @ short_key.T
        short_sum = _log_sum_exp(short)
        difference = np.exp(short - short_sum) - np.exp(energy - log_sum_exp)
        worst = max(worst, float(np.abs(difference, out=difference).max()))
        sums.append(short_sum[:, 0])
    return worst, np.concatenate(sums).astype(np.float32)


def _energies(query: np.ndarray, key: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Blocks of rows: which, their energies (rows, N), and log-sum-exps (rows, 1).

    In float64: where attention is sharp, energies are in the thousands, and float32 is good to a ten-thousandth.
    """
    key = key.astype(np.float64)
    step = max(1, BLOCK // len(key))
    for start in range(0, len(query), step):
        rows = slice(start, start + step)
        energy = query[rows].astype(np.float64) @ key.T
        yield rows, energy, _log_sum_exp(energy)


def _log_sum_exp(energy: np.ndarray) -> np.ndarray:
    largest = energy.max(1, keepdims=True)
    return largest + np.log(np.exp(energy - largest).sum(1, keepdims=True))
