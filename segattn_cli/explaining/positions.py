"""The map of position attention, compact enough for a page, and overviews of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from segattn_cli.rendering import quantise
from segattn_cli.rendering.packing import Quantised

#: Tolerances of a probability that a page computes: absolute, and relative to the largest in its row.
TOLERANCE = 1e-3
FINENESS = 1e-2
#: Rows of the map that are in memory at a time hold about so many numbers.
BLOCK = 1_000_000
#: A form is tried on so many rows before it is tried on all; so many of the rows that then fail are added to them.
TRIED = 256
#: So many forms are tried on all rows before query and key are stored in float32.
ATTEMPTS = 6


class Compact(NamedTuple):
    """Query and key in few numbers, from which every row of the map can be computed: see :func:`compact`."""

    query: Quantised  # (N, R)
    key: Quantised  # (N, R)
    log_sum_exp: np.ndarray  # (N,) float32, of each row's energies
    error: float  # the largest difference of a probability from the network's, over the whole map

    def row(self, pixel: int) -> np.ndarray:
        """The attention of ``pixel`` to each pixel: (N,), adding to 1."""
        energy = self.key.values.astype(np.float64) @ self.query.values[pixel].astype(np.float64)
        return np.exp(energy - self.log_sum_exp[pixel])

    def column(self, pixel: int) -> np.ndarray:
        """The attention of each pixel to ``pixel``: (N,)."""
        energy = self.query.values.astype(np.float64) @ self.key.values[pixel].astype(np.float64)
        return np.exp(energy - self.log_sum_exp)


@dataclass(frozen=True)
class PositionView:
    """Position attention in one image at one scale."""

    scale: float
    grid: tuple[int, int]  # (h, w), N = h·w
    gate: float  # α
    fraction: float  # ‖α·S·D‖ / ‖A‖ over the whole map: how much the gate adds to the features
    fractions: np.ndarray  # (h, w), the same at each pixel
    query: np.ndarray  # (N, D)
    key: np.ndarray  # (N, D)
    log_sum_exp: np.ndarray  # (N,), of each row's energies
    received: np.ndarray  # (h, w): the sum of a pixel's column, 1 where it gets as much as every other
    reach: np.ndarray  # (h, w): exp of a row's entropy, the number of pixels that it is spread over

    @cached_property
    def compact(self) -> Compact:
        """Query and key as a page stores them; computed at first use, which takes seconds for large grids."""
        return compact(self.query, self.key)

    def pixel_at(self, across: float, down: float) -> int:
        """The number, in row order, of the pixel at these fractions of the image's width and height.

        The image is divided evenly among the pixels of the grid, as pages and drawings show it.
        """
        height, width = self.grid
        y, x = min(height - 1, max(0, int(down * height))), min(width - 1, max(0, int(across * width)))
        return y * width + x

    def row(self, pixel: int) -> np.ndarray:
        """The attention of ``pixel`` (its number in row order) to each pixel: (h, w) float64, adding to 1."""
        energy = self.key.astype(np.float64) @ self.query[pixel].astype(np.float64)
        return np.exp(energy - self.log_sum_exp[pixel]).reshape(self.grid)

    def column(self, pixel: int) -> np.ndarray:
        """The attention of each pixel to ``pixel``: (h, w) float64, adding to what it has ``received``."""
        energy = self.query.astype(np.float64) @ self.key[pixel].astype(np.float64)
        return np.exp(energy - self.log_sum_exp).reshape(self.grid)


def view_positions(
    scale: float, grid: tuple[int, int], gate: float, query: np.ndarray, key: np.ndarray,
    attended: np.ndarray, features: np.ndarray,
) -> PositionView:
    """The view of ``softmax(query·keyᵀ)``, which adds ``gate · attended`` to ``features``; arrays are (N, …)."""
    received, entropy, sums = np.zeros(len(key)), [], []
    for energy in _energies(query, key):
        probabilities, log_sum_exp = _softmax(energy.copy())  # (rows, N), (rows, 1)
        received += probabilities.sum(0)
        # H = −Σ p·ln p, and ln p = energy − log_sum_exp
        entropy.append(log_sum_exp[:, 0] - np.einsum("ji,ji->j", probabilities, energy))
        sums.append(log_sum_exp[:, 0])
    size = np.linalg.norm(features, axis=-1)
    added = np.linalg.norm(gate * attended, axis=-1)
    return PositionView(
        scale, grid, gate,
        fraction=ratio(added, size),
        fractions=np.divide(added, size, out=np.zeros_like(size), where=size > 0).reshape(grid),
        query=query, key=key, log_sum_exp=np.concatenate(sums), received=received.reshape(grid),
        reach=np.exp(np.concatenate(entropy)).reshape(grid),
    )


def compact(query: np.ndarray, key: np.ndarray, tolerance: float = TOLERANCE) -> Compact:
    """``query (N, D)`` and ``key (N, D)`` in as few numbers as keep every probability within ``tolerance``.

    And within :data:`FINENESS` of the largest in its row: where N is large and attention diffuse, all are small.
    Three things change no probability, or hardly any. What is added to a whole row of energies cancels in the
    softmax, so the keys lose their mean. With the singular value decomposition ``query·keyᵀ = U·Σ·Vᵀ`` the two can
    be replaced by ``U·√Σ`` and ``V·√Σ``, whose last columns matter least and are left out. What remains is rounded
    to 8 or 16 bits. For either, the least rank that will do on some rows is found by bisection; then the smaller of
    the two forms is tried on the whole map, and its error measured, not estimated. Rows on which it fails join the
    others for the next attempt. Where nothing is good enough, the float32 numbers stay as they are.

    >>> rng = np.random.default_rng(0)
    >>> form = compact(rng.standard_normal((60, 8)), rng.standard_normal((60, 8)))
    >>> form.error < 1e-3, round(float(form.row(7).sum()), 3)
    (True, 1.0)
    """
    left, right = _decomposed(query, key)
    ranks = range(1, left.shape[1] + 1)
    tried = np.linspace(0, len(query) - 1, min(len(query), TRIED)).astype(int)

    def form(bits: int, rank: int) -> list[Quantised]:
        return [quantise(each[:, :rank], f"uint{bits}", columns=True) for each in (left, right)]

    def will_do(bits: int, rank: int) -> bool:
        short = form(bits, rank)
        errors, largest, _ = _errors(query[tried], key, short[0].values[tried], short[1].values)
        return bool((errors <= allowed(largest)).all())

    def allowed(largest: np.ndarray) -> np.ndarray:
        return np.minimum(tolerance, FINENESS * largest)

    for _ in range(ATTEMPTS):
        least = {bits: bisect_left(ranks, True, key=partial(will_do, bits)) + 1 for bits in (8, 16)}
        forms = [(rank * bits, bits, rank) for bits, rank in least.items() if rank in ranks]
        if not forms:
            break
        _, bits, rank = min(forms)
        short = form(bits, rank)
        errors, largest, log_sum_exp = _errors(query, key, short[0].values, short[1].values)
        if (errors <= allowed(largest)).all():
            return Compact(short[0], short[1], log_sum_exp, float(errors.max()))
        tried = np.union1d(tried, (errors / allowed(largest)).argsort()[-TRIED:])
    return _exact(query, key)


def _exact(query: np.ndarray, key: np.ndarray) -> Compact:
    """Query and key themselves, with a column more for what float32 rounds off log-sum-exps, which may be large."""
    exactly = np.concatenate([_softmax(energy)[1] for energy in _energies(query, key)])  # (N, 1)
    rounded_off = exactly - exactly.astype(np.float32)
    columns = np.hstack([query, -rounded_off]), np.hstack([key, np.ones_like(rounded_off)])
    stored = [Quantised(each.astype(np.float32), np.array(1.0), np.array(0.0)) for each in columns]
    errors, _, log_sum_exp = _errors(query, key, stored[0].stored, stored[1].stored)
    return Compact(stored[0], stored[1], log_sum_exp, float(errors.max()))


def ratio(part: np.ndarray, whole: np.ndarray) -> float:
    """``‖part‖ / ‖whole‖``, and 0 of nothing."""
    size = float(np.linalg.norm(whole))
    return float(np.linalg.norm(part)) / size if size else 0.0


def _decomposed(query: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``U·√Σ`` and ``V·√Σ``, (N, min(N, D)) each, without the N×N matrix of which they are the decomposition."""
    key = key.astype(np.float64) - key.mean(0, dtype=np.float64)
    q, r = np.linalg.qr(query.astype(np.float64))
    k, s = np.linalg.qr(key)
    u, values, vt = np.linalg.svd(r @ s.T)
    root = np.sqrt(values)
    return q @ u * root, k @ vt.T * root


