"""A model that has learnt nothing, and the command line in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference.networks import build_network
from segattn_cli.config import Config, load_config
from segattn_cli.data.formats.scenes import CLASSES, PALETTE, SceneOptions, Scenes
from segattn_cli.runs.checkpoint import save_checkpoint


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """``cli("infer", run, …)``: what ``segattn infer RUN …`` prints, and its exit code."""

    def call(*arguments: object, stdin: bytes = b"") -> Finished:
        from segattn_cli.app import main

        monkeypatch.setattr(sys, "argv", ["segattn", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main()
        return Finished(int(exit.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def model_of() -> Callable[..., Path]:
    """``model_of(path, *overrides)``: a checkpoint with first weights of the tiny preset, changed by overrides."""

    def make(path: Path, *overrides: str, classes: tuple[str, ...] = CLASSES) -> Path:
        config: Config = load_config(
            "tiny-scenes",
            [
                "data.scenes={size=[24, 32], train=4, val=3}",
                "network.head_channels=8",
                "network.scale_attention_channels=8",
                *overrides,
            ],
        )
        params = build_network(config.network_config(len(classes))).initialise(seed=3)
        rng = np.random.default_rng(4)
        moved = {
            name: value + 0.1 * rng.standard_normal(value.shape).astype(np.float32) if value.ndim == 4 else value
            for name, value in params.items()
        }
        described = {
            "config": config.model_dump(mode="json", exclude_none=True),
            "classes": list(classes),
            "palette": np.resize(PALETTE, (len(classes), 3)).tolist(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, moved, described)
        return path

    return make


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, model_of: Callable[..., Path]) -> Path:
    """A run's folder with a best checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    model_of(folder / "best.safetensors")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures of different size and kind."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, (name, size) in enumerate({"a.jpg": (30, 41), "b.png": (24, 32), "c.bmp": (17, 60)}.items()):
        image = Scenes("test", SceneOptions(size=size)).load(index).image
        Image.fromarray(image).save(folder / name)
    return folder
