"""Paired differences between runs, against loops over resamples and SciPy's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reference import ops
from segattn_cli.config import Config, load_config
from segattn_cli.data import SceneOptions, Scenes
from segattn_cli.errors import CheckpointError, DataError
from segattn_cli.prediction.evaluation import Evaluated
from segattn_cli.prediction.image_matrices import ImageMatrices, nonzero_cells, stream
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.run_comparison import (
    Difference,
    GroupComparison,
    evaluate_once,
    grouped,
    join_folds,
    require_comparable,
)
from segattn_cli.prediction.saved_evaluation import SavedEvaluation

CLASSES = ("sky", "road", "tree")


def counts(right: float, seed: int, images: int = 40) -> list[np.ndarray]:
    """Confusion matrices of networks with this chance to be right, on the same truth; no image has a tree."""
    truth = np.random.default_rng(1).integers(20, 200, (images, 2))
    rng = np.random.default_rng(seed)
    matrices = []
    for pixels in truth:
        hits = rng.binomial(pixels, right)
        matrices.append(np.array([[hits[0], pixels[0] - hits[0], 0], [pixels[1] - hits[1], hits[1], 0], [0, 0, 0]]))
    return matrices


def evaluation(right: float, seed: int = 0, head: str = "fcn", **changes: object) -> SavedEvaluation:
    matrices = counts(right, 100 * seed + round(100 * right))
    names = [f"image {n}" for n in range(len(matrices))]
    overrides = [f"training.seed={seed}", f"network.head={head}", f"name=run-{head}-{seed}"]
    config: Config = load_config("tiny-scenes", overrides)
    made = SavedEvaluation(
        f"{head}-{seed}/best.safetensors", config, CLASSES, "few", "val", {"flip": False}, None,
        ImageMatrices.of(3, names, [nonzero_cells(each) for each in matrices]),
    )
    return replace(made, **changes)


def comparison(first: list[SavedEvaluation], other: list[SavedEvaluation]) -> GroupComparison:
    names = [str(number) for number in range(len(first) + len(other))]
    groups = grouped(names, [*first, *other])
    assert len(groups) == 2
    return GroupComparison(*groups)


def test_the_interval_of_two_runs_is_a_paired_bootstrap_over_images() -> None:
    first, other = evaluation(0.80), evaluation(0.83, head="dual")
    difference = comparison([first], [other]).miou
    random = stream("bootstrap", 0, 40)
    drawn = random.integers(0, 40, (2000, 40))
    differences = []
    for images in drawn:  # by hand, with the same images for both
        values = []
        for each in (first, other):
            total = sum(dense_of(each.matrices, image) for image in images)
            union = total.sum(0) + total.sum(1) - np.diagonal(total)
            values.append(np.mean(np.diagonal(total)[:2] / union[:2]))
        differences.append(values[1] - values[0])
    assert difference.over == "images"
    assert difference.value == pytest.approx(other.matrices.miou - first.matrices.miou)
    assert difference.interval == pytest.approx(np.percentile(differences, [2.5, 97.5]))
    assert difference.verdict == "better"
    back = comparison([other], [first]).miou
    assert back.verdict == "worse"
    assert back.interval == pytest.approx((-difference.interval.high, -difference.interval.low))


def dense_of(matrices: ImageMatrices, image: int) -> np.ndarray:
    counts = np.zeros(9, int)
    of = matrices.image == image
    counts[matrices.cell[of]] = matrices.pixels[of]
    return counts.reshape(3, 3)


def test_networks_that_are_right_equally_often_cannot_be_told_apart() -> None:
    each = comparison([evaluation(0.8)], [evaluation(0.8, head="dual", matrices=evaluation(0.8, seed=9).matrices)])
    assert each.miou.value != 0
    assert each.miou.verdict == "cannot be told apart"
    same = comparison([evaluation(0.8)], [evaluation(0.8, head="dual")])
    assert same.miou == Difference(0.0, (0.0, 0.0), "images")
    assert same.miou.verdict == "cannot be told apart"


def test_classes_by_themselves_and_one_that_is_nowhere() -> None:
    first, other = evaluation(0.8), evaluation(0.9, head="dual")
    each = comparison([first], [other])
    sky, road, tree = each.per_class
    assert tree is None
    for k, difference in enumerate((sky, road)):
        assert difference is not None
        assert difference.value == pytest.approx(other.matrices.iou[k] - first.matrices.iou[k])
        drawn = other.matrices.resampled.iou[:, k] - first.matrices.resampled.iou[:, k]
        assert difference.interval == pytest.approx(np.percentile(drawn, [2.5, 97.5]))


def test_several_seeds_of_both_are_paired_by_seed() -> None:
    first = [evaluation(right, seed) for seed, right in enumerate((0.80, 0.82, 0.81))]
    other = [evaluation(right, seed, "dual") for seed, right in enumerate((0.83, 0.86, 0.84))]
    each = comparison([first[2], *first[:2]], other)  # in any order
    assert each.first.seeds == each.other.seeds == (0, 1, 2)
    values = np.array([run.matrices.miou for run in first]), np.array([run.matrices.miou for run in other])
    expected = stats.ttest_rel(values[1], values[0]).confidence_interval(0.95)
    assert each.miou.over == "seeds"
    assert each.is_paired
    assert each.miou.value == pytest.approx(values[1].mean() - values[0].mean())
    assert each.miou.interval == pytest.approx((expected.low, expected.high))
    assert each.first.sd == pytest.approx(stats.tstd(values[0]))


def test_other_seeds_are_not_paired() -> None:
    first = [evaluation(right, seed) for seed, right in enumerate((0.80, 0.82, 0.81))]
    other = [evaluation(right, seed, "dual") for seed, right in enumerate((0.83, 0.86), start=5)]
    each = comparison(first, other)
    values = [run.matrices.miou for run in first], [run.matrices.miou for run in other]
    expected = stats.ttest_ind(values[1], values[0], equal_var=False).confidence_interval(0.95)
    assert not each.is_paired
    assert each.miou.interval == pytest.approx((expected.low, expected.high))


def test_one_seed_against_several_is_over_images() -> None:
    first = [evaluation(0.8)]
    other = [evaluation(right, seed, "dual") for seed, right in enumerate((0.83, 0.85))]
    each = comparison(first, other)
    drawn = np.mean([run.matrices.resampled.miou for run in other], axis=0) - first[0].matrices.resampled.miou
    assert (each.miou.over, each.is_paired) == ("images", True)
    assert each.miou.interval == pytest.approx(np.percentile(drawn, [2.5, 97.5]))
    assert each.first.sd is None


def test_images_come_with_the_largest_difference_first_and_those_without_labels_not_at_all() -> None:
    first, other = evaluation(0.8), evaluation(0.9, head="dual")
    for run in (first, other):
        used = run.matrices.image != 7
        run.matrices.image, run.matrices.cell, run.matrices.pixels = (
            array[used] for array in (run.matrices.image, run.matrices.cell, run.matrices.pixels)
        )
    rows = comparison([first], [other]).images
    assert len(rows) == 39
    assert "image 7" not in {row.image for row in rows}
    sizes = [abs(row.value) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    number = first.matrices.names.index(rows[0].image)
    assert rows[0].value == other.matrices.mious[number] - first.matrices.mious[number]


def test_groups_differ_in_more_than_seed_and_name() -> None:
    runs = [evaluation(0.8), evaluation(0.9, head="dual"), evaluation(0.8, 1), evaluation(0.9, 1, "dual")]
    groups = grouped(["fcn-0", "dual-0", "fcn-1", "dual-1"], runs)
    assert [(group.name, group.seeds) for group in groups] == [("fcn", (0, 1)), ("dual", (0, 1))]
    mirrored = replace(evaluation(0.8, 2), settings={"flip": True})
    assert len(grouped(list("abc"), [*runs[::2], mirrored])) == 2
    again = grouped(["a", "b"], [evaluation(0.8), evaluation(0.8)])  # the same seed twice repeats nothing
    assert [group.name for group in again] == ["a", "b"]
    clash = grouped(["run-1", "run-2", "run-3", "run-4"], runs)  # both groups would be called "run"
    assert [group.name for group in clash] == ["run-1", "run-2"]


def test_folds_of_a_run_are_one_evaluation_of_all_images() -> None:
    names, runs = [], []
    for seed in (0, 1):
        for fold in (2, 1):
            each = evaluation(0.8 + 0.01 * fold, seed)
            overrides = [f"training.seed={seed}", "data.folds=2", f"data.fold={fold}", "data.source=somewhere"]
            names.append(f"fcn/seed-{seed}/fold-{fold}")
            runs.append(replace(each, config=load_config("tiny-scenes", overrides), scale_weights=(fold, 0)))
    titles, joined = join_folds(names, runs)
    assert titles == ["fcn/seed-0", "fcn/seed-1"]
    first = joined[0].matrices
    assert len(first.names) == 80
    assert first.right.tolist() == [*runs[1].matrices.right.tolist(), *runs[0].matrices.right.tolist()]
    assert joined[0].scale_weights == (1.5, 0)
    (group,) = grouped(titles, joined)
    assert (group.name, group.seeds) == ("fcn", (0, 1))

    alone = [evaluation(0.8), evaluation(0.8, 1)]
    assert join_folds(["a", "b"], alone)[0] == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"classes": ("sky", "road", "dog")}, CheckpointError, r"b has other classes \(sky, road, dog\) than a"),
        (
            {"matrices": ImageMatrices.of(3, ["image 0"], [nonzero_cells(counts(0.8, 3)[0])])}, DataError,
            r"b was evaluated on other images or labels \(few, val, 1 image\) than a \(few, val, 40 images\)",
        ),
        (
            {"matrices": ImageMatrices.of(
                3, [f"image {n}" for n in range(40)], [nonzero_cells(each.T) for each in counts(0.8, 3)]
            )},
            DataError, "other images or labels",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(changes: dict[str, object], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        require_comparable(["a", "b"], [evaluation(0.8), evaluation(0.9, **changes)])


def test_an_evaluation_is_made_once(tmp_path: Path, model_of: Callable[..., object]) -> None:
    model = model_of(head="fcn", classes=8)
    path = tmp_path / "best.safetensors"
    path.write_bytes(b"weights")
    model = replace(model, path=path)
    scenes = Scenes("val", SceneOptions(2, (24, 32)))
    predictor = Predictor(model.network, model.params, ops)

    def outcome(events: Iterator[object]) -> tuple[int, SavedEvaluation]:
        *steps, last = events
        assert all(isinstance(step, Evaluated) for step in steps)
        assert isinstance(last, SavedEvaluation)
        return len(steps), last

    assert outcome(evaluate_once(model, predictor, scenes))[0] == 2
    assert outcome(evaluate_once(model, predictor, scenes))[0] == 0
    assert outcome(evaluate_once(model, predictor, scenes, limit=1))[0] == 1
    files = sorted((tmp_path / "evaluations").iterdir())
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"damaged")
    steps, last = outcome(evaluate_once(model, predictor, scenes))
    assert (steps, last.matrices.names) == (2, ("val-00000", "val-00001"))
    assert outcome(evaluate_once(model, predictor, scenes))[0] == 0