def _errors(
    query: np.ndarray, key: np.ndarray, short_query: np.ndarray, short_key: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row: the two maps' largest difference, the first's largest probability, the second's log-sum-exp.

    The second map is computed as a page does: in float64, but from float32 numbers, the log-sum-exp among them.
    """
    errors, peaks, sums = [], [], []
    for energy, short_energy in zip(_energies(query, key), _energies(short_query, short_key), strict=True):
        difference, _ = _softmax(energy)
        short, exactly = _softmax(short_energy)
        log_sum_exp = exactly.astype(np.float32)
        short *= np.exp(exactly - log_sum_exp)
        peaks.append(difference.max(1))
        difference -= short
        errors.append(np.abs(difference, out=difference).max(1))
        sums.append(log_sum_exp[:, 0])
    return np.concatenate(errors), np.concatenate(peaks), np.concatenate(sums)


def _energies(query: np.ndarray, key: np.ndarray) -> Iterator[np.ndarray]:
    """The energies of all pairs in blocks of rows, (rows, N).

    In float64: where attention is sharp, energies are in the thousands, and float32 is good to a ten-thousandth.
    """
    query, key = query.astype(np.float64), key.astype(np.float64)
    step = max(1, BLOCK // len(key))
    for start in range(0, len(query), step):
        yield query[start : start + step] @ key.T


def _softmax(energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, in the place of ``energy (rows, N)``, and log-sum-exps (rows, 1)."""
    largest = energy.max(1, keepdims=True)
    np.exp(np.subtract(energy, largest, out=energy), out=energy)
    total = energy.sum(1, keepdims=True)
    energy /= total
    return energy, largest + np.log(total)
