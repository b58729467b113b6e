from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import reference.ops as reference
from backends import BackendError, get_backend
from reference.layers.context import Context
from reference.networks import build_network
from segattn_cli.data.images import resize_image
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import NonFiniteError
from segattn_cli.explaining import Explanation, explain, explanation
from segattn_cli.explaining.channels import SAME
from segattn_cli.explaining.explanation import bounded, recorder, suitable_side
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model

MakeModel = Callable[..., Model]

NETWORKS: dict[str, dict[str, Any]] = {
    "fcn": {"head": "fcn"},
    "largefov": {"head": "largefov"},
    "position": {"head": "position"},
    "channel": {"head": "channel", "channel_form": "paper"},
    "dual": {"head": "dual"},
    "dual, corners": {"head": "dual", "align_corners": True},
    "dual, auxiliary": {"head": "dual", "backbone": "resnet18", "auxiliary_head": True},
    "dual, two scales": {"head": "dual", "scales": [1.0, 0.5], "scale_classifier": "attached"},
    "dual, two scales, decoder": {
        "head": "dual", "backbone": "resnet18", "output_stride": 16, "scales": [1.0, 0.5], "decoder": True,
    },
    "dual, three scales, corners": {"head": "dual", "scales": [0.5, 1.0, 1.5], "align_corners": True},
    "channel, max": {"head": "channel", "scales": [1.0, 0.75], "fusion": "max"},
    "position, mean": {"head": "position", "scales": [1.0, 0.5], "fusion": "mean"},
    "fcn, two scales": {"head": "fcn", "scales": [1.0, 0.5]},
}


def photo(height: int, width: int) -> np.ndarray:
    """Smooth colours, edges and some noise."""
    rng = np.random.default_rng(height)
    rows, columns = np.mgrid[:height, :width]
    channels = [np.sin(rows / 5) + (columns > width / 3), np.cos(columns / 4), np.sin((rows + 2 * columns) / 9)]
    noise = rng.normal(0, 25, (height, width, 3))
    return np.uint8(np.clip(128 + 60 * np.stack(channels, -1) + noise, 0, 255))


def label_of(model: Model, picture: np.ndarray, ops: Any = reference, **changed: np.ndarray) -> np.ndarray:
    """What the tool predicts anyway, with some parameters changed."""
    params = model.params | {name.replace("__", "."): value for name, value in changed.items()}
    return Predictor(model.network, params, ops).label(picture)


def undecided(model: Model, picture: np.ndarray) -> Model:
    """``model`` with the bias at which every class has the same mean score in ``picture``."""
    bias = "head.fc8.bias" if model.network.config.head == "largefov" else "head.classifier.bias"
    scores = model.network.predict(normalise(picture)[None], Context(reference, model.params))
    return replace(model, params=model.params | {bias: model.params[bias] - scores.mean((0, 1, 2))})


def scopes(model: Model) -> dict[float, str]:
    scales = model.network.config.scales
    return {1.0: ""} if len(scales) == 1 else {scale: f"scale {scale:g}/" for scale in scales}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest, model_of: MakeModel) -> tuple[Model, Explanation]:
    model = undecided(model_of(**NETWORKS[request.param]), photo(45, 61))
    return model, explain(model, reference, photo(45, 61), "street")


@pytest.fixture(scope="module")
def seen(case: tuple[Model, Explanation]) -> dict[str, np.ndarray]:
    """Every tensor of the network whose norms are not folded, and whose passes remember nothing."""
    model, found = case
    arrays: dict[str, np.ndarray] = {}
    ctx = Context(reference, model.params, observe=arrays.__setitem__)
    outputs = model.network.forward(normalise(found.image)[None], ctx)
    maps = {scope: scores.main for scope, scores in zip(model.network.scopes, outputs.scales, strict=True)}
    return {name: array[0] for name, array in (arrays | maps | {"main": outputs.main}).items()}


def test_the_prediction_is_that_of_infer(case: tuple[Model, Explanation]) -> None:
    model, found = case
    np.testing.assert_array_equal(found.image, photo(45, 61))
    np.testing.assert_array_equal(found.label, label_of(model, found.image))
    assert len(np.unique(found.label)) > 1  # something to agree on
    assert found.own_size == (45, 61)
    assert found.grid == model.network.predict(
        normalise(found.image)[None], Context(reference, model.params)
    ).shape[1:3]


