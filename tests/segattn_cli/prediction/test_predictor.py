from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.special import softmax

import reference.ops as ops
from reference.layers.context import Context
from reference.networks import NetworkConfig, build_network
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import UsageError
from segattn_cli.prediction.predictor import Predictor, entropy_of, window_starts

CLASSES = 4


def trained(**options: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A small network whose every parameter has been moved, running statistics too."""
    network = build_network(NetworkConfig(classes=CLASSES, backbone="tiny", scale_attention_channels=8, **options))
    rng = np.random.default_rng(1)
    params = {}
    for name, value in network.initialise(seed=2).items():
        noise = rng.standard_normal(value.shape).astype(np.float32)
        params[name] = np.float32(np.abs(value + 0.3 * noise) if "running" in name else value + 0.1 * noise)
    return network, params


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours with an edge, so that scale and position matter."""
    rows, columns = np.mgrid[:height, :width]
    channels = [np.sin(rows / 7) + (columns > width / 3), np.cos(columns / 5), np.sin((rows + columns) / 11)]
    return np.uint8(np.clip(128 + 60 * np.stack(channels, -1), 0, 255))


@pytest.fixture(scope="module")
def plain() -> tuple[Any, dict[str, np.ndarray]]:
    return trained(head="dual")


def resized(maps: np.ndarray, size: tuple[int, int], *, align_corners: bool = False) -> np.ndarray:
    """Bilinear with half-pixel centres, or from corner pixel to corner pixel, by SciPy's interpolation."""
    if align_corners:
        points = [np.linspace(0, old - 1, new) for old, new in zip(maps.shape[:2], size, strict=True)]
    else:
        points = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(maps.shape[:2], size, strict=True)]
    grid = np.meshgrid(*points, indexing="ij")
    return np.stack([map_coordinates(m, grid, order=1, mode="nearest") for m in np.moveaxis(maps, -1, 0)], -1)


