"""The oracle of the importer, on its own: the originals' names, shapes and sizes, and outputs as they must be."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
pytestmark = pytest.mark.torch

STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
#: The authors' names of the head and mmsegmentation's, from the project's notes on both.
HEAD_NAMES = {
    "conv5a.0": "pam_in_conv.conv", "conv5a.1": "pam_in_conv.bn", "conv5c.0": "cam_in_conv.conv",
    "conv5c.1": "cam_in_conv.bn", "sa.query_conv": "pam.query_project", "sa.key_conv": "pam.key_project",
    "sa.value_conv": "pam.value_project", "sa.gamma": "pam.gamma.scale", "sc.gamma": "cam.gamma.scale",
    "conv51.0": "pam_out_conv.conv", "conv51.1": "pam_out_conv.bn", "conv52.0": "cam_out_conv.conv",
    "conv52.1": "cam_out_conv.bn", "conv6.1": "pam_conv_seg", "conv7.1": "cam_conv_seg", "conv8.1": "conv_seg",
}  # fmt: skip


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def images(size=65, batch=2, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, size, size, generator=numbers, dtype=torch.float64)


@pytest.fixture
def make(networks):
    """``make(name, …)``: one of the networks with random weights, in float64, to be evaluated."""

    def made(name, *arguments, seed=0, **options):
        return networks.randomise(getattr(networks, name)(*arguments, **options).double(), seed).eval()

    return made


@pytest.fixture
def original():
    """Full-size networks are built without memory for their numbers."""
    with torch.device("meta"):
        yield


@pytest.mark.usefixtures("original")
class TestOriginals:
    @pytest.mark.parametrize(
        ("depth", "count"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)]
    )
    def test_resnets_have_the_size_that_torchvision_publishes(self, networks, depth, count):
        assert parameters(networks.ResNet(depth)) == count

    def test_sizes(self, networks):
        assert parameters(networks.ResNet(50, classes=0)) == 23_508_032
        assert parameters(networks.VGG16()) == 138_357_544
        assert parameters(networks.AuthorsHead(2048, 19)) == 23_954_619

    def test_resnet_names(self, networks):
        found = shapes(networks.ResNet(50))
        assert found["conv1.weight"] == (64, 3, 7, 7)
        assert all(f"bn1.{name}" in found for name in STATISTICS)
        assert found["bn1.num_batches_tracked"] == ()
        assert found["layer1.0.conv1.weight"] == (64, 64, 1, 1)
        assert found["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
        assert all(f"layer4.0.downsample.1.{name}" in found for name in STATISTICS)
        assert found["layer4.2.conv2.weight"] == (512, 512, 3, 3)
        assert found["fc.weight"] == (1000, 2048)
        assert len(found) == 320  # as in torchvision's files
        assert "layer1.0.downsample.0.weight" not in shapes(networks.ResNet(18))
        assert len(shapes(networks.ResNet(18))) == 122

    def test_stems(self, networks):
        deep = shapes(networks.ResNet(50, style="encoding"))
        assert [deep[f"conv1.{i}.weight"] for i in (0, 3, 6)] == [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3)]
        assert deep["conv1.1.running_mean"] == deep["conv1.4.running_mean"] == (64,)
        assert deep["bn1.weight"] == (128,)
        assert deep["layer1.0.conv1.weight"] == (64, 128, 1, 1)
        assert not any(name.startswith("conv1.7") for name in deep)
        v1c = shapes(networks.ResNet(50, style="mmseg", classes=0))
        assert [v1c[f"stem.{i}.weight"] for i in (0, 3, 6)] == [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
        assert [v1c[f"stem.{i}.running_var"] for i in (1, 4, 7)] == [(32,), (32,), (64,)]
        assert not {"conv1.weight", "bn1.weight", "fc.weight"} & set(v1c)

    def test_heads(self, networks):
        authors = shapes(networks.AuthorsDANet())
        assert {name.split(".")[0] for name in authors} == {"pretrained", "head"}
        assert "pretrained.fc.weight" in authors  # the files have it, though the network does not use it
        mmseg = shapes(networks.MMSegDANet())
        assert {name.split(".")[0] for name in mmseg} == {"backbone", "decode_head", "auxiliary_head"}
        for theirs, name in HEAD_NAMES.items():
            of_authors = ending(authors, f"head.{theirs}")
            of_mmseg = ending(mmseg, f"decode_head.{name}")
            if theirs.endswith("gamma"):
                assert (of_authors, of_mmseg) == ({"": (1,)}, {"": ()})
            else:
                assert of_authors
                assert of_authors == of_mmseg
        assert authors["head.conv5a.0.weight"] == (512, 2048, 3, 3)
        assert authors["head.sa.query_conv.weight"] == (64, 512, 1, 1)
        assert authors["head.sa.value_conv.bias"] == (512,)
        assert authors["head.conv8.1.weight"] == (19, 512, 1, 1)
        assert mmseg["auxiliary_head.convs.0.conv.weight"] == (256, 1024, 3, 3)
        assert mmseg["auxiliary_head.convs.0.bn.running_mean"] == (256,)
        assert mmseg["auxiliary_head.conv_seg.weight"] == (19, 256, 1, 1)

    def test_vgg_names(self, networks):
        found = shapes(networks.VGG16())
        numbers = [int(name.split(".")[1]) for name in found if name.startswith("features") and "weight" in name]
        assert numbers == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
        assert found["classifier.0.weight"] == (4096, 25088)
        assert found["classifier.3.weight"] == (4096, 4096)
        assert found["classifier.6.bias"] == (1000,)
        assert shapes(networks.LargeFOV())["fc6.weight"] == (1024, 512, 3, 3)


def ending(found, start):
    return {name.removeprefix(start): shape for name, shape in found.items() if name.startswith(start)}


@pytest.mark.parametrize(
    ("depth", "style"),
    [(18, "torchvision"), (18, "encoding"), (50, "torchvision"), (50, "encoding"), (50, "mmseg")],
)
def test_dilation_only_makes_the_map_denser(make, depth, style):
    """A dilated network sees at every 2nd or 4th position what the strided one sees.

    Not so mmsegmentation's ResNet-18, where the second convolution of a block is never dilated.
    """
    strided = make("ResNet", depth, output_stride=32, width=8, style=style)(images(97))
    for output_stride, step in ((16, 2), (8, 4)):
        dense = make("ResNet", depth, output_stride=output_stride, width=8, style=style)(images(97))
        assert dense.shape[2:] == ((97 - 1) // output_stride + 1,) * 2
        torch.testing.assert_close(dense[:, :, ::step, ::step], strided)


def test_dilations_of_the_authors(networks):
    with torch.device("meta"):
        plain, grid = (networks.ResNet(50, multi_grid=multi_grid) for multi_grid in (None, (4, 8, 16)))
    found = [[block.conv2.dilation[0] for block in stage] for stage in (plain.layer2, plain.layer3, plain.layer4)]
    assert found == [[1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]]
    assert [block.conv2.dilation[0] for block in grid.layer4] == [4, 8, 16]
    assert [block.conv2.dilation[0] for block in grid.layer3] == [1, 2, 2, 2, 2, 2]


def test_attention_against_loops(networks):
    query, key, value = (torch.randn(1, c, 2, 3, dtype=torch.float64) for c in (2, 2, 4))
    q, k, v = (x[0].reshape(len(x[0]), 6).numpy() for x in (query, key, value))
    position, channel = np.zeros((4, 6)), np.zeros((4, 6))
    for n in range(6):
        weights = np.array([np.exp(sum(q[c, n] * k[c, m] for c in range(2))) for m in range(6)])
        for m in range(6):
            position[:, n] += weights[m] / weights.sum() * v[:, m]
    for i in range(4):
        weights = np.array([np.exp(-sum(v[i, n] * v[j, n] for n in range(6))) for j in range(4)])
        for j in range(4):  # the row's maximum falls out of the softmax
            channel[i] += weights[j] / weights.sum() * v[j]
    ours = networks.position_attention(query, key, value)
    torch.testing.assert_close(ours, torch.from_numpy(position).view(1, 4, 2, 3))
    torch.testing.assert_close(networks.channel_attention(value), torch.from_numpy(channel).view(1, 4, 2, 3))


def test_the_two_danets_are_one_network(make):
    """With the plain stem, mmsegmentation's weights in the authors' names give the authors' score maps."""
    small = {"width": 8, "head_channels": 16, "query_channels": 4}
    authors = make("AuthorsDANet", 50, 5, **small, imagenet_classes=0)
    mmseg = make("MMSegDANet", 50, 5, **small, style="torchvision", seed=1)
    theirs = mmseg.state_dict()
    for name, value in authors.state_dict().items():
        part, rest = name.split(".", 1)
        if part == "pretrained":
            value.copy_(theirs[f"backbone.{rest}"])
        else:
            known = next(key for key in HEAD_NAMES if rest.startswith(key))
            value.copy_(theirs[f"decode_head.{HEAD_NAMES[known]}{rest.removeprefix(known)}"])
    with torch.no_grad():
        for ours, peers in zip(authors.score_maps(images()), mmseg.score_maps(images())[:3], strict=True):
            assert ours.shape == (2, 5, 9, 9)
            torch.testing.assert_close(ours, peers)
        difference = authors(images())[0] - mmseg(images())[0]  # the one aligns corners, the other does not
    assert difference[..., 0, 0].abs().max() < 1e-9
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize(("name", "count"), [("AuthorsDANet", 3), ("MMSegDANet", 4)])
def test_danets_give_maps_of_the_image_size(make, name, count):
    network = make(name, 18, 5, width=8, head_channels=16, query_channels=2)
    maps = network(images())
    assert [tuple(scores.shape) for scores in maps] == [(2, 5, 65, 65)] * count
    torch.testing.assert_close(maps, network(images()))  # no dropout


