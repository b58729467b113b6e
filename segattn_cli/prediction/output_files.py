"""The files that ``segattn infer`` writes for an image: one function for each kind."""

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

from segattn_cli.data.counting import count_values
from segattn_cli.data.palettes import write_label_png
from segattn_cli.data.submissions import Submission
from segattn_cli.prediction.predictor import Maps, Prediction, Predictor, entropy_of
from segattn_cli.rendering.overlays import draw_overlay

#: The value of 1 in a 16-bit PNG.
FULL = 65535


@dataclass(frozen=True)
class Segmentation:
    """The labels of an image, and what can be derived from its scores; these leave the device when asked for."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8
    label: np.ndarray  # (H, W) uint8
    predictor: Predictor
    prediction: Prediction | None  # None: predicted when something needs the scores
    classes: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8
    source: Path | None = None  # its file, if it has one
    maps: Maps | None = None  # what was computed along with the labels

    @cached_property
    def _prediction(self) -> Prediction:
        return self.predictor.predict(self.image) if self.prediction is None else self.prediction

    @property
    def scores(self) -> np.ndarray:
        """The scores of every class: (H, W, K) float32."""
        return self.predictor.ops.to_numpy(self._prediction.scores)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probability of every class, adding to 1: (H, W, K) float32."""
        return self.predictor.ops.to_numpy(self.predictor.probabilities_of(self._prediction))

    @cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability at each pixel: (H, W), from 1/K to 1."""
        known = None if self.maps is None else self.maps.confidence
        return self.predictor.confidence_of(self._prediction) if known is None else known

    @property
    def entropy(self) -> np.ndarray:
        """The entropy of the classes at each pixel, (H, W): see :func:`~.predictor.entropy_of`."""
        known = None if self.maps is None else self.maps.entropy
        return entropy_of(self.probabilities) if known is None else known

    def confidence_by_class(self) -> dict[str, float]:
        """The mean confidence where a class is predicted, for each class that is, in the order of the classes."""
        counts = count_values(self.label, len(self.classes))
        sums = np.zeros(len(self.classes))
        for label, confidence in zip(self.label, self.confidence, strict=True):
            sums += np.bincount(label, confidence, len(self.classes))
        return {name: float(sums[k] / counts[k]) for k, name in enumerate(self.classes) if counts[k]}


@dataclass(frozen=True)
class FileNaming:
    """The file name of a kind of output."""

    ending: str  # after the name of the image
    rename: Callable[[str], str] | None = None  # from the name of the input, in place of name and ending

    def file_name(self, name: str, source: str) -> str:
        return f"{name}{self.ending}" if self.rename is None else self.rename(source)


@dataclass(frozen=True)
class Output:
    """A kind of output: how it is written to a path, and the name of its file."""

    write: Callable[[Path, Segmentation], None]
    naming: FileNaming


def label_map(submission: Submission | None = None) -> Output:
    """The class at each pixel as a palette PNG, or in the format of a benchmark."""

    def write(path: Path, segmentation: Segmentation) -> None:
        if submission is None:
            write_label_png(path, segmentation.label, segmentation.palette)
        else:
            submission.write(path, segmentation.label)

    return Output(write, FileNaming(".png", None if submission is None else submission.file_name))


def overlay(opacity: float) -> Output:
    """The image under the colours of its classes, with a legend."""

    def write(path: Path, segmentation: Segmentation) -> None:
        draw_overlay(
            segmentation.image, segmentation.label, segmentation.palette, segmentation.classes, opacity=opacity
        ).save(path)

    return Output(write, FileNaming(".overlay.png"))


def scores() -> Output:
    """The scores as float32 (H, W, K)."""
    return Output(lambda path, segmentation: np.save(path, segmentation.scores), FileNaming(".npy"))


def probabilities(form: Literal["png", "npy"]) -> Output:
    """The probability of every class: float16 (H, W, K), or a folder with a 16-bit PNG for each class."""
    if form == "npy":
        return Output(
            lambda path, segmentation: np.save(path, segmentation.probabilities.astype(np.float16)),
            FileNaming(".probabilities.npy"),
        )

    def write(folder: Path, segmentation: Segmentation) -> None:
        folder.mkdir()
        for number, name in enumerate(segmentation.classes):
            path = folder / f"{number:03}-{as_file_name(name)}.png"
            _write_fraction(path, segmentation.probabilities[..., number], f"probability of {name}")

    return Output(write, FileNaming(".probabilities"))


def confidence() -> Output:
    """The largest probability at each pixel, as a 16-bit PNG."""
    meaning = "largest probability of a class"
    return Output(
        lambda path, segmentation: _write_fraction(path, segmentation.confidence, meaning),
        FileNaming(".confidence.png"),
    )


def entropy() -> Output:
    """The entropy of the class probabilities, scaled to 0–1, as a 16-bit PNG."""
    meaning = "entropy of the classes' probabilities over ln K"
    return Output(
        lambda path, segmentation: _write_fraction(path, segmentation.entropy, meaning), FileNaming(".entropy.png")
    )


def attention(write_maps: Callable[[Path, np.ndarray, str], None]) -> Output:
    """A folder of attention maps, which ``write_maps(folder, image, name)`` fills."""
    return Output(
        lambda folder, segmentation: write_maps(folder, segmentation.image, segmentation.name),
        FileNaming(".attention"),
    )


def as_file_name(text: str) -> str:
    """``text`` as part of a file's name on any system.

    >>> as_file_name("road / track: wet"), as_file_name("Straße"), as_file_name("…")
    ('road-track-wet', 'Straße', 'class')
    """
    return re.sub(r"[^\w.+]+", "-", text).strip("-.")[:60] or "class"


def _write_fraction(path: Path, values: np.ndarray, meaning: str) -> None:
    """Write ``values`` in [0, 1] as a 16-bit grey PNG, 65535 for 1; its description says what it holds."""
    description = PngInfo()
    description.add_itxt("Description", f"{meaning}; value / {FULL}")
    scaled = FULL * values
    np.rint(scaled, out=scaled)
    Image.fromarray(scaled.astype(np.uint16)).save(path, "PNG", pnginfo=description)
