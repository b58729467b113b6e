"""What ``segattn infer`` writes for a picture: one function for each kind of output."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backends.contract import Ops
from segattn_cli.data.palettes import write_label_png
from segattn_cli.data.submissions import Submission
from segattn_cli.rendering.overlays import draw_overlay
from segattn_cli.runs import Model

#: What a 16-bit picture holds for 1.
FULL = 65535


@dataclass(frozen=True)
class Segmentation:
    """What was found in a picture."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8
    label: np.ndarray  # (H, W) uint8
    scores: np.ndarray  # (H, W, K) float32
    are_probabilities: bool  # what the scores are: see `Predictor`
    classes: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of each class, adding to 1: the scores, or their softmax. (H, W, K) float32."""
        if self.are_probabilities:
            return self.scores
        powers = np.exp(self.scores - self.scores.max(-1, keepdims=True))
        powers /= powers.sum(-1, keepdims=True)
        return powers

    @cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability at each pixel: (H, W), from 1/K to 1."""
        return self.probabilities.max(-1)

    @property
    def entropy(self) -> np.ndarray:
        """``−Σ_c p_c ln p_c / ln K`` at each pixel, (H, W): 0 where one class is certain, 1 where none is."""
        p = self.probabilities
        entropy = -(p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(-1) / np.log(p.shape[-1])
        return np.clip(entropy, 0, 1)

    def confidence_by_class(self) -> dict[str, float]:
        """The mean confidence where a class is predicted, for each class that is, in the order of the classes."""
        counts = np.bincount(self.label.ravel(), minlength=len(self.classes))
        sums = np.bincount(self.label.ravel(), self.confidence.ravel(), len(self.classes))
        return {name: float(sums[k] / counts[k]) for k, name in enumerate(self.classes) if counts[k]}


@dataclass(frozen=True)
class FileNaming:
    """What a kind of output is called."""

    ending: str  # after the name of the picture
    rename: Callable[[str], str] | None = None  # from the name of the input, in place of name and ending

    def file_name(self, name: str, picture: str) -> str:
        return f"{name}{self.ending}" if self.rename is None else self.rename(picture)


@dataclass(frozen=True)
class Output:
    """A kind of output: how it is written to a path, and what that path is called."""

    write: Callable[[Path, Segmentation], None]
    naming: FileNaming


def label_map(submission: Submission | None = None) -> Output:
    """The class at each pixel as a palette PNG, or as a benchmark wants it."""
    if submission is not None:
        return Output(
            lambda path, found: submission.write(path, found.label), FileNaming(".png", submission.file_name)
        )
    return Output(lambda path, found: write_label_png(path, found.label, found.palette), FileNaming(".png"))


def overlay(opacity: float) -> Output:
    """The picture under its classes, with a legend."""

    def write(path: Path, found: Segmentation) -> None:
        draw_overlay(found.image, found.label, found.palette, found.classes, opacity=opacity).save(path)

    return Output(write, FileNaming(".overlay.png"))


def scores() -> Output:
    """The scores as float32 (H, W, K)."""
    return Output(lambda path, found: np.save(path, found.scores), FileNaming(".npy"))


def probabilities(form: Literal["png", "npy"]) -> Output:
    """The probability of every class: float16 (H, W, K), or a folder with a 16-bit picture for each class."""
    if form == "npy":
        return Output(
            lambda path, found: np.save(path, found.probabilities.astype(np.float16)),
            FileNaming(".probabilities.npy"),
        )

    def write(folder: Path, found: Segmentation) -> None:
        folder.mkdir()
        for number, name in enumerate(found.classes):
            path = folder / f"{number:03}-{as_file_name(name)}.png"
            _write_fraction(path, found.probabilities[..., number], f"probability of {name}")

    return Output(write, FileNaming(".probabilities"))


def confidence() -> Output:
    """The largest probability at each pixel, as a 16-bit picture."""
    says = "largest probability of a class"
    return Output(lambda path, found: _write_fraction(path, found.confidence, says), FileNaming(".confidence.png"))


def entropy() -> Output:
    """The entropy of the probabilities, as a share of the largest there can be, as a 16-bit picture."""
    says = "entropy of the classes' probabilities over ln K"
    return Output(lambda path, found: _write_fraction(path, found.entropy, says), FileNaming(".entropy.png"))


def attention(model: Model, ops: Ops) -> Output:
    """The maps of attention that need no chosen pixel, in a folder."""
    from segattn_cli.explaining import explain
    from segattn_cli.explaining.save import write_overview

    def write(folder: Path, found: Segmentation) -> None:
        write_overview(explain(model, ops, found.image, found.name, experiments=False), folder)

    return Output(write, FileNaming(".attention"))


def as_file_name(text: str) -> str:
    """``text`` as part of a file's name on any system.

    >>> as_file_name("road / track: wet"), as_file_name("Straße"), as_file_name("…")
    ('road-track-wet', 'Straße', 'class')
    """
    return re.sub(r"[^\w.+]+", "-", text).strip("-.")[:60] or "class"


def _write_fraction(path: Path, values: np.ndarray, says: str) -> None:
    """``values`` in [0, 1] as grey of 16 bits, 65535 being 1; the file says so itself."""
    described = PngInfo()
    described.add_itxt("Description", f"{says}; value / {FULL}")
    Image.fromarray(np.rint(FULL * values).astype(np.uint16)).save(path, "PNG", pnginfo=described)
