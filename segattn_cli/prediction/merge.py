"""The evaluations of all shards of a data set as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segattn_cli.errors import DataError, counted
from segattn_cli.prediction.image_matrices import ImageMatrices
from segattn_cli.prediction.saved_evaluation import SavedEvaluation
from segattn_cli.prediction.shards import WHOLE


def merge_shards(paths: Sequence[Path], parts: Sequence[SavedEvaluation]) -> SavedEvaluation:
    """The evaluation of the whole split, with its images in their order, from all of its shards.

    Raises :class:`DataError` where a shard is missing or there twice, and where two are not of one evaluation.
    """
    count = parts[0].shard.count
    by_number: dict[int, SavedEvaluation] = {}
    for path, part in zip(paths, parts, strict=True):
        for what in ("config", "classes", "data", "split", "settings"):
            if getattr(part, what) != getattr(parts[0], what):
                raise DataError(f"{path} is of another evaluation than {paths[0]}: they differ in {what}.")
        if part.shard.count != count:
            raise DataError(f"{path} is shard {part.shard}, and {paths[0]} is shard {parts[0].shard}.")
        if part.shard.number in by_number:
            raise DataError(f"{path} is shard {part.shard}, which another file is, too.")
        by_number[part.shard.number] = part
    missing = [str(number) for number in range(1, count + 1) if number not in by_number]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise DataError(f"Of {counted(count, 'shard')}, {', '.join(missing)} {are} missing.")
    shards = [by_number[number].matrices for number in range(1, count + 1)]
    sizes = [len(each.names) for each in shards]
    if sizes != [each.shard.size(sum(sizes)) for _, each in sorted(by_number.items())]:
        raise DataError(f"The shards have {', '.join(map(str, sizes))} images: they are not of one list of images.")
    starts = np.cumsum([0, *sizes[:-1]])
    order = [int(starts[index % count]) + index // count for index in range(sum(sizes))]
    weights = [
        (part.scale_weights, size)
        for (_, part), size in zip(sorted(by_number.items()), sizes, strict=True)
        if part.scale_weights is not None
    ]
    mean = None
    if weights:
        values, counts = zip(*weights, strict=True)
        mean = tuple(np.average(values, axis=0, weights=counts).tolist())
    return replace(
        parts[0], matrices=ImageMatrices.joined(shards).in_order(order), shard=WHOLE, scale_weights=mean
    )