def raw(network: Any, params: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """The unfolded network's scores on its own grid."""
    return network.predict(normalise(image)[None], Context(ops, params))[0]


def test_scales_and_mirroring_average_the_probabilities_of_every_pass(plain: Any) -> None:
    image = picture(37, 50)
    expected = np.zeros((37, 50, CLASSES))
    for scale in (0.5, 1.0, 1.3):
        size = (round(50 * scale), round(37 * scale))  # Pillow's order
        scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        for turned in (scaled, scaled[:, ::-1]):
            probabilities = softmax(resized(raw(*plain, turned), (37, 50)), axis=-1)
            expected += (probabilities if turned is scaled else probabilities[:, ::-1]) / 6
    scores = Predictor(*plain, ops, scales=(0.5, 1.0, 1.3), flip=True).scores(image)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert np.ptp(expected, axis=(0, 1)).max() > 0.1  # something to agree on


def test_one_plain_pass_gives_the_networks_own_scores(plain: Any) -> None:
    image = picture(40, 48)
    predictor = Predictor(*plain, ops)
    expected = resized(raw(*plain, image), (40, 48))  # by the network whose batch norms are not folded
    np.testing.assert_allclose(predictor.scores(image), expected, atol=2e-5 * np.abs(expected).max())
    label = predictor.label(image)
    assert label.dtype == np.uint8
    assert (label == predictor.scores(image).argmax(-1)).all()
    assert len(np.unique(label)) > 1


def test_corners_are_aligned_as_in_the_network() -> None:
    network, params = trained(head="fcn", align_corners=True)
    image = picture(41, 33)
    expected = resized(raw(network, params, image), (41, 33), align_corners=True)
    scores = Predictor(network, params, ops).scores(image)
    np.testing.assert_allclose(scores, expected, atol=2e-5 * np.abs(expected).max())


def test_one_window_that_covers_the_picture_changes_nothing(plain: Any) -> None:
    image = picture(40, 56)
    whole = softmax(Predictor(*plain, ops).scores(image), axis=-1)
    np.testing.assert_allclose(Predictor(*plain, ops, window=(40, 56)).scores(image), whole, atol=1e-6)


def test_windows_average_where_they_overlap_and_end_at_the_edge(plain: Any) -> None:
    image = picture(40, 50)
    total, cover = np.zeros((40, 50, CLASSES)), np.zeros((40, 50, 1))
    for top in (0, 16):  # 24 rows of 40: the second would start at 20 and is shifted inside
        for left in (0, 20, 26):
            crop = image[top : top + 24, left : left + 24]
            total[top : top + 24, left : left + 24] += softmax(resized(raw(*plain, crop), (24, 24)), axis=-1)
            cover[top : top + 24, left : left + 24] += 1
    scores = Predictor(*plain, ops, window=(24, 24), stride=(20, 20)).scores(image)
    np.testing.assert_allclose(scores, total / cover, atol=2e-5)


def test_a_picture_smaller_than_the_window_is_padded_with_the_mean_colour(plain: Any) -> None:
    image = picture(20, 50)
    padded = np.zeros((32, 50, 3), np.float32)
    padded[:20] = normalise(image)
    grid = plain[0].predict(padded[None], Context(ops, plain[1]))[0]
    expected = softmax(resized(grid, (32, 50)), axis=-1)[:20]
    scores = Predictor(*plain, ops, window=(32, 50)).scores(image)
    np.testing.assert_allclose(scores, expected, atol=2e-5)


def test_a_mirrored_picture_has_mirrored_scores(plain: Any) -> None:
    predictor = Predictor(*plain, ops, flip=True)
    image = picture(32, 43)
    np.testing.assert_allclose(predictor.scores(image[:, ::-1]), predictor.scores(image)[:, ::-1], atol=1e-5)
    unflipped = Predictor(*plain, ops)
    assert np.abs(unflipped.scores(image[:, ::-1]) - unflipped.scores(image)[:, ::-1]).max() > 1e-2


def test_a_reduced_size_is_what_the_network_sees(plain: Any) -> None:
    image = picture(60, 80)
    small = np.asarray(Image.fromarray(image).resize((40, 30), Image.Resampling.BILINEAR))
    expected = resized(raw(*plain, small), (60, 80))
    scores = Predictor(*plain, ops, size=(30, 40)).scores(image)
    np.testing.assert_allclose(scores, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (333, 2), (17, 19)])
@pytest.mark.parametrize(
    "options",
    [{}, {"scales": (0.5, 1.5), "flip": True}, {"window": (16, 24)}, {"scales": (0.1, 2), "window": (7, 9)}],
)
def test_any_size_of_picture_gets_scores_of_its_own_size(size: tuple[int, int], options: Any) -> None:
    predictor = Predictor(*trained(head="dual", scales=(1.0, 0.5)), ops, **options)
    scores = predictor.scores(picture(*size))
    assert scores.shape == (*size, CLASSES)
    assert np.isfinite(scores).all()
    if options:
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)


def test_the_mean_weight_of_each_scale_is_reported() -> None:
    network, params = trained(head="fcn", scales=(1.0, 0.5), fusion="attention")
    image = picture(32, 32)
    _, weights = network.predict_with_weights(normalise(image)[None], Context(ops, params))
    found = Predictor(network, params, ops).predict(image).scale_weights
    assert found is not None
    np.testing.assert_allclose(found, weights.mean((0, 1, 2)), atol=1e-5)
    assert found[0] != pytest.approx(found[1], abs=1e-3)
    assert Predictor(*trained(head="fcn"), ops).predict(image).scale_weights is None


