"""Whether runs differ by more than chance: paired differences with intervals, by class and by image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal, NamedTuple

import numpy as np

from segattn_cli.config import differences
from segattn_cli.data import Dataset
from segattn_cli.errors import CheckpointError, DataError, OutputError, counted
from segattn_cli.prediction.evaluation import Evaluated, evaluate
from segattn_cli.prediction.image_matrices import CONFIDENCE, ImageMatrices, Interval, interval
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.saved_evaluation import (
    SavedEvaluation,
    evaluation_of,
    keep_evaluation,
    load_evaluation,
    path_of,
)
from segattn_cli.rendering.tables import signed
from segattn_cli.runs import Model

#: What an interval is over, and so what its width does not hold: the other of the two.
Over = Literal["images", "seeds"]
#: The keys that do not make another experiment of a run.
REPEATED = ("name", "training.seed", "data.fold")


class Difference(NamedTuple):
    """How much larger a metric is than that of the first group, as a fraction in [−1, 1]."""

    value: float
    interval: Interval | None  # None where there is only one image and one seed
    over: Over

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or that the interval allows both."""
        if self.interval is None or self.interval.holds_zero:
            return "cannot be told apart"
        return "better" if self.value > 0 else "worse"

    def as_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "low": self.interval and self.interval.low,
            "high": self.interval and self.interval.high,
            "confidence": CONFIDENCE,
            "over": self.over,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    name: str
    evaluations: tuple[SavedEvaluation, ...]  # by seed

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(each.config.training.seed for each in self.evaluations)

    @cached_property
    def mious(self) -> np.ndarray:
        """The mIoU of each seed: (S,)."""
        return np.array([each.matrices.miou for each in self.evaluations])

    @property
    def miou(self) -> float:
        """The mean over the seeds."""
        return float(self.mious.mean())

    @property
    def sd(self) -> float | None:
        """The standard deviation over the seeds, with S − 1 in the denominator; None for one seed."""
        return float(self.mious.std(ddof=1)) if len(self.mious) > 1 else None

    @cached_property
    def ious(self) -> np.ndarray:
        """The IoU of each seed and class, NaN for a class that never occurs: (S, K)."""
        return np.array([each.matrices.iou for each in self.evaluations])

    @cached_property
    def image_mious(self) -> np.ndarray:
        """The mIoU of each image by itself, the mean over the seeds: (N,)."""
        return np.mean([each.matrices.mious for each in self.evaluations], axis=0)

    @cached_property
    def resampled_miou(self) -> np.ndarray:
        """The mean over the seeds for each resample of the images: (R,)."""
        return np.mean([each.matrices.resampled.miou for each in self.evaluations], axis=0)

    @cached_property
    def resampled_iou(self) -> np.ndarray:
        """The same for each class: (R, K)."""
        return np.mean([each.matrices.resampled.iou for each in self.evaluations], axis=0)


class ImageDifference(NamedTuple):
    """The mIoU of one image by itself in the first group and in another one."""

    image: str
    first: float
    other: float

    @property
    def value(self) -> float:
        return self.other - self.first


@dataclass(frozen=True)
class GroupComparison:
    """A group against the first one, on the same images."""

    first: Group
    other: Group

    @property
    def over(self) -> Over:
        """Seeds where both groups have several, else images."""
        return "seeds" if min(len(self.first.mious), len(self.other.mious)) > 1 else "images"

    @property
    def is_paired(self) -> bool:
        """Whether runs with the same seed are compared with each other."""
        return self.over == "images" or self.first.seeds == self.other.seeds

    @cached_property
    def miou(self) -> Difference:
        return self._difference(
            self.first.mious, self.other.mious, self.first.resampled_miou, self.other.resampled_miou
        )

    @cached_property
    def per_class(self) -> tuple[Difference | None, ...]:
        """The difference of each class; None where one of the groups has no IoU."""
        first, other = self.first, self.other
        return tuple(
            None if np.isnan([*first.ious[:, k], *other.ious[:, k]]).any() else self._difference(
                first.ious[:, k], other.ious[:, k], first.resampled_iou[:, k], other.resampled_iou[:, k]
            )
            for k in range(first.ious.shape[1])
        )

    @cached_property
    def images(self) -> list[ImageDifference]:
        """Each image that has a labelled pixel, the largest difference first, whatever its sign."""
        names = self.first.evaluations[0].matrices.names
        rows = map(ImageDifference, names, self.first.image_mious.tolist(), self.other.image_mious.tolist())
        return sorted((row for row in rows if not math.isnan(row.value)), key=lambda row: -abs(row.value))

    def _difference(
        self, first: np.ndarray, other: np.ndarray, first_drawn: np.ndarray, other_drawn: np.ndarray
    ) -> Difference:
        """From the values of the seeds (S,) and their means in each resample of the images (R,)."""
        value = float(other.mean() - first.mean())
        if self.over == "images":
            several = len(self.first.evaluations[0].matrices.names) > 1
            return Difference(value, interval(other_drawn - first_drawn) if several else None, "images")
        span = paired_t(other - first) if self.is_paired else welch_t(other, first)
        return Difference(value, span, "seeds")


