from __future__ import annotations

from time import thread_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segattn_cli.data import IGNORE_LABEL, AugmentationConfig, SceneOptions, Scenes, augment, stream
from segattn_cli.data.colours import MEAN_COLOUR

IMAGE, LABEL, _ = Scenes("val", SceneOptions(size=(60, 80))).load(0)


def plain(crop: tuple[int, int] = (60, 80), **changes: Any) -> AugmentationConfig:
    """A configuration that changes nothing but what it is told to."""
    return AugmentationConfig(crop=crop, **{"scale": (1.0, 1.0), "flip": 0.0, "photometric": 0.0} | changes)


def view(config: AugmentationConfig, sample: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return augment(IMAGE, LABEL, stream("test", 0, 0, sample), config)


def test_nothing_asked_for_nothing_changed() -> None:
    image, label = view(plain())
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(label, LABEL)


def test_flip_turns_image_and_mask() -> None:
    image, label = view(plain(flip=1.0))
    np.testing.assert_array_equal(image, IMAGE[:, ::-1])
    np.testing.assert_array_equal(label, LABEL[:, ::-1])


def test_half_of_the_images_flip() -> None:
    flipped = sum((view(plain(flip=0.5), sample)[1] != LABEL).any() for sample in range(200))
    assert 75 < flipped < 125


def test_the_same_random_numbers_give_the_same_view() -> None:
    config = AugmentationConfig(crop=(40, 50), cat_max_ratio=0.5)
    for first, second in zip(view(config, 3), view(config, 3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (view(config, 3)[0] != view(config, 4)[0]).any()


def test_a_crop_is_a_part_of_the_image() -> None:
    seen = set()
    for sample in range(200):
        image, label = view(plain(crop=(57, 78)), sample)
        places = [
            (top, left)
            for top in range(4)
            for left in range(3)
            if (IMAGE[top : top + 57, left : left + 78] == image).all()
        ]
        assert len(places) == 1
        top, left = places[0]
        np.testing.assert_array_equal(label, LABEL[top : top + 57, left : left + 78])
        seen.add(places[0])
    assert len(seen) == 12  # every place is reached


def test_what_the_image_does_not_fill_is_padded() -> None:
    image, label = view(plain(crop=(90, 120), scale=(0.5, 0.5)))
    assert label[30:].min() == label[:, 40:].min() == IGNORE_LABEL
    assert label[:30, :40].max() < IGNORE_LABEL
    assert (image[30:] == MEAN_COLOUR).all()
    assert (image[:, 40:] == MEAN_COLOUR).all()


@pytest.mark.parametrize("factor", [0.5, 1.25, 3.0])
def test_scaling_makes_things_larger(factor: float) -> None:
    """Of the middle 20×20 of an image, ``20·factor`` squared are left."""
    label = np.zeros((60, 80), np.uint8)
    label[20:40, 30:50] = 1
    image = np.repeat(label[..., None] * np.uint8(200), 3, axis=2)
    config = plain(crop=(180, 240), scale=(factor, factor))
    seen_image, seen_label = augment(image, label, stream("test", 0), config)
    assert np.sqrt((seen_label == 1).sum()) == pytest.approx(20 * factor, abs=1)
    assert (seen_label != IGNORE_LABEL).sum() == round(60 * factor) * round(80 * factor)
    assert np.sqrt((seen_image[seen_label != IGNORE_LABEL] > 100).sum() / 3) == pytest.approx(20 * factor, abs=1)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.tuples(st.integers(1, 90), st.integers(1, 110)))
def test_image_and_mask_stay_together(sample: int, crop: tuple[int, int]) -> None:
    """An image that shows its label in flat colours still does, away from the edges between colours."""
    blocks = np.random.default_rng(sample).choice(np.array([0, 60, 120, 180], np.uint8), (3, 4))
    label = blocks.repeat(20, axis=0).repeat(20, axis=1)
    image = np.repeat(label[..., None], 3, axis=2)
    config = plain(crop=crop, scale=(0.5, 2.0), flip=0.5, cat_max_ratio=0.75)
    seen_image, seen_label = augment(image, label, stream("test", 1, 0, sample), config)
    assert seen_image.shape == (*crop, 3)
    assert seen_label.shape == crop
    known = seen_label != IGNORE_LABEL
    assert set(seen_label[known]) <= {0, 60, 120, 180}
    agree = np.abs(seen_image[known, 0].astype(int) - seen_label[known]) <= 2
    edges = 2 * (seen_label.shape[0] * 4 + seen_label.shape[1] * 5)  # pixels beside an edge between blocks
    assert agree.size - agree.sum() <= edges
    assert known.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3, 5000)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    config = AugmentationConfig(crop=(32, 40))
    for sample in range(20):
        image, label = augment(
            np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), stream("test", 0, 0, sample), config
        )
        assert image.shape == (32, 40, 3)
        assert (label == 0).any()