@pytest.mark.parametrize("name", ["AuthorsDANet", "MMSegDANet"])
def test_training_normalises_by_the_batch(make, name):
    network = make(name, 18, 5, width=8, head_channels=16, query_channels=2, dropout=0.0)
    running = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    evaluated = network(images())
    trained = network.train()(images())
    assert not torch.allclose(evaluated[0], trained[0])
    moved = network.state_dict()
    assert running
    assert all(not torch.equal(moved[key], value) for key, value in running.items())


def test_gates_start_at_zero_and_count_when_open(networks):
    torch.manual_seed(0)
    head = networks.AuthorsHead(32, 3, channels=8).eval()
    x = torch.randn(1, 32, 5, 5)
    before = head(x)
    torch.nn.init.normal_(head.sa.value_conv.weight)
    torch.testing.assert_close(head(x), before)
    torch.nn.init.ones_(head.sa.gamma)
    assert not torch.allclose(head(x)[1], before[1])
    torch.testing.assert_close(head(x)[2], before[2])
    torch.nn.init.ones_(head.sc.gamma)
    assert not torch.allclose(head(x)[2], before[2])


def test_large_fov_is_made_of_vgg_by_decimation(networks, make):
    vgg = make("VGG16", width=2, hidden=16, classes=3)
    assert vgg(images(224, batch=1)).shape == (1, 3)
    made = networks.LargeFOV.from_vgg16(vgg, 5).eval()
    first, second = (layer.weight.detach().numpy() for layer in (vgg.classifier[0], vgg.classifier[3]))
    fc6, fc7 = made.fc6.weight.detach().numpy(), made.fc7.weight.detach().numpy()
    assert fc6.shape == (4, 16, 3, 3)
    for o, c, i, j in np.ndindex(fc6.shape):
        assert fc6[o, c, i, j] == first[4 * o, c * 49 + 3 * i * 7 + 3 * j]
    for o, c in np.ndindex(4, 4):
        assert fc7[o, c, 0, 0] == second[4 * o, 4 * c]
    assert made.fc6.bias.tolist() == vgg.classifier[0].bias[::4].tolist()
    assert made.fc7.bias.tolist() == vgg.classifier[3].bias[::4].tolist()
    assert made(images(65)).shape == (2, 5, 9, 9)
    assert made.fc7_features(images(65)).shape == (2, 4, 9, 9)
    assert [tuple(made.features[n].dilation) for n in (21, 24, 28)] == [(1, 1), (2, 2), (2, 2)]


