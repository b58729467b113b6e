"""``--with RUN``: several runs as one, in infer, eval and what is saved for compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segattn_cli.data import read_mask
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.errors import ExitCode

ONE_SCALE = ("network.head=fcn", "network.scales=[1.0]", "network.scale_classifier=none")


@pytest.fixture
def other(tmp_path: Path, model_of: Callable[..., Path]) -> Path:
    model_of(tmp_path / "runs" / "fcn" / "best.safetensors", *ONE_SCALE)
    return tmp_path / "runs" / "fcn"


def test_infer_averages_probabilities(cli: Any, run: Path, other: Path, photos: Path, tmp_path: Path) -> None:
    options = ["--backend", "reference", "--scores", "--flip"]  # whose scores are probabilities
    for name, runs in {"a": [run], "b": [other], "both": [run, "--with", other]}.items():
        first, *more = runs
        done = cli("infer", first, photos, *more, "--out", tmp_path / name, *options)
        assert done.code == ExitCode.OK, done.err
    for photo in ("a", "b", "c"):
        one, two, both = (np.load(tmp_path / name / f"{photo}.npy") for name in ("a", "b", "both"))
        assert both == pytest.approx((one + two) / 2, abs=1e-6)
        assert read_mask(tmp_path / "both" / f"{photo}.png").tolist() == both.argmax(-1).tolist()


def test_infer_says_what_it_averaged(cli: Any, run: Path, other: Path, photos: Path, tmp_path: Path) -> None:
    done = cli("infer", run, photos / "a.jpg", "--with", other, "--with", run, "--out", tmp_path / "out", "--json")
    *_, last = done.out.splitlines()
    summary = json.loads(last)["summary"]
    assert (summary["checkpoint"], summary["with"]) == (str(run / "best.safetensors"), [str(other), str(run)])


def test_eval_averages_too(cli: Any, run: Path, other: Path, tmp_path: Path) -> None:
    file = tmp_path / "both.npz"
    done = cli("eval", run, "--with", other, "--save", file)
    assert f"{run}/best.safetensors + {other}/best.safetensors on scenes" in done.out
    figures = json.loads(cli("eval", run, "--with", other, "--json", "-").out)
    checkpoints = [each["checkpoint"] for each in figures["averaged"]]
    assert checkpoints == [f"{run}/best.safetensors", f"{other}/best.safetensors"]
    alone = json.loads(cli("eval", run, "--json", "-").out)
    assert figures["confusion"] != alone["confusion"]

    found = json.loads(cli("compare", run, file, "--json", "-").out)
    assert len(found["groups"]) == 2  # the average is no repetition of its first run
    assert found["differences"][0]["miou"]["value"] == pytest.approx(figures["miou"] - alone["miou"])


def test_what_cannot_be_averaged(cli: Any, run: Path, other: Path, photos: Path, model_of: Any) -> None:
    dogs = other.parent / "dogs"
    model_of(dogs / "best.safetensors", classes=(*CLASSES[:-1], "dog"))
    for arguments, code, sentence in (
        (["--with", dogs], ExitCode.CHECKPOINT, "only networks with the same classes can be averaged"),
        (["--with", photos], ExitCode.CHECKPOINT, "is not the folder of a run"),
        (["--with", other, "--attention"], ExitCode.USAGE, "--attention shows one network: leave out --with."),
    ):
        done = cli("infer", run, photos, *arguments, "--out", other.parent / "out")
        assert (done.code, done.out) == (code, "")
        assert sentence in done.err
        assert not (other.parent / "out").exists()
