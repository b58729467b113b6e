"""The files of ``eval --save``, as ``compare`` reads them."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator

import numpy as np

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate, mutated_json
from segattn_cli.config import load_config
from segattn_cli.prediction.image_matrices import ImageMatrices
from segattn_cli.prediction.run_comparison import GroupComparison, grouped, join_folds, require_comparable
from segattn_cli.prediction.saved_evaluation import SavedEvaluation, load_evaluation, save_evaluation

PATH = FOLDER / "evaluation.npz"


def seeds() -> Iterator[bytes]:
    """Evaluations of two images."""
    for overrides in ([], ["data.folds=2", "data.fold=2"], ["network.scales=[1.0, 0.75]"]):
        save_evaluation(PATH, _evaluation(overrides))
        yield PATH.read_bytes()


def _evaluation(overrides: list[str]) -> SavedEvaluation:
    matrices = ImageMatrices(
        2, ["a", "b"], np.array([0, 0, 1], np.int32), np.array([0, 3, 1], np.int32), np.array([5, 7, 2], np.int64)
    )
    return SavedEvaluation(
        "best.safetensors",
        load_config(None, overrides),
        ("sky", "road"),
        "scenes",
        "val",
        {"scales": [1.0], "flip": False},
        (0.5, 0.5),
        matrices,
    )


GOOD = _evaluation([])


def one_input(data: bytes) -> None:
    PATH.write_bytes(data)
    evaluation = attempt(load_evaluation, PATH)
    if evaluation is not None:
        attempt(_compared, evaluation)


def _compared(evaluation: SavedEvaluation) -> None:
    names, evaluations = ["good", "other"], [GOOD, evaluation]
    require_comparable(names, evaluations)
    names, evaluations = join_folds(names, evaluations)
    groups = grouped(names, evaluations)
    for group in groups[1:]:
        comparison = GroupComparison(groups[0], group)
        comparison.miou.as_dict()
        list(comparison.per_class)


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """An archive with another array or another description, and right checksums; or other bytes."""
    if rng.random() < 0.15:
        return mutate(data, size)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = rng.choice(list(members))
    if name == "description.npy" and rng.random() < 0.9:
        text = str(np.load(io.BytesIO(members[name])))
        buffer = io.BytesIO()
        np.save(buffer, np.array(mutated_json(text.encode(), mutate, size, rng).decode("latin-1")))
        members[name] = buffer.getvalue()
    else:
        members[name] = mutate(members[name], size)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return buffer.getvalue()