class Recording:
    """A generator that notes which numbers are drawn from it."""

    def __init__(self, sample: int = 0) -> None:
        self.rng = stream("test", 0, 0, sample)
        self.drawn: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.drawn.append(name)
        return getattr(self.rng, name)


def test_what_is_not_asked_for_draws_no_random_numbers() -> None:
    """So an older configuration gives the views that it gave before there were more changes."""
    rng: Any = Recording()
    augment(IMAGE, LABEL, rng, AugmentationConfig(crop=(30, 40)))
    assert rng.drawn == ["uniform", "integers", "integers", "uniform", "random"]  # scale, place, colours, flip
    rng = Recording()
    augment(IMAGE, LABEL, rng, plain())
    assert rng.drawn == ["uniform", "integers", "integers", "random"]


def test_upside_down() -> None:
    image, label = view(plain(flip_vertical=1.0))
    np.testing.assert_array_equal(image, IMAGE[::-1])
    np.testing.assert_array_equal(label, LABEL[::-1])


def test_a_part_of_the_views_is_enlarged() -> None:
    """The recipe ``scale`` 0.5 to 1, one crop in five a quarter larger: the padded part tells the factor."""
    config = plain(crop=(90, 120), scale=(0.5, 1.0), enlarge=0.2)
    factors = []
    for sample in range(300):
        _, label = view(config, sample)
        factors.append((label != IGNORE_LABEL).any(1).sum() / 60)
    assert 1.1 < max(factors) <= 1.25
    assert min(factors) < 0.55
    assert 0.02 < np.mean(np.array(factors) > 1) < 0.15  # a fifth of those that were above 0.8: 8 %


class TestRotation:
    def turned(self, degrees: float, image: np.ndarray, label: np.ndarray, **changes: Any) -> Any:
        rng: Any = Fixed(degrees)
        return augment(image, label, rng, plain(label.shape, rotation=180, **changes))

    @pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, -1)])
    def test_quarter_turns_of_a_square(self, degrees: float, turns: int) -> None:
        image, label = self.turned(degrees, IMAGE[:60, :60], LABEL[:60, :60])
        np.testing.assert_array_equal(label, np.rot90(LABEL[:60, :60], turns))
        difference = image.astype(int) - np.rot90(IMAGE[:60, :60], turns)
        assert np.abs(difference).max() <= 1  # Pillow cuts the fraction off

    @pytest.mark.parametrize("degrees", [-170, -33, 7, 45, 120])
    def test_each_pixel_comes_from_the_place_that_the_angle_gives(self, degrees: float) -> None:
        _, seen = self.turned(degrees, IMAGE, LABEL)
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        wanted, sure = np.full_like(LABEL, IGNORE_LABEL), np.ones(LABEL.shape, bool)
        for y in range(60):
            for x in range(80):
                across, down = x + 0.5 - 40, y + 0.5 - 30
                from_x, from_y = 40 + cos * across - sin * down, 30 + sin * across + cos * down
                if 0 <= from_x < 80 and 0 <= from_y < 60:
                    wanted[y, x] = LABEL[int(from_y), int(from_x)]
                sure[y, x] = min(abs(from_x - round(from_x)), abs(from_y - round(from_y))) > 0.01
        np.testing.assert_array_equal(seen[sure], wanted[sure])
        assert sure.mean() > 0.9  # the others lie on the edge between two pixels
        assert (wanted == IGNORE_LABEL).any()

    def test_what_the_image_shows_beside_the_crop_turns_into_it(self) -> None:
        """Only the corners of the image itself are lost, not those of each crop."""
        for sample in range(50):
            _, label = view(plain(crop=(30, 30), rotation=180, scale=(3.0, 3.0)), sample)
            assert (label == IGNORE_LABEL).mean() < 0.5
        seen = [view(plain(crop=(20, 20), rotation=180), sample)[1] for sample in range(100)]
        assert sum((label != IGNORE_LABEL).all() for label in seen) > 40

    def test_outside_is_the_mean_colour_and_ignored(self) -> None:
        image, label = self.turned(45, IMAGE, LABEL)
        assert label[0, 0] == label[-1, -1] == IGNORE_LABEL
        assert image[0, 0].tolist() == image[-1, -1].tolist() == MEAN_COLOUR.tolist()

    def test_image_and_mask_turn_together(self) -> None:
        label = np.zeros((60, 80), np.uint8)
        label[:30] = 200
        image = np.repeat(label[..., None], 3, axis=2)
        for sample in range(50):
            seen, mask = view_of(image, label, plain((60, 80), rotation=180, scale=(0.5, 2.0)), sample)
            known = mask != IGNORE_LABEL
            assert (np.abs(seen[known, 0].astype(int) - mask[known]) > 100).mean() < 0.03

    def test_angles_stay_within_the_limit(self) -> None:
        label = np.zeros((60, 80), np.uint8)
        label[30:] = 1
        image = np.zeros((60, 80, 3), np.uint8)
        slopes = []
        for sample in range(200):
            _, seen = view_of(image, label, plain(rotation=20), sample)
            edge = [int((seen[:, x] == 0).sum()) for x in (35, 45)]
            slopes.append((edge[1] - edge[0]) / 10)
        assert min(slopes) < -0.2
        assert max(slopes) > 0.2
        assert np.abs(slopes).max() <= np.tan(np.radians(20)) + 0.15  # the edge is found to a pixel