def paired_t(differences: np.ndarray) -> Interval:
    """Student's interval for the mean of ``differences`` (S,), S ≥ 2: mean ± t(S − 1) · sd / √S.

    >>> low, high = paired_t(np.array([1.0, 3.0]))  # t = 12.706 for one degree of freedom
    >>> round(low, 2), round(high, 2)
    (-10.71, 14.71)
    """
    count = len(differences)
    return _t_interval(float(differences.mean()), float(differences.var(ddof=1)) / count, count - 1)


def welch_t(values: np.ndarray, others: np.ndarray) -> Interval:
    """Welch's interval for the difference of the means of independent samples, each of two or more.

    B. L. Welch, The generalization of "Student's" problem when several different population variances are
    involved, Biometrika 1947: variances of their own, and degrees of freedom by Welch and Satterthwaite.

    >>> low, high = welch_t(np.array([1.0, 3.0]), np.array([0.0, 2.0]))  # t = 4.303 for two degrees of freedom
    >>> round(low, 2), round(high, 2)
    (-5.08, 7.08)
    """
    parts = [float(each.var(ddof=1)) / len(each) for each in (values, others)]
    spread = sum(part**2 / (len(each) - 1) for part, each in zip(parts, (values, others), strict=True))
    freedom = sum(parts) ** 2 / spread if spread else math.inf
    return _t_interval(float(values.mean() - others.mean()), sum(parts), freedom)


def _t_interval(mean: float, variance: float, freedom: float) -> Interval:
    from scipy.special import stdtrit  # the quantile of Student's distribution

    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return Interval(mean - half, mean + half)


def evaluate_once(
    model: Model, predictor: Predictor, dataset: Dataset, *, limit: int | None = None
) -> Iterator[Evaluated | SavedEvaluation]:
    """The evaluation of ``model`` on ``dataset`` (the first ``limit`` images): the saved one, or a new one.

    A new one comes with an event for each image, and is saved beside the checkpoint where that can be written to.
    """
    images = len(dataset) if limit is None else min(limit, len(dataset))
    path = path_of(model.path, predictor, dataset, images)
    with suppress(DataError):  # none, or a damaged one, which is replaced
        yield load_evaluation(path)
        return
    for event in evaluate(predictor, dataset, limit=limit):
        if isinstance(event, Evaluated):
            yield event
            continue
        evaluation = evaluation_of(model.path, model.config, predictor, event)
        with suppress(OutputError):  # a run that may only be read is evaluated again the next time
            keep_evaluation(path, evaluation)
        yield evaluation


def require_comparable(names: Sequence[str], evaluations: Sequence[SavedEvaluation]) -> None:
    """Raise :class:`CheckpointError` for other classes than the first has.

    Raises :class:`DataError` for other images, and for images without labels.
    """
    first = evaluations[0]
    if not first.matrices.pixels.size:
        raise DataError(f"There is nothing to compare: {names[0]} has no labelled pixel ({_data_of(first)}).")
    for name, other in zip(names[1:], evaluations[1:], strict=True):
        if other.classes != first.classes:
            raise CheckpointError(
                f"{name} has other classes ({', '.join(other.classes)}) than {names[0]} "
                f"({', '.join(first.classes)}): compare runs with the same classes."
            )
        if not is_of_the_same_images(first, other):
            raise DataError(
                f"{name} was evaluated on other images or labels ({_data_of(other)}) than {names[0]} "
                f"({_data_of(first)}): name data for all of them by --data and --split."
            )


def is_of_the_same_images(one: SavedEvaluation, other: SavedEvaluation) -> bool:
    """Whether both are of the same images, with the same labels."""
    both = one.matrices, other.matrices
    return both[0].names == both[1].names and np.array_equal(both[0].truth, both[1].truth)


