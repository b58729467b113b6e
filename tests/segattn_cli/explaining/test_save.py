from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import reference.ops as ops
from segattn_cli.errors import OutputError
from segattn_cli.explaining import Explanation, explain
from segattn_cli.explaining.drawings import Drawing, all_drawings, overview
from segattn_cli.explaining.positions import view_positions
from segattn_cli.explaining.save import arrays, write_arrays, write_drawings, write_overview
from segattn_cli.runs import Model

POINT = (20, 30)  # of a picture of 60×80; it is shown at 30×40
BOTH = {"head": "dual", "scales": [1.0, 0.5]}
Explained = tuple[Model, Explanation]


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(40, 220, (height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def both(model_of: Callable[..., Model]) -> Explained:
    model = model_of(**BOTH)
    return model, explain(model, ops, photo(60, 80), "street", max_side=40)


@pytest.fixture(scope="module")
def single(model_of: Callable[..., Model]) -> Explained:
    model = model_of(head="position")
    return model, explain(model, ops, photo(60, 80), "street", max_side=40)


def read(made: Iterable[Drawing], name: str) -> np.ndarray:
    """The drawing called ``name``, of which those after it are not made."""
    png = next(png for each, png in made if each == name)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.slow
def test_the_pictures_of_a_network_with_everything(both: Explained, tmp_path: Path) -> None:
    model, found = both
    written = write_drawings(found, tmp_path / "maps" / "street", model.classes, model.palette, [POINT, (80, 0)])
    of_scales = [
        f"{name}-scale-{scale}"
        for name in (
            "position-row-20-30", "position-column-20-30", "position-received", "position-reach", "position-gate",
            "channel-map", "channel-features",
        )
        for scale in (1, 0.5)
    ]
    experiments = [f"experiment-{each.name}" for each in found.experiments]
    scales = ["scale-weight-1", "scale-weight-0.5", "scale-winner"]
    assert sorted(path.stem for path in written) == sorted(["prediction", *of_scales, *experiments, *scales])
    assert sorted(path.name for path in (tmp_path / "maps" / "street").iterdir()) == sorted(p.name for p in written)
    for path in written:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_the_pictures_of_a_network_of_one_scale_have_plain_names(single: Explained, tmp_path: Path) -> None:
    model, found = single
    written = write_drawings(found, tmp_path, model.classes, model.palette, [POINT, POINT])
    assert [path.name for path in written] == [
        "prediction.png", "position-row-20-30.png", "position-column-20-30.png", "position-received.png",
        "position-reach.png", "position-gate.png", "experiment-position-removed.png",
        "experiment-position-uniform.png",
    ]  # fmt: skip


def test_the_overview_needs_no_experiments(model_of: Callable[..., Model], tmp_path: Path) -> None:
    brief = explain(model_of(head="dual"), ops, photo(60, 80), "street", max_side=40, experiments=False)
    written = write_overview(brief, tmp_path / "street")
    assert [path.name for path in written] == [
        "position-received.png", "position-reach.png", "position-gate.png", "channel-map.png",
    ]


def test_a_map_has_the_colours_of_its_values_where_they_belong(single: Explained) -> None:
    """One bright cell, in the lower left corner: the brightest spot of the picture is there."""
    _, found = single
    view = found.positions[0]
    received = np.zeros(view.grid)
    received[-1, 0] = 3.0
    flat = replace(found, image=np.full_like(found.image, 128), positions=(replace(view, received=received),))
    drawn = read(overview(flat), "position-received")
    yellow = drawn[..., :2].min(-1) - drawn[..., 2]  # cividis ends in yellow
    blue = (drawn[..., 2] - drawn[..., 0] > 25) & (yellow < 0)
    rows, columns = np.nonzero(blue[:, : drawn.shape[1] * 4 // 5])  # the bar is at the right
    inside = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    where = np.argwhere(yellow[inside] > 60)
    height, width = yellow[inside].shape
    assert len(where) == pytest.approx(height * width / received.size, rel=0.2)
    assert where[:, 0].min() > 0.7 * height
    assert where[:, 1].max() < 0.3 * width
    right = drawn[:, drawn.shape[1] * 4 // 5 :]
    bar = right[(right[..., :2].min(-1) - right[..., 2]) > 60]
    assert np.abs(bar - drawn[inside][tuple(where[len(where) // 2])]).sum(-1).min() < 8  # a colour of the bar


@pytest.mark.parametrize(
    ("kind", "point", "framed", "bright"),
    [
        ("row", (0, 0), (0, 0), (1, 1)), ("row", (79, 0), (0, 1), (1, 0)), ("row", (79, 59), (1, 1), (0, 1)),
        ("column", (0, 0), (0, 0), (1, 0)), ("column", (79, 59), (1, 1), (0, 0)),
    ],
)  # fmt: skip
def test_a_chosen_pixel_is_framed_and_what_it_looks_at_is_bright(
    single: Explained, kind: str, point: tuple[int, int], framed: tuple[int, int], bright: tuple[int, int]
) -> None:
    """Corners are (0, 0) at the upper left and (1, 1) at the lower right; each pixel looks at a single one."""
    model, found = single
    looks_at = np.arange(20)
    looks_at[[0, 19, 4, 15]] = [19, 4, 15, 0]  # of 4×5 pixels in row order: the corners
    query, ones = 9 * np.eye(20), np.ones((20, 1))
    key = np.empty_like(query)
    key[looks_at] = query
    view = view_positions(1, (4, 5), 1.0, query, key, ones, ones)
    flat = replace(found, image=np.full_like(found.image, 90), positions=(view,))
    name = f"position-{kind}-{point[0]}-{point[1]}"
    drawn = read(all_drawings(flat, model.classes, model.palette, [point]), name)
    drawn = drawn[60:, : drawn.shape[1] * 4 // 5]  # without title and bar

    def corner(marked: np.ndarray) -> tuple[int, ...]:
        places = np.argwhere(marked)
        assert len(places) > 20
        return tuple(int(share > 0.5) for share in places.mean(0) / marked.shape)

    assert corner(drawn.min(-1) > 253) == framed  # white; paper is darker
    assert corner(drawn[..., :2].min(-1) - drawn[..., 2] > 60) == bright


@pytest.mark.parametrize(("field", "name"), [("received", "received"), ("reach", "reach"), ("fractions", "gate")])
def test_each_map_is_of_its_own_values(single: Explained, field: str, name: str) -> None:
    """Turned upside down it has the same mean and the same largest value, and is another picture."""
    _, found = single
    view = found.positions[0]
    turned = replace(found, positions=(replace(view, **{field: getattr(view, field)[::-1]}),))
    before, after = dict(overview(found)), dict(overview(turned))
    assert {each for each in before if before[each] != after[each]} == {f"position-{name}"}


def test_the_weights_of_each_scale_and_which_wins(both: Explained) -> None:
    _, found = both
    assert found.scales is not None
    first = np.zeros((*found.grid, 1), np.float32)
    first[:2] = 1
    weights = np.concatenate([first, 1 - first], -1)
    turned = np.concatenate([first, 1 - first[::-1]], -1)

    def drawn(weights: np.ndarray) -> dict[str, bytes]:
        scales = replace(found.scales, weights=weights)
        return dict(overview(replace(found, positions=(), channels=(), scales=scales)))

    before, after, swapped = drawn(weights), drawn(turned), drawn(weights[::-1])
    assert after["scale-weight-1"] == before["scale-weight-1"]
    assert after["scale-weight-0.5"] != before["scale-weight-0.5"]
    assert swapped["scale-winner"] != before["scale-winner"]


def test_each_feature_map_is_shown(model_of: Callable[..., Model]) -> None:
    model = model_of(head="channel")
    found = explain(model, ops, photo(60, 80), "street", max_side=40)
    (view,) = found.channels
    plain = read(all_drawings(found, model.classes, model.palette), "channel-features")
    for channel in (0, 7):
        features = view.features.copy()
        features[..., channel] = features[::-1, :, channel]
        turned = replace(found, channels=(replace(view, features=features),))
        assert (read(all_drawings(turned, model.classes, model.palette), "channel-features") != plain).any()


def test_a_row_of_the_channel_map_is_a_query(model_of: Callable[..., Model]) -> None:
    found = explain(model_of(head="channel"), ops, photo(30, 40), "street", experiments=False)
    (view,) = found.channels
    attention = np.zeros((8, 8))
    attention[view.order[0], view.order[-1]] = 1
    drawn = read(overview(replace(found, channels=(replace(view, attention=attention),))), "channel-map")
    drawn = drawn[:, : drawn.shape[1] * 4 // 5]  # without the bar
    bright = np.argwhere(drawn[..., :2].min(-1) - drawn[..., 2] > 60)
    assert (bright.mean(0) / drawn.shape[:2]).round().tolist() == [0, 1]  # above, at the right


def test_experiments_mark_what_changes_and_nothing_else(single: Explained) -> None:
    model, found = single
    experiment = found.experiments[0]
    palette = np.array([[0, 255, 0]] * 4 + [[255, 0, 255]], np.uint8)
    now = np.full_like(found.label, 4)

    def magenta(before: np.ndarray) -> int:
        changed = replace(found, label=before, experiments=(replace(experiment, label=now),))
        drawn = read(all_drawings(changed, model.classes, palette), f"experiment-{experiment.name}")
        assert not ((drawn[..., 1] > 200) & (drawn[..., 0] < 60)).any()  # the classes that were are not shown
        return int(((drawn[..., 0] > 200) & (drawn[..., 1] < 60) & (drawn[..., 2] > 200)).sum())

    half = now.copy()
    half[:15] = np.arange(40) % 4
    assert magenta(now) == 0
    assert magenta(half) / magenta(now - 1) == pytest.approx(0.5, abs=0.05)


def test_classes_may_have_any_name(single: Explained) -> None:
    model, found = single
    label = np.uint8((found.label + 1 + np.arange(40) % 4) % 5)
    changed = replace(found, experiments=(replace(found.experiments[0], label=label),))
    assert len(np.unique(label)) == 5
    names = ["_private", "$\\frac{1}{$", "道路", "<script>", "a" * 60]
    assert read(all_drawings(changed, names, model.palette), "experiment-position-removed").size


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 2)])
def test_pictures_of_the_smallest_pictures(size: tuple[int, int], model_of: Callable[..., Model]) -> None:
    model = model_of(head="dual")
    found = explain(model, ops, photo(*size), "dot")
    label = np.uint8((found.label + np.arange(size[1]) % 2) % 5)
    found = replace(found, experiments=tuple(replace(each, label=label) for each in found.experiments))
    made = dict(all_drawings(found, model.classes, model.palette, [(0, 0)]))
    assert len(made) == 13
    assert all(min(read(made.items(), name).shape[:2]) > 30 for name in made)


def test_arrays_are_opened_without_pickle_and_explain_themselves(both: Explained, tmp_path: Path) -> None:
    _, found = both
    path = tmp_path / "maps.npz"
    second = replace(found, name="other one")
    write_arrays(path, [found, second], [POINT, (500, 3), (0, 59)])
    with np.load(path, allow_pickle=False) as opened:
        named = dict(opened)
    assert {key.partition("/")[0] for key in named} == {"street", "other one"}
    assert {key for key in named if key.startswith("street/")} == {f"street/{key}" for key in arrays(found)}
    assert {str(array.dtype) for array in named.values()} == {"float32", "uint8", "int32"}
    for view in found.positions:
        here = f"street/position/scale-{view.scale:g}"
        query, key = named[f"{here}/query"].astype(np.float64), named[f"{here}/key"].astype(np.float64)
        map_ = softmax(query @ key.T, axis=1)
        np.testing.assert_allclose(np.exp(query @ key.T - named[f"{here}/log_sum_exp"][:, None]), map_, rtol=1e-5)
        np.testing.assert_allclose(map_.sum(0).reshape(view.grid), named[f"{here}/received"], rtol=1e-5)
        np.testing.assert_array_equal(named[f"{here}/points"], [POINT, (0, 59)])
        for place, (x, y) in enumerate((POINT, (0, 59))):
            row, column = (2 * y + 1) * view.grid[0] // 120, (2 * x + 1) * view.grid[1] // 160
            pixel = row * view.grid[1] + column
            np.testing.assert_allclose(named[f"{here}/rows"][place].ravel(), map_[pixel], rtol=1e-5)
            np.testing.assert_allclose(named[f"{here}/columns"][place].ravel(), map_[:, pixel], rtol=1e-5)
        assert named[f"{here}/gate"] == np.float32(0.8)
    for channels in found.channels:
        here = f"street/channel/scale-{channels.scale:g}"
        np.testing.assert_allclose(named[f"{here}/attention"].sum(1), 1, rtol=1e-5)
        assert named[f"{here}/without"].shape == (8, *named[f"{here}/label"].shape)
    np.testing.assert_allclose(named["street/scale/weights"].sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(named["street/scale/labels"][1], named["street/experiment/scale-0.5"])
    np.testing.assert_array_equal(named["street/picture"], found.image)
    np.testing.assert_array_equal(named["street/own_size"], [60, 80])


def test_a_network_without_attention_has_its_prediction(model_of: Callable[..., Model], tmp_path: Path) -> None:
    model = model_of(head="fcn")
    found = explain(model, ops, photo(30, 40), "street")
    assert [path.name for path in write_drawings(found, tmp_path, model.classes, model.palette, [POINT])] == [
        "prediction.png"
    ]
    assert set(arrays(found, [POINT])) == {"picture", "label", "own_size"}
    assert write_overview(found, tmp_path / "none") == []


def test_without_points_there_are_empty_arrays(single: Explained) -> None:
    _, found = single
    assert arrays(found)["position/scale-1/rows"].shape == (0, *found.positions[0].grid)


def test_what_is_in_the_way_is_said(single: Explained, tmp_path: Path) -> None:
    model, found = single
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=r"file/street cannot be made: Not a directory"):
        write_drawings(found, tmp_path / "file" / "street", model.classes, model.palette)
    with pytest.raises(OutputError, match=r"no-folder/maps.npz cannot be written"):
        write_arrays(tmp_path / "no-folder" / "maps.npz", [found])
    assert (tmp_path / "file").read_text() == "kept"
