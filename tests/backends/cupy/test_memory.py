"""Position attention at the sizes that it is for: bounded memory, right values."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.gpu

MEGABYTE = 10**6


def draw(cupy, pixels, dtype, seed=0):
    rng = cupy.random.default_rng(seed)
    query, key = (rng.standard_normal((1, pixels, 64), dtype=np.float32) * 0.3 for _ in range(2))
    value, dy = (rng.standard_normal((1, pixels, 512), dtype=np.float32) for _ in range(2))
    return [array.astype(dtype) for array in (query, key, value, dy)]


class Pool:
    """Counts what is taken from the device while it is the allocator."""

    def __init__(self, cupy):
        self.cupy = cupy
        self.pool = cupy.cuda.MemoryPool()

    def run(self, function, *arguments):
        """The result, and the largest amount that the pool held beyond it."""
        with self.cupy.cuda.using_allocator(self.pool.malloc):
            result = function(*arguments)
        self.cupy.cuda.get_current_stream().synchronize()
        held = {id(array): array.nbytes for array in result if isinstance(array, self.cupy.ndarray)}
        return result, self.pool.total_bytes() - sum(held.values())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scratch_is_bounded_at_9216_pixels(ops, cupy, dtype):
    query, key, value, dy = draw(cupy, 9216, dtype)
    (_, cache), forward = Pool(cupy).run(ops.position_attention, query, key, value)
    _, backward = Pool(cupy).run(ops.position_attention_backward, dy, cache)
    assert 0 < forward <= 100 * MEGABYTE
    assert 0 < backward <= 100 * MEGABYTE


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 4e-3)])
def test_65536_pixels(ops, cupy, dtype, tolerance):
    pixels = 65_536
    query, key, value, dy = draw(cupy, pixels, dtype)
    (y, cache), forward = Pool(cupy).run(ops.position_attention, query, key, value)
    (dquery, dkey, dvalue), backward = Pool(cupy).run(ops.position_attention_backward, dy, cache)
    sums = 4 * (key.size + value.size) if dtype == "float16" else 0  # dkey and dvalue in float32 on the way
    assert forward <= 100 * MEGABYTE
    assert backward <= 100 * MEGABYTE + sums

    # A few rows in float64, where a whole map would be 34 GB.
    rows = cupy.asarray([0, 1, 255, 256, 40_000, pixels - 1])
    q, k, v, g = (x[0].astype(np.float64) for x in (query, key, value, dy))
    energy = q[rows] @ k.T
    attention = cupy.exp(energy - energy.max(axis=1, keepdims=True))
    attention /= attention.sum(axis=1, keepdims=True)
    dattention = g[rows] @ v.T
    denergy = attention * (dattention - (attention * dattention).sum(axis=1, keepdims=True))
    for name, got, exact in (("y", y[0, rows], attention @ v), ("dquery", dquery[0, rows], denergy @ k)):
        assert float(cupy.abs(got - exact).max() / cupy.abs(exact).max()) < tolerance, name
    # Over its columns attention·dy sums to Σ dy, and denergy to 0, since rows of attention sum to 1.
    total = g.sum(axis=0)
    off = cupy.abs(dvalue[0].astype(np.float64).sum(axis=0) - total).max() / cupy.abs(total).max()
    assert float(off) < 10 * tolerance
    assert bool(cupy.isfinite(dkey).all())
