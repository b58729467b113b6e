from __future__ import annotations

import numpy as np
import pytest

from segattn_cli.costs.shape_array import CostMeter, ShapeArray


def test_memory_is_counted_while_something_refers_to_it() -> None:
    meter = CostMeter()
    a = ShapeArray((100,), np.float32, meter)
    b = a + 1.0
    view = b.reshape(10, -1)[..., 2:5]
    assert (view.shape, meter.alive, meter.peak) == ((10, 3), 800, 800)
    del a, b
    assert meter.alive == 400  # the view holds on to it
    del view
    assert (meter.alive, meter.peak) == (0, 800)


def test_workspaces_add_to_the_peak_of_arrays() -> None:
    meter = CostMeter(workspace=100, scratch=7)
    ShapeArray((5,), np.float32, meter)
    assert (meter.alive, meter.peak, meter.total(threads=3)) == (0, 20, 141)


@pytest.mark.parametrize("index", [1, (0, 2), np.s_[..., 1:3], np.s_[1:, ::2], np.s_[:, None, -1]])
def test_views_have_the_shape_of_numpys(index: object) -> None:
    wanted = np.zeros((2, 5, 4))[index]  # type: ignore[index]
    assert ShapeArray((2, 5, 4), np.float32, CostMeter())[index].shape == wanted.shape


@pytest.mark.parametrize("shape", [(-1,), (10, -1), (-1, 5, 2), (2, 20)])
def test_reshaped_as_numpy_does(shape: tuple[int, ...]) -> None:
    array = ShapeArray((2, 5, 4), np.float32, CostMeter())
    wanted = np.zeros((2, 5, 4)).reshape(shape)
    assert array.reshape(shape).shape == array.reshape(*shape).shape == wanted.shape


def test_sums_broadcast_and_keep_the_dtype() -> None:
    meter = CostMeter()
    x, row = ShapeArray((2, 5, 4), np.float32, meter), ShapeArray((4,), np.float32, meter)
    for y in (x + row, row * x, 0.5 * x, x - row, x / 2.0, 1.0 - x, x**0.5):
        assert (y.shape, y.dtype) == ((2, 5, 4), np.float32)
