"""``segattn infer --submission``: a benchmark's own ids, under its own names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.formats.cityscapes import IDS
from segattn_cli.data.formats.class_lists import known_classes


@pytest.fixture
def city(model_of: Callable[..., Path], tmp_path: Path) -> Path:
    """A model of the 19 classes, and pictures below ``leftImg8bit``."""
    for name in ("berlin/berlin_000000_000019", "bonn/bonn_000003_000019"):
        path = tmp_path / "leftImg8bit" / f"{name}_leftImg8bit.png"
        path.parent.mkdir(parents=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
    return model_of(tmp_path / "city.safetensors", classes=known_classes("cityscapes").names)


def test_cityscapes_gets_its_ids_in_its_names(cli: Any, city: Path, tmp_path: Path) -> None:
    pictures, out = tmp_path / "leftImg8bit", tmp_path / "out"
    result = cli("infer", city, pictures, "--out", out, "--submission", "cityscapes")
    assert result.code == 0, result.err
    names = ["berlin_000000_000019_pred_labelIds.png", "bonn_000003_000019_pred_labelIds.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    cli("infer", city, pictures, "--out", tmp_path / "plain")
    for name in names:
        with Image.open(out / name) as submitted:
            assert submitted.mode == "L"
            found = np.asarray(submitted)
        plain = tmp_path / "plain" / name.replace("_pred_labelIds", "_leftImg8bit")
        np.testing.assert_array_equal(found, np.array(IDS)[np.asarray(Image.open(plain))])


def test_what_cannot_be_submitted(cli: Any, city: Path, tmp_path: Path, run: Path, photos: Path) -> None:
    def refused(*arguments: object) -> tuple[int, str]:
        result = cli("infer", *arguments, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return result.code, result.err

    pictures = tmp_path / "leftImg8bit"
    code, err = refused(run, pictures, "--submission", "cityscapes")
    assert code == 2
    assert "wants a network of its 19 classes (road, sidewalk, building, …), and this one has 8" in err
    code, err = refused(city, photos, "--submission", "cityscapes")
    assert code == 4
    assert "is not named like the images of cityscapes" in err
    assert refused(city, pictures, "--submission", "kitti")[0] == 2
    assert "leave out --overlay" in refused(city, pictures, "--submission", "cityscapes", "--overlay")[1]


def test_two_pictures_of_one_name(cli: Any, city: Path, tmp_path: Path) -> None:
    twin = tmp_path / "leftImg8bit" / "berlin" / "berlin_000000_000019.png"
    Image.new("RGB", (8, 8)).save(twin)
    result = cli("infer", city, tmp_path / "leftImg8bit", "--out", tmp_path / "out", "--submission", "cityscapes")
    assert result.code == 2
    assert "Two inputs would both be written to" in result.err


@pytest.mark.parametrize(
    ("benchmark", "name", "mode", "first"),
    [("ade20k", "ADE_test_00000001", "L", 1), ("voc", "2008_000006", "P", 0)],
)
def test_other_benchmarks(
    benchmark: str, name: str, mode: str, first: int, cli: Any, model_of: Callable[..., Path], tmp_path: Path
) -> None:
    """ADE20K counts classes from 1; VOC wants palette PNG in its own colours, whatever the network's are."""
    classes, palette = known_classes(benchmark).names, known_classes(benchmark).palette
    model = model_of(tmp_path / "best.safetensors", classes=classes)
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"{name}.jpg")
    for out, options in (("out", ["--submission", benchmark]), ("plain", [])):
        assert cli("infer", model, tmp_path / f"{name}.jpg", "--out", tmp_path / out, *options).code == 0
    with Image.open(tmp_path / "out" / f"{name}.png") as submitted:
        assert submitted.mode == mode
        np.testing.assert_array_equal(submitted, np.asarray(Image.open(tmp_path / "plain" / f"{name}.png")) + first)
        if mode == "P":
            assert submitted.getpalette()[:63] == palette.ravel().tolist()
