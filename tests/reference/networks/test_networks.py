"""Shapes, names, sizes and starting values of the networks, and what they promise beside their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import reference.ops as ops
from reference.layers import Context, is_trained
from reference.networks import LossWeights, NetworkConfig, build_network
from reference.networks.resnet import ResNet
from reference.networks.vgg import VGG16


def count(params):
    return sum(value.size for name, value in params.items() if is_trained(name))


@pytest.mark.parametrize(
    ("depth", "parameters"),
    # torchvision's counts without the classifier `fc`
    [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032), ("resnet101", 42_500_160)],
)
def test_resnets_have_torchvisions_size(depth, parameters):
    assert count(ResNet("backbone", depth).initialise(0)) == parameters


def test_vgg_has_torchvisions_size():
    assert count(VGG16("backbone").initialise(0)) == 14_714_688


def test_danet_head_has_the_authors_size():
    params = build_network(NetworkConfig(classes=19, backbone="resnet50", head="dual")).initialise(0)
    assert count({n: v for n, v in params.items() if n.startswith("head.")}) == 23_954_619


def test_resnet_names_are_torchvisions():
    params = ResNet("backbone", "resnet50").initialise(0)
    assert params["backbone.conv1.weight"].shape == (7, 7, 3, 64)
    assert params["backbone.layer1.0.downsample.0.weight"].shape == (1, 1, 64, 256)
    assert params["backbone.layer4.2.conv3.weight"].shape == (1, 1, 512, 2048)
    assert params["backbone.layer3.5.bn2.running_var"].shape == (256,)
    assert "backbone.layer2.1.downsample.0.weight" not in params
    assert "backbone.conv1.bias" not in params


def test_the_narrow_deep_stem_is_that_of_mmsegmentation():
    """V1c: 32, 32, 64, where PyTorch-Encoding's has 64, 64, 128; the blocks behind it differ in one input alone."""
    narrow = ResNet("backbone", "resnet50", deep_stem=True, stem_channels=32).initialise(0)
    shapes = [narrow[f"backbone.conv1.{index}.weight"].shape for index in (0, 3, 6)]
    assert shapes == [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64)]
    assert narrow["backbone.bn1.weight"].shape == (64,)
    wide = ResNet("backbone", "resnet50", deep_stem=True).initialise(0)
    assert wide["backbone.conv1.6.weight"].shape == (3, 3, 64, 128)
    assert narrow["backbone.layer1.0.conv1.weight"].shape == (1, 1, 64, 64)
    assert wide["backbone.layer1.0.conv1.weight"].shape == (1, 1, 128, 64)


@pytest.mark.parametrize(("backbone", "channels"), [("resnet18", (256, 64)), ("resnet50", (1024, 256))])
def test_the_auxiliary_head_is_that_of_mmsegmentation(backbone, channels):
    """It adds parameters, and changes none: those that both networks have start the same."""
    plain = build_network(NetworkConfig(classes=19, backbone=backbone)).initialise(0)
    params = build_network(NetworkConfig(classes=19, backbone=backbone, auxiliary_head=True)).initialise(0)
    assert {name: value.shape for name, value in params.items() if name not in plain} == {
        "auxiliary_head.reduce.conv.weight": (3, 3, *channels),
        **{f"auxiliary_head.reduce.norm.{part}": (channels[1],)
           for part in ("weight", "bias", "running_mean", "running_var")},
        "auxiliary_head.classifier.weight": (channels[1], 19),
        "auxiliary_head.classifier.bias": (19,),
    }  # fmt: skip
    for name, value in plain.items():
        np.testing.assert_array_equal(params[name], value, err_msg=name)


def dilations(output_stride, **config):
    """The (stride, dilation) of each 3×3 convolution of a ResNet-50."""
    resnet = ResNet("b", "resnet50", output_stride=output_stride, **config)
    found = {stage: [] for stage in (2, 3, 4)}
    for conv in (block.inner[1].conv for block in [*resnet.layer1, *resnet.layer2_to_3, *resnet.layer4]):
        for stage, strides in found.items():
            if f"layer{stage}." in conv.name:
                strides.append((conv.geometry["stride"], conv.geometry["dilation"]))
    return found


