"""Arrays in a page's JSON come back as they were, or as far off as was said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segattn_cli.rendering import pack, quantise, unpack


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_exact(rng: np.random.Generator, dtype: str) -> None:
    array = (1000 * rng.standard_normal((3, 4, 5))).astype(dtype)
    block = json.loads(json.dumps(pack(array)))
    assert "error" not in block
    np.testing.assert_array_equal(unpack(block), array)
    assert unpack(block).dtype == dtype


def test_non_contiguous_and_big_endian(rng: np.random.Generator) -> None:
    array = rng.integers(0, 9, (4, 6)).astype(">i4")[::2, ::-1]
    np.testing.assert_array_equal(unpack(pack(array)), array)


@pytest.mark.parametrize(("tolerance", "dtype"), [(1e-2, "uint8"), (1e-4, "uint16"), (1e-9, "float32")])
def test_tolerance_is_kept(rng: np.random.Generator, tolerance: float, dtype: str) -> None:
    array = rng.random((50, 7))
    block = pack(array, tolerance=tolerance)
    assert block["dtype"] == dtype
    off = np.abs(unpack(block) - array).max()
    if dtype != "float32":
        assert off == pytest.approx(block["error"])
        assert 0 < off <= tolerance


def test_columns_have_levels_of_their_own(rng: np.random.Generator) -> None:
    array = rng.random((40, 3)) * [1, 1000, 0] + [0, -500, 7]
    found = quantise(array, "uint8", columns=True)
    assert (np.abs(found.values - array).max(0) <= [1 / 500, 1000 / 500, 1e-6]).all()
    np.testing.assert_array_equal(unpack(pack(found)), found.values)


def test_constant() -> None:
    np.testing.assert_array_equal(unpack(pack(np.full((2, 2), 3.5), tolerance=0.1)), 3.5)
