"""Evaluations as files: a confusion matrix for each image, and what it is of, so that runs are compared at once."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, FiniteFloat, ValidationError

from segattn_cli.config import Config, config_from
from segattn_cli.data import Dataset, Scenes
from segattn_cli.data.dataset import FileDataset
from segattn_cli.errors import ConfigError, DataError, OutputError, UsageError
from segattn_cli.files import is_no_file, write_atomically
from segattn_cli.json_text import json_text
from segattn_cli.npz import DAMAGED, NpzError, npz_arrays
from segattn_cli.prediction.evaluation import EvaluationResult
from segattn_cli.prediction.image_matrices import ImageMatrices
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.shards import WHOLE, Shard
from segattn_cli.runs import EVALUATIONS

#: Of the format of the file.
VERSION = 1
ENDING = ".npz"
#: What a description of wrong types or a contradiction raises.
WRONG = (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError, UsageError)
#: Bytes that the arrays unpack to at most, and pixels of an image, of which sums are exact.
LARGEST, MOST_PIXELS = 1 << 30, 1 << 40
#: Values of a mask of 8 bits, of which one is ignored.
MOST_CLASSES = 255


@dataclass(frozen=True)
class SavedEvaluation:
    """What a network predicted on a data set, counted for each image by itself."""

    checkpoint: str  # the path of the checkpoint
    config: Config
    classes: tuple[str, ...]
    data: str  # the name of the data set
    split: str
    settings: dict[str, Any]  # of the predictor
    scale_weights: tuple[float, ...] | None  # the mean weight of each of the network's scales
    matrices: ImageMatrices
    shard: Shard = WHOLE  # of the images of the split


class _Description(BaseModel):
    """What an evaluation is of, as its file says it in JSON."""

    checkpoint: str
    config: dict[str, Any]
    classes: tuple[str, ...]
    data: str
    split: str
    settings: dict[str, Any]
    scale_weights: tuple[FiniteFloat, ...] | None
    shard: str = str(WHOLE)


def evaluation_of(
    checkpoint: Path, config: Config, predictor: Predictor, result: EvaluationResult, shard: Shard = WHOLE
) -> SavedEvaluation:
    """The part of ``result`` that is saved."""
    return SavedEvaluation(
        str(checkpoint), config, result.classes, result.data, result.split, predictor.settings,
        result.scale_weights, result.image_matrices, shard,
    )


def save_evaluation(path: Path, evaluation: SavedEvaluation) -> None:
    """Write ``evaluation`` to ``path``: compressed arrays, without pickles. Raises :class:`OutputError`."""
    matrices = evaluation.matrices
    description = {
        "version": VERSION,
        "checkpoint": evaluation.checkpoint,
        "config": evaluation.config.model_dump(mode="json", exclude_none=True),
        "classes": list(evaluation.classes),
        "data": evaluation.data,
        "split": evaluation.split,
        "settings": evaluation.settings,
        "scale_weights": evaluation.scale_weights,
        "shard": str(evaluation.shard),
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, description=np.array(json_text(description)), names=np.array(matrices.names, dtype=np.str_),
        image=matrices.image, cell=matrices.cell, pixels=matrices.pixels,
    )
    write_atomically(path, buffer.getvalue())


def load_evaluation(path: Path) -> SavedEvaluation:
    """Read what :func:`save_evaluation` wrote.

    Raises :class:`DataError` for a file that is missing, damaged, or not one of ours.
    """
    if is_no_file(path):
        raise DataError(f"{path} is a folder, a pipe or a device: give a file.")
    try:
        arrays = npz_arrays(path, kinds="iU", largest=LARGEST)
        text = str(arrays["description"])
        version = json.loads(text)["version"]
        if version != VERSION:
            raise DataError(
                f"{path} has version {version} of the format of evaluations, and this segattn reads version "
                f"{VERSION}: evaluate the run again."
            )
        description = _Description.model_validate_json(text, strict=True)
        config, classes, weights = config_from(description.config), description.classes, description.scale_weights
        if weights is not None and len(weights) != len(config.network.scales):
            raise ValueError("it has the weights of other scales than the network")
        names, image, cell, pixels = (arrays[key] for key in ("names", "image", "cell", "pixels"))
        if names.size > path.stat().st_size:
            raise ValueError("it names more images than it has bytes")
        shard = Shard.of_text(description.shard)
        if shard == WHOLE and not names.size:
            raise ValueError("it names no images")
        _require_cells(len(classes), names, image, cell, pixels)
        return SavedEvaluation(
            description.checkpoint, config, classes, description.data, description.split, description.settings,
            weights, ImageMatrices(len(classes), names.tolist(), image, cell, pixels), shard,
        )
    except FileNotFoundError:
        raise DataError(f"There is no evaluation {path}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory.") from None
    except WRONG as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        if isinstance(error, NpzError):
            text = str(error)
            reason = text.removeprefix(DAMAGED) if text.startswith(DAMAGED) else f"it {text}"
        raise DataError(
            f"{path} is damaged, or no evaluation that segattn eval --save wrote ({reason}): give one, or the "
            "folder of a run."
        ) from None


def _require_cells(
    classes: int, names: np.ndarray, image: np.ndarray, cell: np.ndarray, pixels: np.ndarray
) -> None:
    """Raise :class:`ValueError` where the arrays are not those of :class:`ImageMatrices`."""
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError("its names of images are no texts")
    if not image.shape == cell.shape == pixels.shape == (image.size,):
        raise ValueError("its arrays differ in length")
    if any(array.dtype.kind != "i" for array in (image, cell, pixels)):
        raise ValueError("its arrays do not hold integers")
    if not classes:
        raise ValueError("it names no classes")
    if classes > MOST_CLASSES:
        raise ValueError(f"it names {classes:,} classes, and {MOST_CLASSES} are possible")
    if image.size and not (image.min() >= 0 and image.max() < len(names)):
        raise ValueError("it counts pixels of an image that it does not name")
    if pixels.size and not 0 < pixels.min() <= pixels.max() < MOST_PIXELS:
        raise ValueError("it counts pixels that no image has")
    if cell.size and not (cell.min() >= 0 and cell.max() < classes**2):
        raise ValueError("it counts pixels of a class that it does not name")


def path_of(checkpoint: Path, predictor: Predictor, dataset: Dataset, images: int) -> Path:
    """Where the evaluation of ``checkpoint`` on the first ``images`` of ``dataset`` is saved, beside it.

    The name is a hash of all on which the predictions depend: the content of the checkpoint, the images by name,
    size and time of change, and the settings of the predictor. So a file that is there is the right one.
    """
    identity = {
        "checkpoint": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "data": [dataset.name, dataset.format, dataset.split],
        "images": [_image_identity(dataset, index) for index in range(images)],
        "settings": predictor.settings,
    }
    digest = hashlib.sha256(json_text(identity).encode()).hexdigest()
    return checkpoint.parent / EVALUATIONS / f"{digest[:16]}{ENDING}"


def keep_evaluation(path: Path, evaluation: SavedEvaluation, *, only: bool = False) -> None:
    """Save ``evaluation`` at its :func:`path_of`; as the ``only`` one, where the checkpoint has just been replaced.

    Raises :class:`OutputError` where it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        for old in path.parent.glob(f"*{ENDING}") if only else ():
            old.unlink()
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written to: {error.strerror}.") from None
    save_evaluation(path, evaluation)


def _image_identity(dataset: Dataset, index: int) -> list[Any]:
    """What changes where an image or its mask is another one."""
    name = dataset.name_of(index)
    if isinstance(dataset, Scenes):
        return [name, *dataset.size, dataset.seed]
    if isinstance(dataset, FileDataset):
        stats = [path.stat() for path in dataset.pairs[index] if path.exists()]
        return [name, dataset.intensity, *((stat.st_size, stat.st_mtime_ns) for stat in stats)]
    return [name]