def test_dilated_resnets_follow_the_authors():
    at8 = dilations(8)
    assert at8[2] == [(2, 1)] + [(1, 1)] * 3
    assert at8[3] == [(1, 1)] + [(1, 2)] * 5  # the first keeps the dilation of the stage before
    assert at8[4] == [(1, 2), (1, 4), (1, 4)]
    at16 = dilations(16)
    assert at16[3][0] == (2, 1)
    assert at16[4] == [(1, 1), (1, 2), (1, 2)]
    assert dilations(32)[4] == [(2, 1), (1, 1), (1, 1)]
    assert dilations(8, multi_grid=(4, 8, 16))[4] == [(1, 4), (1, 8), (1, 16)]


@pytest.mark.parametrize(
    ("backbone", "stride"),
    [("tiny", 4), ("tiny", 8), ("vgg16", 8), ("resnet18", 8), ("resnet18", 16), ("resnet18", 32)],
)
@pytest.mark.parametrize("size", [(1, 1), (17, 30), (32, 41)])
def test_the_grid_is_the_image_over_the_output_stride_rounded_up(backbone, stride, size):
    network = build_network(NetworkConfig(classes=3, backbone=backbone, output_stride=stride, head="fcn"))
    images = np.zeros((1, *size, 3), np.float32)
    scores = network.predict(images, Context(ops, network.initialise(0)))
    assert scores.shape == (1, -(-size[0] // stride), -(-size[1] // stride), 3)
    assert scores.dtype == np.float32


def test_gates_and_the_last_scale_convolution_start_at_zero():
    params = build_network(NetworkConfig(classes=3, scales=(1.0, 0.5))).initialise(3)
    assert params["head.position.gate"] == 0
    assert params["head.channel.gate"] == 0
    assert not params["scale_attention.conv2.weight"].any()
    assert params["scale_attention.conv1.weight"].any()


def test_convolutions_start_as_in_the_papers():
    params = build_network(NetworkConfig(classes=3, backbone="resnet18")).initialise(0)
    weight = params["backbone.layer3.1.conv1.weight"]  # N(0, √(2/(9·256)))
    assert weight.std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)
    assert params["head.position.value.weight"].max() <= 1 / np.sqrt(128)


def test_a_parameter_starts_from_the_seed_and_its_own_name():
    fcn = build_network(NetworkConfig(classes=3, head="fcn")).initialise(7)
    dual = build_network(NetworkConfig(classes=5, head="dual", scales=(1.0, 0.5))).initialise(7)
    other = build_network(NetworkConfig(classes=3, head="fcn")).initialise(8)
    np.testing.assert_array_equal(fcn["backbone.conv3.weight"], dual["backbone.conv3.weight"])
    assert np.any(fcn["backbone.conv3.weight"] != other["backbone.conv3.weight"])
    assert np.any(dual["head.position.query.weight"] != dual["head.position.key.weight"])


@pytest.mark.parametrize("config", [{"backbone": "resnet18"}, {"backbone": "tiny", "scales": (1.0, 0.5)}])
def test_folding_the_norms_changes_nothing(make_problem, config):
    problem = make_problem(**config)
    plain, weights = problem.network.predict_with_weights(problem.images, Context(ops, problem.params))
    before = dict(problem.params)
    folded = problem.network.fold(problem.params)
    assert problem.params == before, "fold changed the dict it was given"
    assert not any("running" in name for name in folded)
    np.testing.assert_allclose(problem.network.predict(problem.images, Context(ops, folded)), plain, rtol=1e-9)
    assert (weights is None) == ("scales" not in config)


def test_prediction_is_the_main_map_and_keeps_nothing(make_problem):
    problem = make_problem(scales=(1.0, 0.5), scale_classifier="attached", dropout=False)
    ctx = Context(ops, problem.params)
    outputs = problem.network.forward(problem.images, ctx)
    np.testing.assert_array_equal(problem.network.predict(problem.images, ctx), outputs.main)
    ctx.require_nothing_saved()
    np.testing.assert_allclose(outputs.scale_weights.sum(-1), 1)
    assert outputs.scale_classes.shape == (3, 2, 3)
    for scores in outputs.scales:
        assert [part for part, _ in scores.parts()] == ["main", "position", "channel"]
        assert all(x.shape == outputs.main.shape for _, x in scores.parts())


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_the_auxiliary_head_speaks_in_training_alone(make_problem, scales):
    problem = make_problem(backbone="resnet18", head="fcn", auxiliary_head=True, scales=scales, dropout=False)
    outputs = problem.network.forward(problem.images, Context(ops, problem.params))
    assert len(outputs.scales) == len(scales)
    for scores in outputs.scales:
        assert [part for part, _ in scores.auxiliaries()] == ["auxiliary"]
        assert scores.auxiliary.shape == outputs.main.shape

    seen = []
    ctx = Context(ops, problem.params, observe=lambda name, array: seen.append(name))
    predicted = problem.network.predict(problem.images, ctx)
    np.testing.assert_array_equal(predicted, outputs.main)
    assert seen
    assert not any("auxiliary" in name for name in seen)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
@pytest.mark.parametrize("head", ["fcn", "dual"])
def test_a_decoder_predicts_at_stride_4_and_the_head_is_auxiliary(make_problem, head, scales):
    problem = make_problem(
        backbone="resnet18", output_stride=32, head=head, decoder=True, scales=scales, dropout=False
    )
    branches = ["position", "channel"] if head == "dual" else []
    outputs = problem.network.forward(problem.images, Context(ops, problem.params))
    assert len(outputs.scales) == len(scales)
    _, height, width, _ = problem.images.shape
    for scores in outputs.scales:
        assert [part for part, _ in scores.auxiliaries()] == [*branches, "auxiliary"]
        assert scores.main.shape[1:3] == (-(-height // 4), -(-width // 4))

    alone = Context(ops, problem.params)
    predicted = problem.network.forward(problem.images, alone, auxiliaries=False)
    np.testing.assert_array_equal(predicted.main, outputs.main)
    assert all(not scores.auxiliaries() for scores in predicted.scales)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.75, 0.5)])
