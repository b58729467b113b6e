"""Position attention of 16 bits at sizes around its tiles of 64, against the same formulas in float64."""

from __future__ import annotations

import sys

import ml_dtypes
import numpy as np
import pytest

from ...backends.cupy.conftest import ops  # noqa: F401, a fixture

TOLERANCES = {np.float16: 4e-3, ml_dtypes.bfloat16: 3e-2}


def draw(pixels, inner, channels, dtype, scale):
    rng = np.random.default_rng(pixels + inner)
    query, key = rng.normal(size=(2, 1, pixels, inner)) * scale
    value, dy = rng.normal(size=(2, 1, pixels, channels))
    return [each.astype(dtype) for each in (query, key, value, dy)]


def exact(query, key, value, dy):
    """``y``, ``dquery``, ``dkey`` and ``dvalue``."""
    query, key, value, dy = (each[0].astype(np.float64) for each in (query, key, value, dy))
    energy = query @ key.T
    attention = np.exp(energy - energy.max(axis=1, keepdims=True))
    attention /= attention.sum(axis=1, keepdims=True)
    dattention = dy @ value.T
    denergy = attention * (dattention - (attention * dattention).sum(axis=1, keepdims=True))
    return attention @ value, denergy @ key, denergy.T @ query, attention.T @ dy


def assert_agrees(ops, pixels, inner, channels, dtype, scale=0.5):  # noqa: F811
    *inputs, dy = draw(pixels, inner, channels, dtype, scale)
    y, cache = ops.position_attention(*map(ops.asarray, inputs))
    gradients = ops.position_attention_backward(ops.asarray(dy), cache)
    for name, got, wanted in zip(
        ("y", "dquery", "dkey", "dvalue"), (y, *gradients), exact(*inputs, dy), strict=True
    ):
        error = np.abs(ops.to_numpy(got)[0].astype(np.float64) - wanted).max()
        assert error <= TOLERANCES[dtype] * max(np.abs(wanted).max(), 0.05), name


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("pixels", "inner", "channels"),
    [(1, 1, 1), (7, 16, 3), (63, 8, 9), (64, 40, 8), (65, 64, 17), (130, 3, 5), (130, 128, 16), (200, 100, 7)],
)
def test_agrees(ops, pixels, inner, channels, dtype):  # noqa: F811
    assert_agrees(ops, pixels, inner, channels, dtype)


@pytest.fixture
def one_part(monkeypatch):
    """A block of threads goes over all tiles, as on a card that is full; small maps would leave it one each."""
    monkeypatch.setattr(sys.modules["backends.cupy.attention_mma"], "_parts", lambda *_: 1)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("pixels", "inner", "channels"), [(130, 64, 5), (257, 16, 8), (200, 100, 7)])
def test_from_tile_to_tile(ops, one_part, pixels, inner, channels, dtype):  # noqa: F811
    assert_agrees(ops, pixels, inner, channels, dtype)


@pytest.mark.parametrize("rows", [1, 30, 64, 100])
def test_in_blocks_of_rows(ops, monkeypatch, rows):  # noqa: F811
    monkeypatch.setattr(sys.modules["backends.cupy.attention_mma"], "scratch_bytes", lambda: rows * 136 * 2)
    assert_agrees(ops, 130, 8, 6, np.float16)


def test_energies_that_no_exponential_of_16_bits_holds(ops, one_part):  # noqa: F811
    """And a largest one that comes late in a row, or early."""
    query = np.full((1, 200, 16), 4, np.float16)
    key = np.linspace(-4, 4, 200)[None, :, None] * np.ones((1, 1, 16))
    value = np.random.default_rng(0).normal(size=(1, 200, 4)).astype(np.float16)
    for turned in (key, -key, key[:, np.random.default_rng(1).permutation(200)]):
        turned = turned.astype(np.float16)
        y, _ = ops.position_attention(*map(ops.asarray, (query, turned, value)))
        wanted = exact(query, turned, value, value)[0]
        assert np.abs(ops.to_numpy(y)[0].astype(np.float64) - wanted).max() < 1e-2