def test_the_fast_backend_gives_the_same(plain: Any) -> None:
    import backends.numpy as fast

    image = picture(45, 39)
    options = {"scales": (0.7, 1.0), "flip": True, "window": (32, 32)}
    expected = Predictor(*plain, ops, **options).scores(image)
    np.testing.assert_allclose(Predictor(*plain, fast, **options).scores(image), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scales": ()}, "Scales must be positive"),
        ({"scales": (1.0, 0.0)}, "Scales must be positive"),
        ({"window": (0, 5)}, "at least one pixel, got 0,5"),
        ({"stride": (4, 4)}, "give the size of a window, too"),
        ({"window": (8, 8), "stride": (4, 9)}, "A stride of 4,9 leaves gaps between windows of 8,8"),
        ({"window": (8, 8), "stride": (0, 8)}, "A stride of 0,8"),
    ],
)
def test_options_that_cannot_work_are_refused(plain: Any, options: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Predictor(*plain, ops, **options)


@pytest.mark.parametrize("length", range(5, 40))
@pytest.mark.parametrize("stride", [1, 3, 5])
def test_windows_cover_the_axis_without_gaps(length: int, stride: int) -> None:
    starts = window_starts(length, 5, stride)
    covered = {start + offset for start in starts for offset in range(5)}
    assert covered == set(range(length))
    assert len(starts) == len(set(starts))


@pytest.mark.parametrize("size", [(37, 50), (24, 60), (9, 11), (61, 20)])
@pytest.mark.parametrize(
    "passes",
    [
        {"window": (24, 24)},
        {"window": (16, 20), "stride": (16, 7)},
        {},
        {"size": (20, 30)},
        {"scales": (0.5, 1.0, 1.3), "size": (20, 20)},
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_maps_in_bands_are_those_of_the_whole(
    plain: Any, size: tuple[int, int], passes: dict[str, Any], flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segattn_cli.prediction.predictor._BAND_VALUES", 7 * size[1] * CLASSES)  # 7 rows
    predictor = Predictor(*plain, ops, flip=flip, **passes)
    assert predictor.has_bands
    image = picture(*size)
    whole = predictor.predict(image)
    maps = predictor.maps(image, confidence=True, entropy=True)
    np.testing.assert_array_equal(maps.label, predictor.label_of(whole))
    np.testing.assert_allclose(maps.confidence, predictor.confidence_of(whole), rtol=1e-6)
    np.testing.assert_allclose(maps.entropy, entropy_of(predictor.probabilities_of(whole)), rtol=1e-5)
    assert predictor.maps(image)[1:3] == (None, None)


def test_windows_have_bands_at_full_size_alone(plain: Any) -> None:
    for options in ({"scales": (0.5, 1.0)}, {"size": (20, 20)}):
        predictor = Predictor(*plain, ops, window=(24, 24), **options)
        assert not predictor.has_bands
        image = picture(37, 50)
        np.testing.assert_array_equal(predictor.maps(image).label, predictor.label_of(predictor.predict(image)))


def test_memory_of_bands_does_not_grow_with_the_height(plain: Any) -> None:
    """What an image of eight times the height needs more is a small part of its scores."""
    predictor = Predictor(*plain, ops, window=(24, 24), flip=True)
    predictor.maps(np.zeros((24, 48, 3), np.uint8))  # what is remembered for the next call
    peaks = []
    for height in (96, 768):
        image = np.zeros((height, 48, 3), np.uint8)
        tracemalloc.start()
        predictor.maps(image)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    scores = 768 * 48 * CLASSES * 4
    assert peaks[1] - peaks[0] < scores / 3


@pytest.mark.parametrize("passes", [{}, {"scales": (0.5, 1.0), "flip": True}])
def test_scores_of_the_whole_image_are_never_in_memory(passes: dict[str, Any]) -> None:
    """A network at an output stride of 8 leaves a small part of the scores of all pixels."""

    class Even:
        config = NetworkConfig(classes=64, backbone="tiny")

        def fold(self, params: Any) -> Any:
            return params

        def predict_with_weights(self, images: np.ndarray, ctx: Context) -> tuple[np.ndarray, None]:
            _, height, width, _ = images.shape
            return np.ones((1, height // 8, width // 8, 64), np.float32), None

    predictor = Predictor(Even(), {}, ops, size=(64, 64), **passes)
    image = np.zeros((1024, 1024, 3), np.uint8)
    tracemalloc.start()
    predictor.maps(image, confidence=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1024 * 1024 * 64 * 4 / 2