def test_the_loss_weighs_the_auxiliary_head_by_its_mean_over_the_scales(make_problem, scales):
    config = {"backbone": "resnet18", "head": "fcn", "auxiliary_head": True, "scales": scales, "dropout": False}
    totals = {}
    for weights in (LossWeights(), LossWeights(auxiliary=0.0)):
        problem = make_problem(weights, **config)
        loss = problem.loss()
        losses = [cross_entropy(scores.auxiliary, problem) for scores in loss.outputs.scales]
        assert len(losses) == len(scales)
        assert loss.parts["auxiliary"] == pytest.approx(np.mean(losses))
        totals[weights.auxiliary] = float(loss.total)
        levels = [f"scale {scale:g}" for scale in scales if len(scales) > 1]
        assert set(loss.parts) == {"main", "auxiliary", *levels}
        others = sum(float(value) for name, value in loss.parts.items() if name != "auxiliary")
        assert totals[weights.auxiliary] == pytest.approx(others + weights.auxiliary * loss.parts["auxiliary"])
    assert set(totals) == {0.4, 0.0}
    assert totals[0.4] > totals[0.0]


def cross_entropy(scores, problem):
    logits, _ = ops.resize_bilinear(scores, problem.labels.shape[1:])
    class_weights = np.array(problem.objective.class_weights)
    return ops.softmax_cross_entropy(logits, problem.labels, ignore_label=255, class_weights=class_weights)[0]


def test_fusion_starts_as_the_mean_of_the_scales():
    images = np.random.default_rng(0).normal(size=(1, 24, 32, 3)).astype(np.float32)
    scores = {}
    for fusion in ("attention", "mean"):
        network = build_network(NetworkConfig(classes=3, scales=(1.0, 0.75, 0.5), fusion=fusion))
        scores[fusion] = network.predict(images, Context(ops, network.initialise(0)))
    np.testing.assert_allclose(scores["attention"], scores["mean"], rtol=1e-5, atol=1e-6)


