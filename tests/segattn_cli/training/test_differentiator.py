"""Several batches count as one, and masks depend on nothing but their names."""

from __future__ import annotations

import numpy as np
import pytest

import backends.reference
from reference.networks import LossTerms, NetworkConfig, Objective, build_network
from segattn_cli.data import Batch
from segattn_cli.training.gradients import Differentiator

CLASSES = 3


@pytest.fixture
def network():
    return build_network(
        NetworkConfig(
            classes=CLASSES, backbone="tiny", head="dual", head_channels=8, scales=(1.0, 0.5),
            scale_attention_channels=4,
        )
    )  # fmt: skip


@pytest.fixture
def params(network, rng):
    return {name: value.astype(np.float64) + 0.01 for name, value in network.initialise(seed=1).items()}


def batch(rng, images, void):
    """Pictures of which the first has ``void`` rows without label."""
    labels = rng.integers(0, CLASSES, (images, 16, 16)).astype(np.int32)
    labels[0, :void] = 255
    return Batch(rng.normal(size=(images, 16, 16, 3)), labels, tuple("abcd"[:images]), 0.0)


@pytest.mark.parametrize("class_weights", [None, (0.2, 1.0, 3.0)])
def test_two_batches_are_one_large_one(network, params, rng, monkeypatch, class_weights):
    monkeypatch.setattr(Differentiator, "_draw_mask", lambda self, step, number: None)
    differentiator = Differentiator(
        Objective(network, class_weights=class_weights), backends.reference, seed=0, batch_statistics=False
    )
    a, b = batch(rng, 2, void=3), batch(rng, 1, void=14)
    both = Batch(*(np.concatenate([x, y]) for x, y in zip(a[:2], b[:2], strict=True)), ("a", "b", "c"), 0.0)
    one = differentiator.gradients(params, [both], step=0)
    two = differentiator.gradients(params, [a, b], step=0)
    assert two.loss == pytest.approx(one.loss, rel=1e-12)
    assert two.parts == pytest.approx(one.parts, rel=1e-12)
    assert two.norm == pytest.approx(one.norm, rel=1e-12)
    assert two.gradients.keys() == one.gradients.keys()
    for name, gradient in one.gradients.items():
        np.testing.assert_allclose(two.gradients[name], gradient, rtol=1e-8, atol=1e-12, err_msg=name)


def test_each_batch_has_its_own_hard_pixels(network, params, rng, monkeypatch):
    """The step is the mean of what each batch gives, weighted by its labelled pixels."""
    monkeypatch.setattr(Differentiator, "_draw_mask", lambda self, step, number: None)
    terms = LossTerms(hard_pixel_threshold=0.3, hard_pixel_fraction=0.2)
    differentiator = Differentiator(
        Objective(network, terms=terms), backends.reference, seed=0, batch_statistics=False
    )
    a, b = batch(rng, 2, void=3), batch(rng, 1, void=14)
    shares = [(32 - 3) * 16, (16 - 14) * 16]
    both = differentiator.gradients(params, [a, b], step=0)
    alone = [differentiator.gradients(params, [each], step=0) for each in (a, b)]
    assert both.loss == pytest.approx(np.average([each.loss for each in alone], weights=shares), rel=1e-12)
    for name, gradient in both.gradients.items():
        wanted = np.average([each.gradients[name] for each in alone], weights=shares, axis=0)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-8, atol=1e-12, err_msg=name)
    everything = Differentiator(Objective(network), backends.reference, 0, False).gradients(params, [a], 0)
    assert alone[0].parts["main"] > everything.parts["main"]


def test_the_norm_is_of_all_gradients(network, params, rng):
    found = Differentiator(Objective(network), backends.reference, 0, True).gradients(params, [batch(rng, 2, 0)], 0)
    everything = np.concatenate([np.ravel(gradient) for gradient in found.gradients.values()])
    assert found.norm == pytest.approx(np.linalg.norm(everything), rel=1e-9)
    assert found.scale_weights is not None
    assert sum(found.scale_weights) == pytest.approx(1.0)


def test_void_everywhere_moves_nothing(network, params, rng):
    differentiator = Differentiator(Objective(network), backends.reference, 0, True)
    void, some = batch(rng, 1, 16), batch(rng, 1, 0)
    for batches in ([void], [void, void]):
        found = differentiator.gradients(params, batches, 0)
        assert found.loss == found.norm == 0.0
    assert differentiator.gradients(params, [some, void], 0).loss == pytest.approx(
        differentiator.gradients(params, [some], 0).loss, rel=1e-12
    )


def test_a_scale_multiplies_the_gradients_alone(network, params, rng):
    batches = [batch(rng, 2, 3), batch(rng, 1, 0)]
    differentiator = Differentiator(Objective(network), backends.reference, 0, True)
    plain = differentiator.gradients(params, batches, 0)
    for scale in (8.0, np.array(8.0)):
        scaled = differentiator.gradients(params, batches, 0, scale=scale)
        assert (scaled.loss, scaled.parts) == (plain.loss, plain.parts)
        assert scaled.norm == pytest.approx(8 * plain.norm, rel=1e-12)
        for name, gradient in plain.gradients.items():
            np.testing.assert_allclose(scaled.gradients[name], 8 * gradient, rtol=1e-9, atol=1e-12, err_msg=name)


def test_weights_and_images_are_cast_and_what_has_one_value_a_channel_is_not(network, params, rng):
    """In float32, whose ops NumPy has, from float64: the rule is the same."""
    single = {name: value.astype(np.float32) if value.ndim < 2 else value for name, value in params.items()}
    differentiator = Differentiator(Objective(network), backends.reference, 0, True, dtype=np.dtype(np.float32))
    found = differentiator.gradients(single, [batch(rng, 2, 3)], 0)
    assert {gradient.dtype for gradient in found.gradients.values()} == {np.dtype(np.float32)}
    assert {name for name, value in params.items() if value.dtype != np.float64} == set()


def test_masks_depend_on_seed_step_batch_and_name(network):
    def mask(seed=0, step=5, number=0, name="scale 1/head.dropout"):
        draw = Differentiator(Objective(network), backends.reference, seed, True)._draw_mask(step, number)
        return draw(name, (40, 50), 0.3)

    first = mask()
    assert first.dtype == bool
    assert first.mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(first, mask())
    for other in (mask(seed=1), mask(step=6), mask(number=1), mask(name="scale 0.5/head.dropout")):
        assert 0.45 < (first == other).mean() < 0.7  # 0.58 for independent ones