def test_each_view_is_of_what_the_network_computes(
    case: tuple[Model, Explanation], seen: dict[str, np.ndarray]
) -> None:
    model, found = case
    head = model.network.config.head
    assert [view.scale for view in found.positions] == list(scopes(model) if head in ("position", "dual") else ())
    assert [view.scale for view in found.channels] == list(scopes(model) if head in ("channel", "dual") else ())
    for view in found.positions:
        here = f"{scopes(model)[view.scale]}head.position"
        np.testing.assert_allclose(view.query, seen[f"{here}.query"], rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(view.key, seen[f"{here}.key"], rtol=2e-4, atol=2e-4)
        rows = np.array([view.row(pixel).ravel() for pixel in range(len(view.query))])
        gathered = rows @ seen[f"{here}.value"]
        np.testing.assert_allclose(gathered, seen[f"{here}.attended"], rtol=2e-3, atol=2e-3)
        assert view.gate == model.params["head.position.gate"]
        features = seen[f"{here}.reduce.norm"]
        assert view.grid == features.shape[:2]
        added = view.gate * seen[f"{here}.attended"].reshape(features.shape)
        assert view.fraction == pytest.approx(np.linalg.norm(added) / np.linalg.norm(features), rel=1e-3)
    for view in found.channels:
        here = f"{scopes(model)[view.scale]}head.channel"
        features = seen[f"{here}.reduce.norm"]
        np.testing.assert_allclose(view.features, features[:: view.step, :: view.step], rtol=1e-3, atol=1e-4)
        gathered = features.reshape(-1, len(view.order)) @ view.attention.T
        np.testing.assert_allclose(gathered, seen[f"{here}.attended"], rtol=5e-3, atol=5e-3)
        assert view.form == model.network.config.channel_form


def test_each_channel_taken_out_by_the_networks_own_layers(
    case: tuple[Model, Explanation], seen: dict[str, np.ndarray]
) -> None:
    model, found = case
    head: Any = getattr(model.network, "trunk", model.network).head
    ctx = Context(reference, model.params)
    compared = 0
    for view in found.channels:
        here = f"{scopes(model)[view.scale]}head."
        refine = head.channel.refine if hasattr(head, "channel") else head.branch.refine
        attended = seen[f"{here}channel.gate"].reshape(*seen[f"{here}channel.reduce.norm"].shape)
        position = seen.get(f"{here}position.refine.norm", 0)
        for channel in range(attended.shape[-1]):
            left = attended.copy()
            left[:, :, channel] = 0
            scores = head.classifier.forward(refine.forward(left[None], ctx) + position, ctx)[0]
            ordered = np.sort(scores, axis=-1)
            is_clear = ordered[..., -1] - ordered[..., -2] > 1e-3
            now = np.where(view.without[channel] == SAME, view.label, view.without[channel])
            np.testing.assert_array_equal(now[is_clear], scores.argmax(-1)[is_clear])
            compared += is_clear.sum()
            assert (view.without[channel] != view.label).all()  # a change is a change
        assert (view.without != SAME).any()
    assert compared > 100 or not found.channels


def test_what_is_undone_is_undone(case: tuple[Model, Explanation]) -> None:
    """Each experiment against the tool's own inference, with other parameters or other ops."""
    model, found = case
    config = model.network.config
    zero = np.zeros((), np.float32)

    def position_attention(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, None]:
        return np.stack([np.tile(sum(tokens) / len(tokens), (len(tokens), 1)) for tokens in value]), None

    def channel_attention(x: np.ndarray, *, form: str) -> tuple[np.ndarray, None]:
        mean = sum(x[..., c] for c in range(x.shape[-1])) / x.shape[-1]
        return np.stack([mean] * x.shape[-1], -1), None

    def with_op(op: Callable) -> SimpleNamespace:
        return SimpleNamespace(**(vars(reference) | {op.__name__: op}))

    picture = found.image
    gates = {"head__position__gate": zero, "head__channel__gate": zero}
    wanted: dict[str, np.ndarray] = {}
    if found.positions:
        wanted["position-removed"] = label_of(model, picture, head__position__gate=zero)
        wanted["position-uniform"] = label_of(model, picture, with_op(position_attention))
    if found.channels:
        wanted["channel-removed"] = label_of(model, picture, head__channel__gate=zero)
        wanted["channel-uniform"] = label_of(model, picture, with_op(channel_attention))
    if found.positions and found.channels:
        wanted["attention-removed"] = label_of(model, picture, **gates)
    if len(config.scales) > 1:
        outputs = model.network.forward(normalise(picture)[None], Context(reference, model.params))
        for scale, own in zip(config.scales, outputs.scales, strict=True):
            scores, _ = reference.resize_bilinear(own.main, picture.shape[:2], align_corners=config.align_corners)
            wanted[f"scale-{scale:g}"] = scores[0].argmax(-1)
        if config.fusion != "mean":
            mean = replace(model, network=build_network(replace(config, fusion="mean")))
            wanted["scales-mean"] = label_of(mean, picture)
    assert [each.name for each in found.experiments] == list(wanted)
    for each in found.experiments:
        differs = (each.label != wanted[each.name]).mean()
        assert differs <= 0.001, (each.name, differs)  # folded norms round otherwise
    if found.positions or found.channels:
        assert any((each.label != found.label).any() for each in found.experiments)


def test_scales_and_their_weights(case: tuple[Model, Explanation], seen: dict[str, np.ndarray]) -> None:
    model, found = case
    config = model.network.config
    if len(config.scales) == 1:
        assert found.scales is None
        return
    assert found.scales is not None
    assert (found.scales.scales, found.scales.fusion) == (config.scales, config.fusion)
    alone = {each.name: each.label for each in found.experiments}
    for scale, label in zip(config.scales, found.scales.labels, strict=True):
        np.testing.assert_array_equal(label, alone[f"scale-{scale:g}"])
    if config.fusion != "attention":
        assert found.scales.weights is None
        return
    assert found.scales.weights is not None
    np.testing.assert_allclose(found.scales.weights.sum(-1), 1, rtol=1e-5)
    maps = np.stack([seen[f"scale {scale:g}"] for scale in config.scales], -1)  # (h, w, K, S)
    fused = (maps * found.scales.weights[:, :, None]).sum(-1)
    np.testing.assert_allclose(fused, seen["main"], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("backend", ["numpy", "numba", pytest.param("cupy", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", ["dual, two scales", "channel"])
def test_backends_see_the_same(backend: str, name: str, model_of: MakeModel) -> None:
    try:
        ops = get_backend(backend)
    except BackendError as error:
        pytest.skip(str(error))
    model = undecided(model_of(**NETWORKS[name]), photo(45, 61))
    ours, theirs = (explain(model, each, photo(45, 61), "street") for each in (reference, ops))
    assert (ours.label != theirs.label).mean() < 0.002
    for mine, other in zip(ours.experiments, theirs.experiments, strict=True):
        assert mine.name == other.name
        assert (mine.label != other.label).mean() < 0.002
    for view, other in zip(ours.positions, theirs.positions, strict=True):
        for field in ("query", "key", "received", "reach", "fractions"):
            np.testing.assert_allclose(getattr(other, field), getattr(view, field), rtol=2e-3, atol=2e-3)
    for view, other in zip(ours.channels, theirs.channels, strict=True):
        np.testing.assert_allclose(other.attention, view.attention, atol=5e-3)
        np.testing.assert_allclose(other.features, view.features, rtol=1e-3, atol=1e-3)
    if ours.scales is not None and theirs.scales is not None and ours.scales.weights is not None:
        assert isinstance(theirs.scales.weights, np.ndarray)
        np.testing.assert_allclose(theirs.scales.weights, ours.scales.weights, atol=1e-3)


@pytest.mark.parametrize("name", ["dual", "dual, corners", "dual, two scales", "channel, max", "fcn"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (1, 40), (33, 2)])
def test_the_smallest_pictures(name: str, size: tuple[int, int], model_of: MakeModel) -> None:
    model = model_of(**NETWORKS[name])
    found = explain(model, reference, photo(*size), "dot")
    np.testing.assert_array_equal(found.label, label_of(model, found.image))
    assert found.label.shape == size
    for view in found.positions:
        assert np.isfinite([view.received, view.reach, view.fractions]).all()
        assert view.compact.error < 1e-3
    for channels in found.channels:
        assert np.isfinite(channels.attention).all()
    assert all(each.label.shape == size for each in found.experiments)


def test_without_experiments_there_is_one_pass_and_with_them_one_backbone(model_of: MakeModel) -> None:
    model = model_of(**NETWORKS["dual, two scales"])
    calls: Counter[str] = Counter()

    class Counting:
        def __getattr__(self, name: str) -> Any:
            calls[name] += 1
            return getattr(reference, name)

    def convolutions(work: Callable[[], Any]) -> int:
        calls.clear()
        work()
        return calls["conv2d"] + calls["conv2d_relu"]

    picture = photo(45, 61)
    plain = convolutions(lambda: label_of(model, picture, Counting()))
    briefly = convolutions(lambda: explain(model, Counting(), picture, "street", experiments=False))
    wholly = convolutions(lambda: explain(model, Counting(), picture, "street"))
    assert plain == briefly
    after = 2 * 2 + 1  # the second convolution of two branches at two scales, and that of the attention to scale
    assert wholly == plain + 5 * after

    brief = explain(model, reference, picture, "street", experiments=False)
    whole = explain(model, reference, picture, "street")
    assert brief.experiments == ()
    np.testing.assert_array_equal(brief.label, whole.label)
    for few, all_ in zip(brief.channels, whole.channels, strict=True):
        np.testing.assert_array_equal(few.attention, all_.attention)
        np.testing.assert_array_equal(few.label, all_.label)
        assert (few.without == SAME).all()


def test_the_backbones_maps_are_not_kept() -> None:
    seen: dict[str, Any] = {}
    observe = recorder(seen)
    for name in ("scale 1/backbone.layer4.0.relu", "backbone.conv1", "scale 1/head.position.query", "fused"):
        observe(name, name)
    assert list(seen) == ["scale 1/head.position.query", "fused"]


def test_a_second_picture_is_not_taken_for_the_first(model_of: MakeModel) -> None:
    model = undecided(model_of(**NETWORKS["dual"]), photo(61, 45))
    before = {name: value.copy() for name, value in model.params.items()}
    explain(model, reference, photo(45, 61), "first")
    second = explain(model, reference, photo(61, 45), "second")
    np.testing.assert_array_equal(second.label, label_of(model, second.image))
    for name, value in model.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_pictures_are_resized_as_in_training_and_then_as_asked(model_of: MakeModel) -> None:
    model = model_of(**NETWORKS["position"])
    image = photo(80, 100)
    found = explain(model, reference, image, "street", max_side=50)
    np.testing.assert_array_equal(found.image, resize_image(image, (40, 50)))
    np.testing.assert_array_equal(found.label, label_of(model, found.image))
    assert found.own_size == (80, 100)

    data = replace(model.config.data, size=(60, 40))
    sized = replace(model, config=model.config.model_copy(update={"data": data}))
    np.testing.assert_array_equal(explain(sized, reference, image, "street").image, resize_image(image, (60, 40)))
    assert explain(sized, reference, image, "street", max_side=30).image.shape == (30, 20, 3)
    assert bounded((3, 5000), 100) == (1, 100)


def test_pixels_of_the_own_size_as_shares(model_of: MakeModel) -> None:
    found = explain(model_of(**NETWORKS["position"]), reference, photo(80, 100), "street", max_side=50)
    assert found.fractions_of((25, 60)) == (0.255, 0.75625)
    assert found.fractions_of((0, 0)) == (0.005, 0.00625)
    assert found.fractions_of((99, 79)) == (0.995, 0.99375)
    assert all(found.fractions_of(point) is None for point in ((100, 0), (0, 80), (-1, 0), (0, -1)))


def test_points_on_the_border_of_a_cell_are_in_the_cell_that_begins_there(model_of: MakeModel) -> None:
    """104 / 360 · 45 is 13, but a little less in floating point."""
    found = explain(model_of(head="position"), reference, photo(360, 8), "street")
    view = found.positions[0]
    step = 360 // view.grid[0]
    for y in range(360):
        shares = found.fractions_of((0, y))
        assert shares is not None
        assert view.pixel_at(*shares) == y // step * view.grid[1]


def test_large_networks_get_smaller_pictures(model_of: MakeModel) -> None:
    assert suitable_side(model_of(head="fcn").network, (3000, 4000)) == 2048
    network = model_of(head="position", head_channels=64, scales=[1.0, 0.5]).network
    side = suitable_side(network, (3000, 4000))
    size = bounded((3000, 4000), side)
    numbers = size[0] * size[1] / network.config.output_stride**2 * 8 * 1.25
    assert numbers == pytest.approx(explanation.QUERY_NUMBERS, rel=0.01)
    assert suitable_side(network, (60, 80)) == 80


def test_that_is_so_unless_a_side_is_asked_for(model_of: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(**NETWORKS["position"])
    monkeypatch.setattr(explanation, "QUERY_NUMBERS", 20)
    image = photo(80, 100)
    found = explain(model, reference, image, "street")
    assert max(found.image.shape) == suitable_side(model.network, (80, 100)) < 100
    assert explain(model, reference, image, "street", max_side=100).image.shape == image.shape


def test_what_overflows_is_said_in_a_sentence(model_of: MakeModel) -> None:
    model = model_of(**NETWORKS["dual"])
    params = model.params | {"head.classifier.weight": np.full_like(model.params["head.classifier.weight"], 3e38)}
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"street: the network's scores hold a NaN"):
        explain(replace(model, params=params), reference, photo(30, 30), "street")


def test_it_is_told_what_is_done(model_of: MakeModel) -> None:
    told: list[str] = []
    explain(model_of(**NETWORKS["dual, two scales"]), reference, photo(30, 30), "street", report=told.append)
    assert told == [
        "prediction",
        "position attention, scale 1",
        "channel attention, scale 1",
        "position attention, scale 0.5",
        "channel attention, scale 0.5",
        "without position attention",
        "uniform position attention",
        "without channel attention",
        "uniform channel attention",
        "without attention",
    ]
