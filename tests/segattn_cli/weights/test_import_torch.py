"""Networks written independently in PyTorch, saved by it, imported: the same logits and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from reference.layers import Context
from reference.networks import NetworkConfig, build_network
from reference.networks.outputs import Outputs, Scores
from segattn_cli.config import config_from
from segattn_cli.exporting.state_dict import write_state_dict
from segattn_cli.runs import open_model
from segattn_cli.runs.checkpoint import save_checkpoint
from segattn_cli.weights import import_weights, weights_for

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
pytestmark = pytest.mark.torch

#: Of the largest logit.
TOLERANCE = 1e-4


def save(content: Any, path: Path, form: str) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


def images_for(size: tuple[int, int], batch: int = 1) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(batch, *size, 3)).astype(np.float32)


def channels_first(images: np.ndarray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def assert_same(ours: np.ndarray, theirs: Any, tolerance: float = TOLERANCE) -> None:
    wanted = theirs.detach().numpy().transpose(0, 2, 3, 1)
    assert ours.shape == wanted.shape
    assert np.abs(wanted).max() > 0.01
    assert np.abs(ours - wanted).max() < tolerance * np.abs(wanted).max()


def context(params: dict[str, np.ndarray], training: bool) -> Context:
    return Context(get_backend("numpy"), params, save_for_backward=training, batch_statistics=training)


@pytest.mark.parametrize(
    ("depth", "options", "config"),
    [
        (18, {}, {}),
        (34, {"output_stride": 16}, {"output_stride": 16}),
        (50, {"style": "encoding"}, {"deep_stem": True}),
        (50, {"style": "mmseg"}, {"deep_stem": True, "stem_channels": 32}),
        (101, {"multi_grid": (4, 8, 16)}, {"multi_grid": (4, 8, 16)}),
        (34, {"multi_grid": (4, 8, 16)}, {"multi_grid": (4, 8, 16)}),
        (18, {"output_stride": 32}, {"output_stride": 32}),
    ],
)
def test_resnets(networks: Any, tmp_path: Path, depth: int, options: dict, config: dict) -> None:
    peer = networks.randomise(networks.ResNet(depth, **options), seed=depth)
    path = save(peer.state_dict(), tmp_path / "resnet.pth", "legacy" if depth == 18 else "zip")
    imported = import_weights(path)
    assert imported.kind == "backbone"
    assert imported.match.missing == ()
    assert set(imported.match.unused) == {"fc.weight", "fc.bias"}
    network = build_network(NetworkConfig(classes=2, backbone=f"resnet{depth}", head="fcn", **config))
    images = images_for((49, 57), batch=2)
    for training in (False, True):
        features = network.backbone.forward(images, context(imported.arrays, training))
        assert_same(features, peer.train(training)(channels_first(images)))


def test_vgg16_becomes_largefov(networks: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vgg = networks.VGG16(hidden=512, classes=10)  # 4096 units would be 400 MB; decimation is the same
    networks.randomise(vgg, 0)
    peer = networks.LargeFOV.from_vgg16(vgg, 21, ceil_mode=False).eval()
    networks.randomise(peer.fc8, 1)
    network = build_network(NetworkConfig(classes=21, backbone="vgg16", head="largefov", head_channels=128))
    params = network.initialise(0)
    found = weights_for(network, save(vgg.state_dict(), tmp_path / "vgg16.pth", "zip"))
    assert found.missing == ("head.fc8.weight", "head.fc8.bias")
    assert found.unused == ("classifier.6.weight", "classifier.6.bias")
    fc8 = peer.fc8.weight.detach().numpy()[:, :, 0, 0].T
    params |= found.params | {"head.fc8.weight": fc8, "head.fc8.bias": peer.fc8.bias.detach().numpy()}
    images = images_for((65, 73))
    assert_same(network.predict(images, context(params, False)), peer(channels_first(images)))


def danet(networks: Any, which: str) -> tuple[Any, Any]:
    """A network, and its checkpoint as such are found."""
    if which == "mmseg":
        network = networks.randomise(networks.MMSegDANet(50, 19), 2)
        return network, networks.mmseg_checkpoint(network, tuple(f"thing {index}" for index in range(19)))
    if which == "authors":
        network = networks.AuthorsDANet(50, 19, multi_grid=(4, 8, 16), imagenet_classes=10)
        return networks.randomise(network, 0), networks.encoding_checkpoint(network)
    network = networks.randomise(networks.AuthorsDANet(18, 5, imagenet_classes=10), 1)
    return network, networks.encoding_checkpoint(network, data_parallel=True)


@pytest.mark.parametrize(
    ("which", "form"), [("authors", "zip"), ("authors-small", "legacy"), ("authors-small", "zip"), ("mmseg", "zip")]
)
def test_danets(networks: Any, tmp_path: Path, which: str, form: str) -> None:
    peer, checkpoint = danet(networks, which)
    imported = import_weights(save(checkpoint, tmp_path / "danet.pth.tar", form))
    assert imported.kind == "network"
    assert imported.match.missing == imported.match.reset == ()
    assert all(".fc." in f".{name}" for name in imported.match.unused)
    save_checkpoint(tmp_path / "ours.safetensors", imported.arrays, imported.metadata)
    model = open_model(tmp_path / "ours.safetensors")
    if which == "mmseg":
        assert model.classes[3] == "thing 3"
        assert model.palette[3].tolist() == [30, 64, 128]
    images = images_for((49, 57), batch=2)
    for training in (False, True):
        peer.train(training)
        for module in peer.modules():
            if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
                module.eval()
        (scores,) = model.network.forward(images, context(model.params, training)).scales
        maps = peer.score_maps(channels_first(images))
        wanted = dict(zip(("main", "position", "channel", "auxiliary"), maps, strict=False))
        assert [part for part, _ in scores.parts()] == list(wanted)
        for part, ours in scores.parts():
            assert_same(ours, wanted[part])


@pytest.mark.slow
def test_a_trained_network_goes_back_to_pytorch(networks: Any, tmp_path: Path) -> None:
    """What ``export --to state-dict`` writes is what ``load_state_dict`` takes, and scores are ours."""
    from safetensors.torch import load_file

    for layout, peer in (
        ("danet", networks.AuthorsDANet(18, 5, imagenet_classes=0)),
        ("mmseg", networks.MMSegDANet(50, 5, head_channels=512)),
    ):
        stem = {"deep_stem": True, "stem_channels": 32, "auxiliary_head": True} if layout == "mmseg" else {}
        parts = {"backbone": "resnet50" if stem else "resnet18", "head": "dual", **stem}
        config = config_from({"name": "t", "network": parts})
        network = build_network(config.network_config(5))
        imported = import_weights(save(networks.randomise(peer, 7).state_dict(), tmp_path / "in.pth", "zip"))
        params = imported.arrays
        metadata = {
            "kind": "model", "config": config.model_dump(mode="json", exclude_none=True),
            "classes": list("abcde"), "palette": [[0, 0, 0]] * 5,
        }  # fmt: skip
        save_checkpoint(tmp_path / "ours.safetensors", params, metadata)
        back = tmp_path / "back.safetensors"
        chosen, _ = write_state_dict(open_model(tmp_path / "ours.safetensors"), back, layout)
        assert chosen == layout
        networks.randomise(peer, 8).load_state_dict(load_file(back))
        images = images_for((33, 41))
        wanted, *_ = peer.eval().score_maps(channels_first(images))
        assert_same(network.predict(images, context(params, False)), wanted)


def test_gradients_of_a_small_danet(networks: Any, tmp_path: Path) -> None:
    """The gradient of each parameter, by the sum of all score maps weighted at random; float64 on both sides."""
    peer = networks.randomise(networks.AuthorsDANet(18, 5, imagenet_classes=0), seed=3).double().train()
    for module in peer.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.eval()
    path = save(peer.state_dict(), tmp_path / "danet.pth", "zip")
    imported = import_weights(path)
    network = build_network(NetworkConfig(classes=5, backbone="resnet18", head="dual", align_corners=True))
    params = {name: value.astype(np.float64) for name, value in imported.arrays.items()}
    with torch.no_grad():  # what float32 has kept
        for parameter in (*peer.parameters(), *peer.buffers()):
            parameter.copy_(parameter.float())
    images = images_for((33, 41)).astype(np.float64)
    ctx = Context(get_backend("reference"), params, save_for_backward=True, batch_statistics=True)
    (scores,) = network.forward(images, ctx).scales
    rng = np.random.default_rng(0)
    dscores = Scores(**{part: rng.normal(size=x.shape) for part, x in scores.parts()})
    network.backward(Outputs(dscores.main, [dscores._replace(main=None)]), ctx)
    maps = peer.score_maps(channels_first(images))
    total = sum((channels_first(d) * x).sum() for (_, d), x in zip(dscores.parts(), maps, strict=True))
    total.backward()
    gradients = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    for ours, gradient in ctx.gradients.items():
        naming = imported.match.naming
        theirs = naming.convert(ours, gradients[naming.theirs(ours)], gradient.shape)
        scale = max(np.abs(theirs).max(), 1e-6)
        np.testing.assert_allclose(gradient, theirs, atol=1e-7 * scale, rtol=0, err_msg=ours)
