from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from segattn_cli.data import IGNORE_LABEL, AugmentationConfig, Batch, Loader, normalise, stream
from segattn_cli.data.mixing import classmix_part, cutmix_part, paste

CONFIG = {"crop": (20, 30), "scale": (1.0, 1.0), "flip": 0.0, "photometric": 0.0}  # an image as it is


def test_a_box_has_the_area_that_the_paper_gives_it() -> None:
    """``1 − λ`` of the image where the box is inside, 1/2 on average; less where it is cut off."""
    label = np.zeros((200, 300), np.uint8)
    areas, inside = [], []
    for sample in range(400):
        rng = stream("test", 0, 0, sample)
        part = cutmix_part(label, rng)
        wanted = 1 - stream("test", 0, 0, sample).random()
        rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        assert part.sum() == rows.size * columns.size  # a box
        areas.append(part.mean())
        assert part.mean() <= wanted + 0.01
        if rows.size and rows[0] > 0 and rows[-1] < 199 and columns[0] > 0 and columns[-1] < 299:
            inside.append(abs(part.mean() - wanted))
    assert len(inside) > 30
    assert max(inside) < 0.01
    assert 0.2 < np.mean(areas) < 0.4
    assert min(areas) < 0.02 < 0.8 < max(areas)


@pytest.mark.parametrize(("classes", "half"), [(1, 1), (2, 1), (5, 3), (8, 4)])
def test_half_of_the_classes_are_taken_whole(classes: int, half: int) -> None:
    label = np.arange(64, dtype=np.uint8).reshape(8, 8) % classes
    label[0] = IGNORE_LABEL
    taken = set()
    for sample in range(60):
        part = classmix_part(label, stream("test", 0, 0, sample))
        chosen = np.unique(label[part])
        assert chosen.size == half
        assert IGNORE_LABEL not in chosen
        np.testing.assert_array_equal(part, np.isin(label, chosen))
        taken |= set(chosen.tolist())
    assert taken == set(range(classes))


def test_of_an_image_without_labels_nothing_is_taken() -> None:
    assert not classmix_part(np.full((3, 4), IGNORE_LABEL, np.uint8), stream("test", 0)).any()


def test_image_and_label_are_pasted_together() -> None:
    part = np.array([[True, False], [False, True]])
    image, label = paste(
        np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), np.full((2, 2, 3), 9, np.uint8),
        np.array([[1, 2], [3, 4]], np.uint8), part,
    )  # fmt: skip
    assert label.tolist() == [[1, 0], [0, 4]]
    assert image[..., 0].tolist() == [[9, 0], [0, 9]]
    assert image.dtype == label.dtype == np.uint8


def loaded(loader: Loader) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (image, label)
        for batch in loader
        for image, label, name in zip(batch.images, batch.labels, batch.names, strict=True)
    }


@pytest.mark.parametrize("method", ["cutmix", "classmix"])
def test_every_pixel_is_of_this_image_or_of_one_other(memory: Callable, method: str) -> None:
    dataset = memory(6)
    config = AugmentationConfig(**CONFIG, **{method: 1.0})
    originals = {sample.name: (normalise(sample.image), sample.label) for sample in dataset.samples}
    partners = set()
    for epoch in range(6):
        for name, (image, label) in loaded(
            Loader(dataset, batch_size=3, augmentation=config, epoch=epoch)
        ).items():
            own_image, own_label = originals[name]
            pasted = (image != own_image).any(-1)
            np.testing.assert_array_equal(label[~pasted], own_label[~pasted])
            fits = [
                other for other, (other_image, other_label) in originals.items()
                if other != name and (other_image[pasted] == image[pasted]).all()
                and (other_label[pasted] == label[pasted]).all()
            ]  # fmt: skip
            if pasted.any():
                assert len(fits) == 1
                partners.add((name, fits[0]))
    assert len(partners) > 15  # of 30


def test_a_probability_of_a_half_leaves_half_of_the_images(memory: Callable) -> None:
    dataset = memory(40)
    config = AugmentationConfig(**CONFIG, classmix=0.5)
    originals = {sample.name: normalise(sample.image) for sample in dataset.samples}
    views = loaded(Loader(dataset, batch_size=4, augmentation=config))
    changed = sum(bool((image != originals[name]).any()) for name, (image, _) in views.items())
    assert 10 < changed < 30


@pytest.mark.parametrize("method", ["cutmix", "classmix"])
def test_workers_batches_and_resuming_change_nothing(memory: Callable, method: str) -> None:
    config = AugmentationConfig(crop=(16, 20), rotation=30, blur=0.5, **{method: 0.7})
    whole = loaded(Loader(memory(12), batch_size=3, augmentation=config, seed=4, epoch=2, workers=1))
    other = loaded(Loader(memory(12), batch_size=4, augmentation=config, seed=4, epoch=2, workers=5))
    resumed = loaded(Loader(memory(12), batch_size=3, augmentation=config, seed=4, epoch=2, first_batch=2))
    assert len(whole) == 12
    assert len(resumed) == 6
    for views in (other, resumed):
        for name, (image, label) in views.items():
            np.testing.assert_array_equal(image, whole[name][0])
            np.testing.assert_array_equal(label, whole[name][1])


def test_mixing_does_not_change_the_view_that_it_pastes_into(memory: Callable) -> None:
    def views(**changes: float) -> list[Batch]:
        config = AugmentationConfig(crop=(16, 20), **changes)
        return list(Loader(memory(8), batch_size=4, augmentation=config))

    for before, after in zip(views(), views(cutmix=1.0), strict=True):
        same = (before.images == after.images).all(-1)
        assert 0.3 < same.mean() < 0.95
        np.testing.assert_array_equal(before.labels[same], after.labels[same])


def test_a_single_image_has_none_to_mix_with(memory: Callable) -> None:
    config = AugmentationConfig(**CONFIG, cutmix=1.0, classmix=1.0)
    dataset = memory(1)
    (view,) = loaded(Loader(dataset, batch_size=1, augmentation=config)).values()
    np.testing.assert_array_equal(view[0], normalise(dataset.samples[0].image))


def test_an_error_names_the_other_image(memory: Callable) -> None:
    def fail(index: int) -> None:
        if index == 1:
            raise ValueError("cannot be decoded")

    config = AugmentationConfig(**CONFIG, cutmix=1.0)
    with pytest.raises(ValueError, match="cannot be decoded") as caught:
        list(Loader(memory(2, before=fail), batch_size=2, augmentation=config))
    assert caught.value.__notes__ == ["while loading image 1"]
