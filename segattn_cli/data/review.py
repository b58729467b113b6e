"""What ``segattn data check`` and ``segattn train`` say of a data set before the first step, from the same facts.

``data check`` reads every file. A training reads a sample of the masks, and all of them where the sample gives a
reason to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from segattn_cli.data.dataset import IGNORE_LABEL, Dataset, FileDataset
from segattn_cli.data.inspect import SplitReport, inspect, summarise_problems, summarise_split
from segattn_cli.data.listing import first_names, summarise_left_out
from segattn_cli.errors import DataError, counted

#: Number of masks of each split that a training reads before its first step.
SAMPLE = 100
#: Number of classes that a sentence names.
NAMED = 20


class Review(NamedTuple):
    """What is wrong with a data set as a whole."""

    refusals: tuple[str, ...]  # a training would be worth nothing
    warnings: tuple[str, ...]  # a training survives it, but hardly anybody wants it


def review(
    train: SplitReport | None, val: SplitReport | None, classes: Sequence[str], sampled: bool = False
) -> Review:
    """What is wrong with the splits to train and to validate on, judged by what was read of them.

    Args:
        sampled: whether a part of the masks was read: nothing is said then of classes that did not occur.
    """
    refusals, warnings = [], []
    for report in (train, val):
        if report is None or not len(report.pixels):
            continue
        only_0_and_255 = report.values == {0, IGNORE_LABEL} and int((report.class_pixels > 0).sum()) == 1
        if report.class_pixels.sum() == 0:
            refusals.append(f"The split {report.split} has no labelled pixel: all is {IGNORE_LABEL}, ignored.")
        elif only_0_and_255 and report is train:
            refusals.append(
                f"The masks of {report.split} hold 0 and 255 alone: 255 is void, which is ignored, so the network "
                "would learn one class; foreground must be 1. Save it as 1 in all masks."
            )
        elif only_0_and_255:
            warnings.append(
                f"The masks of {report.split} hold 0 and 255 alone: 255 is void; foreground must be 1."
            )
        elif report is train and not sampled and int((report.class_pixels > 0).sum()) == 1:
            warnings.append(f"The split {report.split} has labelled pixels of one class alone.")
    if not sampled:
        warnings += _absent(train, val, classes)
    both = train.files & val.files if train and val else frozenset()
    if both and train and val:
        names = first_names(sorted(path.name for path in both))
        warnings.append(f"Both {train.split} and {val.split} have {len(both)} of the images: {names}.")
    return Review(tuple(refusals), tuple(warnings))


def _absent(train: SplitReport | None, val: SplitReport | None, classes: Sequence[str]) -> list[str]:
    """Sentences on the classes that do not occur."""
    sentences = []
    seen = {}
    for report in (train, val):
        if report is not None and len(report.pixels):
            seen[report.split] = {name for name, n in zip(classes, report.class_pixels, strict=True) if n}
    for report, consequence in (
        (train, "A network cannot learn a class that it never sees."),
        (val, "The validation says nothing about how well they are found."),
    ):
        absent = [name for name in classes if report and name not in seen.get(report.split, classes)]
        if report is not None and absent:
            sentences.append(f"Never in {report.split}: {_named(absent)}. {consequence}")
    return sentences


def warnings_of(report: SplitReport) -> list[str]:
    """What a training survives, of one split."""
    sentences = []
    if report.unlabelled_images:
        count = f"{report.unlabelled_images} of the {report.images} images of {report.split}"
        sentences.append(f"No labelled pixel in {count}.")
    sentences += [f"{report.split}: {mistake}" for mistake in report.mistakes]
    if report.turned_alone:
        sentences.append(
            f"{report.split}: the EXIF orientation turns {counted(len(report.turned_alone), 'image')}, whose masks "
            f"carry none ({first_names(report.turned_alone)}): a mask that was drawn on the image as it is "
            "stored lies wrong. Compare some in an editor; remove the orientation where masks do not fit."
        )
    for note, names in (report.notes or {}).items():
        if "EXIF" not in note:
            sentences.append(f"{report.split}: {counted(len(names), 'image')} ({first_names(names)}): {note}.")
    return sentences


def left_out_of(reports: Sequence[SplitReport]) -> list[str]:
    """A sentence for each split of which something is not taken; one where it is the same for all."""
    clauses = {report.split: "; ".join(summarise_left_out(report.left_out)) for report in reports}
    if len(set(clauses.values())) == 1 < len(clauses):  # the splits lie in the same folders
        clauses = {"every split": next(iter(clauses.values()))}
    return [f"{split}: left out: {clause}." for split, clause in clauses.items() if clause]


def review_before_training(training: Dataset, validation: Dataset) -> list[str]:
    """What ``segattn train`` says of its data: warnings, from up to :data:`SAMPLE` masks of each split.

    Raises:
        DataError: where a mask of them cannot be used, or a training would be worth nothing.
    """
    if not isinstance(training, FileDataset) or not isinstance(validation, FileDataset):
        return []
    reports = (_sampled(training, SAMPLE), _sampled(validation, SAMPLE))
    if review(*reports, training.classes, sampled=True).refusals:
        reports = (_sampled(training, len(training)), _sampled(validation, len(validation)))
    for report, dataset in zip(reports, (training, validation), strict=True):
        if report.problems:
            raise DataError(f"{report.split}: {summarise_problems(report.problems)[0]}{_of_sample(dataset)}")
    sampled = any(len(dataset) > SAMPLE for dataset in (training, validation))
    verdict = review(*reports, training.classes, sampled=sampled)
    if verdict.refusals:
        raise DataError(verdict.refusals[0])
    return [*left_out_of(reports), *(each for report in reports for each in warnings_of(report)), *verdict.warnings]


def _sampled(dataset: FileDataset, most: int) -> SplitReport:
    indices = range(0, len(dataset), max(1, -(-len(dataset) // most)))
    whole = replace(dataset, size=None)
    return summarise_split(whole, list(inspect(whole, indices=indices, masks_only=True)))


def _of_sample(dataset: Dataset) -> str:
    return f" ({SAMPLE} of {len(dataset)} masks were read; segattn data check reads all.)" * (len(dataset) > SAMPLE)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", and {len(names) - NAMED} more" if len(names) > NAMED else "")