@pytest.mark.parametrize(("size", "down", "up"), [(65, 9, 9), (300, 38, 39), (321, 41, 41)])
def test_large_fov_rounds_as_told(networks, size, down, up):
    for ceil_mode, expected in ((False, down), (True, up)):
        network = networks.LargeFOV(2, width=1, fc_channels=2, ceil_mode=ceil_mode).double().eval()
        assert network(images(size, batch=1)).shape[2:] == (expected, expected)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("ResNet", (18,)), ("ResNet", (101,)), ("AuthorsDANet", (50, 5)), ("MMSegDANet", (50, 5)), ("LargeFOV", (5,))],
)
def test_random_weights_keep_activations_of_order_1(make, name, arguments):
    network = make(name, *arguments, width=8)
    again = make(name, *arguments, width=8)
    other = make(name, *arguments, width=8, seed=1)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        assert not torch.equal(value, other.state_dict()[key])
        if "running_var" in key:
            assert 0.5 <= value.min() < value.max() <= 1.5
        if "gamma" in key:
            assert value.min() >= 0.3
    with torch.no_grad():
        outputs = network(images())
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        assert 0.03 < output.std() < 5


def test_checkpoints(networks, make):
    network = make("AuthorsDANet", 18, 5, width=8, imagenet_classes=3)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    saved = networks.encoding_checkpoint(network)
    assert list(saved) == ["epoch", "state_dict", "optimizer", "best_pred"]
    assert isinstance(saved["best_pred"], np.float64)
    assert len(saved["optimizer"]["state"]) == len(list(network.parameters()))
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in weights.items())
    wrapped = networks.encoding_checkpoint(network, data_parallel=True)["state_dict"]
    assert list(wrapped) == [f"module.{name}" for name in weights]
    zoo = networks.mmseg_checkpoint(network, ("road", "sky"))
    assert list(zoo) == ["meta", "state_dict"]
    assert zoo["meta"]["CLASSES"] == ("road", "sky")
    assert len(zoo["meta"]["PALETTE"]) == 2