def test_a_norm_that_scales_share_pools_what_it_measures(make_problem):
    problem = make_problem(head="fcn", scales=(1.0, 0.5), size=(16, 24))
    ctx = problem.context()
    seen = {}
    ctx.observe = seen.__setitem__
    problem.objective.forward(problem.images, problem.labels, ctx)
    both = [seen[f"scale {s}/backbone.conv1"].reshape(-1, 16) for s in ("1", "0.5")]
    pixels = np.concatenate(both)
    measured = ctx.statistics["backbone.bn1"]
    assert measured.count == len(pixels)
    np.testing.assert_allclose(measured.mean, pixels.mean(0))
    np.testing.assert_allclose(measured.variance, pixels.var(0))


def test_scales_draw_different_dropout_masks(make_problem):
    problem = make_problem(head="largefov", scales=(1.0, 0.5))
    names = []
    ctx = problem.context()
    ctx.draw_mask = lambda name, shape, rate: names.append(name) or np.ones(shape, bool)
    problem.objective.forward(problem.images, problem.labels, ctx)
    assert len(names) == len(set(names)) == 5


def test_an_attention_that_collapsed_shows_two_classes_that_are_the_same(make_problem):
    """When one scale has all the weight, the fused map is that scale's: nothing can tell the two apart."""
    problem = make_problem(head="fcn", scales=(1.0, 0.75, 0.5), scale_classifier="attached", dropout=False)
    problem.params["scale_attention.conv2.bias"] = np.array([60.0, -60.0, -60.0])
    fused, first, second, _ = problem.loss().outputs.scale_classes
    np.testing.assert_allclose(fused, first, rtol=1e-12)
    assert np.abs(fused - second).max() > 1e-4


def test_the_untrained_scale_classifier_guesses(make_problem):
    problem = make_problem(head="fcn", scales=(1.0, 0.75, 0.5), scale_classifier="attached")
    problem.params["scale_classifier.weight"] = np.zeros((4, 4))
    problem.params["scale_classifier.bias"] = np.zeros(4)
    assert float(problem.loss().parts["scale classifier"]) == pytest.approx(np.log(4))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"backbone": "resnet19"}, "backbone must be one of"),
        ({"head": "both"}, "head must be one of"),
        ({"classes": 1}, "classes must be at least 2"),
        ({"output_stride": 16}, "output_stride of tiny must be one of 4, 8"),
        ({"scales": (0.5,)}, r"scales must hold 1\.0"),
        ({"scales": (1.0, 1.0)}, "scales must differ"),
        ({"scales": (1.0, 0.5, 0.50000001)}, "scales must differ"),
        ({"scales": (1.0, -1.0)}, "scales must be positive"),
        ({"deep_stem": True}, "deep_stem is for ResNets"),
        ({"backbone": "resnet18", "stem_channels": 32}, "stem_channels is the width of a deep_stem"),
        ({"backbone": "resnet18", "deep_stem": True, "stem_channels": 0}, "stem_channels must be 1 to 65536"),
        ({"decoder": True}, "decoder is for ResNets, not for tiny"),
        ({"backbone": "resnet18", "decoder": True, "auxiliary_head": True}, "exclude each other"),
        ({"auxiliary_head": True}, "auxiliary_head is for ResNets, not for tiny"),
        ({"backbone": "vgg16", "auxiliary_head": True}, "auxiliary_head is for ResNets, not for vgg16"),
        ({"multi_grid": (4, 8, 16)}, "multi_grid is for ResNets"),
        ({"backbone": "resnet18", "multi_grid": (4, 8, 16)}, "needs 2 dilations"),
        ({"scale_classifier": "attached"}, "needs more than one scale"),
        ({"fusion": "sum"}, "fusion must be one of"),
    ],
)
def test_parts_that_do_not_fit_are_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        NetworkConfig(**({"classes": 3} | config))