class Fixed:
    """Stands in for a generator whose angle is given, and which changes nothing else."""

    def __init__(self, degrees: float) -> None:
        self.uniforms = iter([1.0, degrees])

    def uniform(self, low: float, high: float) -> float:
        return next(self.uniforms)

    def integers(self, high: int) -> int:
        return 0

    def random(self) -> float:
        return 1.0


def view_of(
    image: np.ndarray, label: np.ndarray, config: AugmentationConfig, sample: int
) -> tuple[np.ndarray, np.ndarray]:
    return augment(image, label, stream("test", 0, 0, sample), config)


def test_blur_smooths_the_image_and_not_the_mask() -> None:
    def roughness(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image.astype(float), axis=1)).mean())

    noise = stream("noise", 0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    rough = []
    for sample in range(100):
        image, label = view_of(noise, LABEL, plain(blur=0.5), sample)
        np.testing.assert_array_equal(label, LABEL)
        assert abs(image.mean() - noise.mean()) < 2
        rough.append(roughness(image) / roughness(noise))
    blurred = np.array(rough)[np.array(rough) < 1]
    assert 35 < blurred.size < 65
    assert blurred.min() < 0.2
    assert blurred.max() > 0.6


class TestClassBalancedCrop:
    def largest_share(self, label: np.ndarray) -> float:
        counts = np.bincount(label.ravel(), minlength=256)[:IGNORE_LABEL]
        return counts.max() / max(1, counts.sum())

    def test_one_class_fills_no_crop_where_that_can_be_helped(self) -> None:
        label = np.zeros((60, 80), np.uint8)
        label[:, 40:] = 1
        image = np.zeros((60, 80, 3), np.uint8)
        shares: dict[float | None, list[float]] = {None: [], 0.75: []}
        for ratio, found in shares.items():
            for sample in range(100):
                _, seen = augment(image, label, stream("test", 0, 0, sample), plain((20, 20), cat_max_ratio=ratio))
                found.append(self.largest_share(seen))
        assert np.mean(np.array(shares[None]) > 0.75) > 0.5
        assert np.mean(np.array(shares[0.75]) > 0.75) < 0.25

    def test_void_does_not_count_as_a_class(self) -> None:
        """Half of every crop is 0, half is 1, of a fifth that is labelled: the first crop will do."""
        label = np.full((60, 80), IGNORE_LABEL, np.uint8)
        label[:, 8::10], label[:, 9::10] = 0, 1
        for sample in range(20):
            rngs = (stream("test", 0, 0, sample) for _ in range(2))
            _, first = augment(IMAGE, label, next(rngs), plain((20, 20)))
            _, balanced = augment(IMAGE, label, next(rngs), plain((20, 20), cat_max_ratio=0.6))
            np.testing.assert_array_equal(first, balanced)

    @pytest.mark.parametrize("value", [0, IGNORE_LABEL])
    def test_what_cannot_be_helped_is_taken_as_it_is(self, value: int) -> None:
        label = np.full((60, 80), value, np.uint8)
        _, seen = augment(IMAGE, label, stream("test", 0), plain((20, 20), cat_max_ratio=0.75))
        assert (seen == value).all()


class Chosen:
    """Stands in for a generator: brightness, contrast, saturation, hue as told, in parts of their ranges."""

    def __init__(self, *parts: float) -> None:
        self.parts = np.array(parts)

    def uniform(self, low: float, high: float, count: int | None = None) -> Any:
        return 1.0 if count is None else high * self.parts

    def integers(self, high: int) -> int:
        return 0

    def random(self) -> float:
        return 1.0


class TestColours:
    def seen(self, colour: tuple[int, int, int], *parts: float, strength: float = 1.0) -> list[int]:
        image = np.full((1, 1, 3), colour, np.uint8)
        rng: Any = Chosen(*parts)
        seen, _ = augment(image, np.zeros((1, 1), np.uint8), rng, plain((1, 1), photometric=strength))
        return seen[0, 0].tolist()

    def test_brightness_adds(self) -> None:
        assert self.seen((100, 150, 50), 1, 0, 0, 0) == [132, 182, 82]
        assert self.seen((100, 150, 50), -0.5, 0, 0, 0) == [84, 134, 34]
        assert self.seen((10, 250, 50), 1, 0, 0, 0) == [42, 255, 82]

    def test_contrast_stretches_about_the_mean_colour(self) -> None:
        assert self.seen(tuple(MEAN_COLOUR.tolist()), 0, 1, 0, 0) == MEAN_COLOUR.tolist()
        assert self.seen((164, 96, 104), 0, 1, 0, 0) == [184, 86, 104]

    def test_without_saturation_only_luma_is_left(self) -> None:
        shift = MEAN_COLOUR - MEAN_COLOUR @ [0.299, 0.587, 0.114]  # the mean colour itself keeps its tint
        wanted = np.array([100, 150, 50]) @ [0.299, 0.587, 0.114] + shift
        np.testing.assert_allclose(self.seen((100, 150, 50), 0, 0, -2, 0), wanted, atol=1)

    def test_a_third_of_a_turn_in_hue_exchanges_the_channels(self) -> None:
        wanted = np.array([50, 100, 150]) + MEAN_COLOUR - MEAN_COLOUR[[2, 0, 1]]
        np.testing.assert_allclose(self.seen((100, 150, 50), 0, 0, 0, 120 / 18), wanted, atol=1)

    def test_each_limit_is_a_key(self) -> None:
        image, label = np.full((1, 1, 3), (100, 150, 50), np.uint8), np.zeros((1, 1), np.uint8)
        rng: Any = Chosen(1, 1, 1, 1)
        only_brightness = plain((1, 1), photometric=1.0, brightness=10, contrast=0, saturation=0, hue=0)
        assert augment(image, label, rng, only_brightness)[0][0, 0].tolist() == [110, 160, 60]
        only_contrast = plain((1, 1), photometric=0.5, brightness=0, contrast=1.0, saturation=0, hue=0)
        wanted = MEAN_COLOUR + 1.5 * (np.array([100, 150, 50]) - MEAN_COLOUR)
        np.testing.assert_allclose(augment(image, label, rng, only_contrast)[0][0, 0], wanted, atol=1)

    def test_each_change_is_made_with_its_own_probability(self) -> None:
        grey = np.full((1, 1, 3), MEAN_COLOUR, np.uint8)  # only brightness changes it
        tinted = np.full((1, 1, 3), MEAN_COLOUR + np.array([60, 0, -60]), np.uint8)
        config = plain((1, 1), photometric=1.0, photometric_probability=0.25)
        label = np.zeros((1, 1), np.uint8)
        unchanged = {"grey": 0, "tinted": 0}
        for sample in range(400):
            unchanged["grey"] += (view_of(grey, label, config, sample)[0] == grey).all()
            unchanged["tinted"] += (view_of(tinted, label, config, sample)[0] == tinted).all()
        assert 270 < unchanged["grey"] < 340  # three quarters, and the few whose change rounds to 0
        assert 95 < unchanged["tinted"] < 165  # 0.75⁴, a third

    def test_strength_widens_all_ranges(self) -> None:
        assert self.seen((100, 150, 50), 1, 0, 0, 0, strength=0.5) == [116, 166, 66]

    def test_colours_vary_within_bounds(self) -> None:
        grey = np.full((60, 80, 3), 120, np.uint8)
        seen = [
            augment(grey, LABEL, stream("test", 0, 0, sample), plain(photometric=1.0))[0].mean()
            for sample in range(100)
        ]
        assert min(seen) < 100 < 140 < max(seen)
        assert 80 < min(seen) < max(seen) < 160

    def test_masks_and_padding_keep_their_values(self) -> None:
        image, label = view(plain(crop=(90, 120), photometric=1.0))
        np.testing.assert_array_equal(label[:60, :80], LABEL)
        assert (image[60:] == MEAN_COLOUR).all()
        assert (image[:60, :80] != IMAGE).any()


def test_a_view_takes_a_few_milliseconds() -> None:
    image, label, _ = Scenes("val", SceneOptions(size=(360, 480))).load(0)
    config = AugmentationConfig(crop=(180, 240), scale=(0.5, 1.25), cat_max_ratio=0.75)
    seconds = []
    for sample in range(20):
        begin = thread_time()
        augment(image, label, stream("test", 0, 0, sample), config)
        seconds.append(thread_time() - begin)
    assert min(seconds) < 0.010
