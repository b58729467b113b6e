"""Batch norms over several ranks: values, gradients and statistics are those of one rank with the whole batch."""

from __future__ import annotations

import numpy as np
import pytest

import backends.reference
from backends import get_backend
from reference.networks import NetworkConfig, Objective, build_network
from segattn_cli.data import Batch
from segattn_cli.errors import DataError
from segattn_cli.training.find_nan import first_non_finite
from segattn_cli.training.gradients import Differentiator

from .thread_ranks import on_threads


@pytest.fixture(scope="module")
def network():
    return build_network(NetworkConfig(
        classes=3, backbone="tiny", head="dual", scales=(1.0, 0.5), head_channels=8, scale_attention_channels=8,
    ))  # fmt: skip


def batches_of(count, images):
    rng = np.random.default_rng(3)
    batches = []
    for number in range(count):
        values = 3 * rng.standard_normal((images, 16, 16, 3)) + number
        batches.append(Batch(values, rng.integers(0, 3, (images, 16, 16)).astype(np.int32), ("a",) * images, 0.0))
    return batches


def differentiator(network, ops=backends.reference):
    return Differentiator(Objective(network), ops, seed=0, batch_statistics=True, synchronised=True)


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch):
    """Whose masks are drawn batch by batch."""
    monkeypatch.setattr(Differentiator, "_draw_mask", lambda self, step, number: None)


@pytest.mark.parametrize("ranks", [2, 3])
def test_gradients_are_those_of_the_whole_batch(network, ranks):
    params = {name: value.astype(np.float64) for name, value in network.initialise(0).items()}
    batches = batches_of(2 * ranks, 2)
    # At the same time, the ranks compute the batches 0 and a, 1 and a + 1 and so on.
    together = [[batches[rank * 2 + number] for rank in range(ranks)] for number in range(2)]
    whole = [
        Batch(np.concatenate([b.images for b in group]), np.concatenate([b.labels for b in group]), ("a",), 0.0)
        for group in together
    ]
    wanted = differentiator(network).gradients(params, whole, 0)
    plain = Differentiator(Objective(network), backends.reference, 0, True).gradients(params, batches, 0)
    assert abs(plain.loss - wanted.loss) > 1e-6

    def run(comm):
        own = batches[comm.rank * 2 : comm.rank * 2 + 2]
        return differentiator(network).gradients(params, own, 0, comm=comm)

    for got in on_threads(ranks, run):
        assert got.loss == pytest.approx(wanted.loss, rel=1e-12)
        for name, gradient in wanted.gradients.items():
            largest = max(1.0, np.abs(gradient).max())
            np.testing.assert_allclose(got.gradients[name], gradient, rtol=0, atol=1e-12 * largest, err_msg=name)
        assert len(got.statistics) == len(wanted.statistics) == 2
        for one, other in zip(got.statistics, wanted.statistics, strict=True):
            assert one.keys() == other.keys()
            for name, norm in other.items():
                assert one[name].count == norm.count
                np.testing.assert_allclose(one[name].mean, norm.mean, rtol=1e-12, atol=1e-12)
                np.testing.assert_allclose(one[name].variance, norm.variance, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_compiled_backends_agree_in_float32(network, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    ops = get_backend(backend)
    params = network.initialise(0)
    batches = [each._replace(images=each.images.astype(np.float32)) for each in batches_of(2, 2)]
    whole = Batch(np.concatenate([b.images for b in batches]), np.concatenate([b.labels for b in batches]), (), 0.0)
    wanted = differentiator(network).gradients(params, [whole], 0)

    def run(comm):
        return differentiator(network, ops).gradients(params, [batches[comm.rank]], 0, comm=comm)

    one, other = on_threads(2, run)
    assert one.loss == pytest.approx(wanted.loss, rel=1e-5)
    for name, gradient in wanted.gradients.items():
        np.testing.assert_allclose(
            one.gradients[name], gradient, rtol=0, atol=1e-4 * max(1.0, np.abs(gradient).max()), err_msg=name
        )
        assert one.gradients[name].tobytes() == other.gradients[name].tobytes()


def test_an_error_in_one_pass_ends_all(network):
    params = {name: value.astype(np.float64) for name, value in network.initialise(0).items()}
    batches = batches_of(2, 1)

    class Failing:
        def __getattr__(self, name):
            return getattr(backends.reference, name)

        def position_attention(self, *_):
            raise DataError("in the middle of a pass")

    def run(comm):
        ops = Failing() if comm.rank == 1 else backends.reference
        return differentiator(network, ops).gradients(params, [batches[comm.rank]], 0, comm=comm)

    for error in on_threads(2, run):
        assert (type(error), str(error)) == (DataError, "in the middle of a pass")


def test_a_tensor_that_is_not_finite_is_named_on_all(network):
    params = {name: value.astype(np.float64) for name, value in network.initialise(0).items()}
    params["head.classifier.weight"] = params["head.classifier.weight"] * 1e308
    batches = batches_of(2, 1)

    def run(comm):
        with np.errstate(all="ignore"):
            return first_non_finite(differentiator(network), params, [batches[comm.rank]], 0, comm)

    one, other = on_threads(2, run)
    assert one == other
    assert one.startswith("the output of")
