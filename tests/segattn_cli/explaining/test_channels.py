from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

import reference.ops as ops
from backends.contract import ChannelForm
from segattn_cli.explaining.channels import (
    MOST_NUMBERS,
    MOST_POSITIONS,
    SAME,
    sampling,
    similar_order,
    view_channels,
    without_each,
)

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("form", ["released", "paper"])
def test_the_map_by_its_formula(form: ChannelForm) -> None:
    features, attended = np.abs(RNG.standard_normal((2, 30, 6))).astype(np.float32)
    view = view_channels(1.0, (5, 6), form, -0.5, features, attended, RNG.standard_normal((5, 6, 4)))
    channels = features.astype(np.float64).T
    for j in range(6):
        energy = np.array([sum(channels[j] * channels[i]) for i in range(6)])
        np.testing.assert_allclose(view.attention[j], softmax(energy if form == "paper" else -energy), rtol=1e-9)
    assert view.fraction == pytest.approx(0.5 * np.linalg.norm(attended) / np.linalg.norm(features), rel=1e-5)
    np.testing.assert_array_equal(view.features, features.reshape(5, 6, 6))
    assert sorted(view.order) == list(range(6))


def test_enormous_features_have_no_nan() -> None:
    features = np.float32(1e18) * np.abs(RNG.standard_normal((12, 4))).astype(np.float32)
    view = view_channels(1.0, (3, 4), "paper", 1.0, features, features, np.zeros((3, 4, 2)))
    np.testing.assert_allclose(view.attention.sum(1), 1)
    assert view.fraction == pytest.approx(1)


def test_large_maps_are_shown_at_some_positions_exactly() -> None:
    features = RNG.standard_normal((90 * 70, 3)).astype(np.float32)
    scores = RNG.standard_normal((90, 70, 4))
    view = view_channels(1.0, (90, 70), "released", 1.0, features, features, scores)
    assert view.step == sampling((90, 70), 3) == 2
    for y, x in ((0, 0), (7, 30), (44, 34)):
        np.testing.assert_array_equal(view.features[y, x], features[2 * y * 70 + 2 * x])
        assert view.label[y, x] == scores[2 * y, 2 * x].argmax()
    assert view.without.shape == (3, *view.label.shape)
    assert (view.without == SAME).all()


@pytest.mark.parametrize(("grid", "channels"), [((1, 1), 1), ((1, 4000), 8), ((128, 256), 512), ((33, 47), 2048)])
def test_as_much_is_shown_as_fits(grid: tuple[int, int], channels: int) -> None:
    def positions(step: int) -> int:
        return len(range(0, grid[0], step)) * len(range(0, grid[1], step))

    def fits(step: int) -> bool:
        return positions(step) <= MOST_POSITIONS and positions(step) * channels <= MOST_NUMBERS

    step = sampling(grid, channels)
    assert fits(step)
    assert step == 1 or not fits(step - 1)


def test_like_channels_stand_side_by_side_and_dead_ones_last() -> None:
    rng = np.random.default_rng(8)
    kinds = rng.permutation(np.repeat([0, 1, 2], 5))
    base = np.abs(rng.standard_normal((40, 3)))
    features = base[:, kinds] * rng.uniform(0.5, 9, 15) + 0.01 * rng.standard_normal((40, 15))
    features[:, [3, 11]] = 0
    order = similar_order(features.astype(np.float32))
    assert sorted(order) == list(range(15))
    assert set(order[-2:]) == {3, 11}
    met = kinds[order[:-2]]
    assert (np.diff(met) != 0).sum() == 2  # three kinds, each in one piece


@pytest.mark.parametrize("alive", [0, 1, 2])
def test_the_order_of_hardly_any_channels(alive: int) -> None:
    features = np.zeros((9, 4), np.float32)
    features[:, 3 - alive + 1 :] = 1
    assert sorted(similar_order(features)) == [0, 1, 2, 3]


@pytest.mark.parametrize("is_dual", [False, True])
@pytest.mark.parametrize(("height", "width", "step"), [(6, 7, 1), (7, 5, 2), (8, 9, 3), (1, 1, 1), (1, 6, 2)])
def test_each_channel_taken_out_by_convolving_anew(height: int, width: int, step: int, is_dual: bool) -> None:
    rng = np.random.default_rng(height)
    attended = np.abs(rng.standard_normal((height, width, 6)))
    weight, bias = rng.standard_normal((3, 3, 6, 5)), rng.standard_normal(5)
    position = rng.standard_normal((height, width, 5)) if is_dual else None
    classifier = rng.standard_normal((5, 4)), rng.standard_normal(4)

    def labels(features: np.ndarray) -> np.ndarray:
        refined, _ = ops.conv2d_relu(features[None], weight, bias, padding=1)
        summed = refined[0] if position is None else refined[0] + position
        return (summed @ classifier[0] + classifier[1]).argmax(-1)[::step, ::step]

    label, without = without_each(attended, step, weight, bias, position, classifier)
    np.testing.assert_array_equal(label, labels(attended))
    changes = 0
    for channel in range(6):
        left = attended.copy()
        left[:, :, channel] = 0
        now = labels(left)
        changes += (now != label).sum()
        np.testing.assert_array_equal(without[channel], np.where(now == label, SAME, now))
    assert changes > 0  # something to agree on