def _data_of(evaluation: SavedEvaluation) -> str:
    return f"{evaluation.data}, {evaluation.split}, {counted(len(evaluation.matrices.names), 'image')}"


def join_folds(
    names: Sequence[str], evaluations: Sequence[SavedEvaluation]
) -> tuple[list[str], list[SavedEvaluation]]:
    """Evaluations whose configurations differ in ``data.fold`` alone as one, of the images of all their folds.

    Each image has then been predicted by the network that was not trained on it.
    """
    members = _partition(evaluations, lambda known, new: (
        known[0].config.data.folds is not None
        and known[0].config.training.seed == new.config.training.seed
        and all(each.config.data.fold != new.config.data.fold for each in known)
    ))
    joined = []
    for group in members:
        folds = sorted((evaluations[index] for index in group), key=lambda each: each.config.data.fold)
        weights = [each.scale_weights for each in folds if each.scale_weights is not None]
        joined.append(replace(
            folds[0], matrices=ImageMatrices.joined([each.matrices for each in folds]),
            scale_weights=tuple(np.mean(weights, axis=0).tolist()) if weights else None,
        ))
    return [_common_name([names[index] for index in group]) for group in members], joined


def grouped(names: Sequence[str], evaluations: Sequence[SavedEvaluation]) -> list[Group]:
    """Groups of evaluations whose configurations differ in the seed alone, in the order of their first run.

    The same configuration with the same seed twice is no repetition: it begins another group.
    """
    members = _partition(evaluations, lambda known, new: all(
        each.config.training.seed != new.config.training.seed for each in known
    ))
    titles = [_common_name([names[index] for index in group]) for group in members]
    if len(set(titles)) < len(titles):
        titles = [names[group[0]] for group in members]
    groups = []
    for title, group in zip(titles, members, strict=True):
        by_seed = sorted((evaluations[index] for index in group), key=lambda each: each.config.training.seed)
        groups.append(Group(title, tuple(by_seed)))
    return groups


def _partition(
    evaluations: Sequence[SavedEvaluation],
    belongs: Callable[[Sequence[SavedEvaluation], SavedEvaluation], bool],
) -> list[list[int]]:
    """Indices of evaluations of the same experiment, each in the first list to whose members it ``belongs``."""
    members: list[list[int]] = []
    for index, new in enumerate(evaluations):
        for group in members:
            known = [evaluations[each] for each in group]
            if _same_experiment(known[0], new) and belongs(known, new):
                group.append(index)
                break
        else:
            members.append([index])
    return members


def _same_experiment(one: SavedEvaluation, other: SavedEvaluation) -> bool:
    found = differences([one.config, other.config])
    return one.settings == other.settings and all(each.key in REPEATED for each in found)


def _common_name(names: Sequence[str]) -> str:
    """What the names of repetitions have in common.

    >>> _common_name(["dual/seed-0", "dual/seed-1"]), _common_name(["fcn-0", "fcn-1"]), _common_name(["a", "b"])
    ('dual', 'fcn', 'a')
    """
    if len(names) == 1:
        return names[0]
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in same)
    return re.sub(r"[-_/. ]*(seed|fold)?[-_/. ]*$", "", common) or names[0]


def mean_text(group: Group) -> str:
    """The mIoU, and its standard deviation where there are several seeds."""
    return f"{group.miou:.3f}" + ("" if group.sd is None else f" ± {group.sd:.3f}")


def difference_cells(difference: Difference | None) -> list[str]:
    """The difference, its interval and the verdict, as text for a table."""
    if difference is None:
        return ["–", "–", ""]
    span = difference.interval
    between = "–" if span is None else f"{signed(span.low)} to {signed(span.high)}"
    return [signed(difference.value), between, difference.verdict]


def explanations(comparisons: Sequence[GroupComparison]) -> list[str]:
    """What the intervals are over, and what they leave out."""
    kinds = {(each.over, each.is_paired) for each in comparisons}
    sentences = {
        ("images", True): "The 95 % interval is over the images (paired bootstrap). It does not hold the variation "
        "between trainings: for that, compare several seeds of each.",
        ("seeds", True): "The 95 % interval is over the seeds (Student's t, paired by seed). It does not hold the "
        "variation between images.",
        ("seeds", False): "The 95 % interval is over the seeds (Welch's t, not paired: the seeds differ). It does "
        "not hold the variation between images.",
    }
    return [sentence for kind, sentence in sentences.items() if kind in kinds]
