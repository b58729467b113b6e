from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from segattn_cli.data import AugmentationConfig, Batch, Loader, Sample, normalise, open_dataset
from segattn_cli.errors import DataError

CONFIG = AugmentationConfig(crop=(16, 20))


def threads() -> int:
    return sum(thread.name.startswith("segattn-loader") for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == 0


def same(ours: Batch, theirs: Batch) -> None:
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.names == theirs.names


def test_batches(memory: Callable) -> None:
    batches = list(Loader(memory(7), batch_size=3, augmentation=CONFIG))
    assert len(batches) == 2
    for batch in batches:
        assert batch.images.shape == (3, 16, 20, 3)
        assert batch.images.dtype == np.float32
        assert batch.labels.shape == (3, 16, 20)
        assert batch.labels.dtype == np.int32
        assert set(np.unique(batch.labels)) == {0, 1, 2, 255}
        assert batch.wait_seconds >= 0


def test_without_augmentation_images_come_as_they_are(memory: Callable) -> None:
    dataset = memory(4)
    by_name = {sample.name: sample for sample in dataset.samples}
    for batch in Loader(dataset, batch_size=2):
        for image, label, name in zip(*batch[:3], strict=True):
            np.testing.assert_array_equal(image, normalise(by_name[name].image))
            np.testing.assert_array_equal(label, by_name[name].label)


def test_an_epoch_shows_every_image_once(memory: Callable) -> None:
    names = [name for batch in Loader(memory(12), batch_size=4) for name in batch.names]
    assert sorted(names) == sorted(f"image {i}" for i in range(12))
    assert names != sorted(names)


def test_epochs_and_seeds_have_orders_of_their_own(memory: Callable) -> None:
    def order(**key: int) -> list[str]:
        return [name for batch in Loader(memory(12), batch_size=4, **key) for name in batch.names]

    assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
    assert len({tuple(order(seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_what_is_left_over_differs_between_epochs(memory: Callable) -> None:
    epochs = [Loader(memory(5), batch_size=3, epoch=epoch) for epoch in range(6)]
    assert len({name for epoch in epochs for batch in epoch for name in batch.names}) == 5


@pytest.mark.parametrize("first", [0, 1, 4])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_workers_and_resuming_change_nothing(memory: Callable, first: int, workers: int, prefetch: int) -> None:
    whole = list(Loader(memory(17), batch_size=3, augmentation=CONFIG, seed=4, epoch=2, workers=1))

    def late(index: int) -> None:
        sleep(0.002 * (index % 3))  # so that workers finish out of order

    resumed = Loader(
        memory(17, before=late), batch_size=3, augmentation=CONFIG, seed=4, epoch=2, first_batch=first,
        workers=workers, prefetch=prefetch,
    )  # fmt: skip
    assert len(resumed) == len(whole) - first
    for ours, theirs in zip(resumed, whole[first:], strict=True):
        same(ours, theirs)


def test_an_augmentation_depends_on_the_sample_only(memory: Callable) -> None:
    """Not on who else is in the batch."""
    seen: list[dict[str, np.ndarray]] = [
        {
            name: image
            for batch in Loader(memory(6), batch_size=size, augmentation=CONFIG, seed=1)
            for name, image in zip(batch.names, batch.images, strict=True)
        }
        for size in (1, 2, 6)
    ]
    for name, image in seen[0].items():
        np.testing.assert_array_equal(image, seen[1][name])
        np.testing.assert_array_equal(image, seen[2][name])


def test_a_sample_looks_different_in_every_epoch(memory: Callable) -> None:
    views = [next(iter(Loader(memory(1), batch_size=1, augmentation=CONFIG, epoch=e))).images for e in range(4)]
    assert all((views[0] != view).any() for view in views[1:])


def wait_until(condition: Callable[[], bool]) -> None:
    end = monotonic() + 300  # however busy the machine is
    while not condition():
        assert monotonic() < end
        sleep(0.005)


def test_few_batches_are_held_at_once(memory: Callable) -> None:
    dataset = memory(40)
    with closing(iter(Loader(dataset, batch_size=4, workers=2, prefetch=2))) as batches:
        for held in (3 * 4, 4 * 4):
            next(batches)
            wait_until(lambda held=held: len(dataset.loaded) >= held)
            sleep(0.05)  # for more, if more were loaded
            assert len(dataset.loaded) == held


def test_loading_goes_on_while_the_consumer_computes(memory: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is counted in images that were loaded, so the next two batches cost none."""
    asked, computed, number = threading.Event(), threading.Event(), count()

    def wait(index: int) -> None:
        assert (asked if next(number) < 6 else computed).wait(300)

    dataset = memory(12, before=wait)

    def clock() -> int:
        now = len(dataset.loaded)
        asked.set()  # from here on, images are loaded
        return now

    monkeypatch.setattr("segattn_cli.data.loader.perf_counter", clock)
    with closing(iter(Loader(dataset, batch_size=2, workers=2))) as batches:
        assert next(batches).wait_seconds >= 2  # the first one has to be waited for
        wait_until(lambda: len(dataset.loaded) == 6)
        assert [next(batches).wait_seconds for _ in range(2)] == [0, 0]
        computed.set()


@pytest.mark.parametrize("left", ["break", "interrupt"])
def test_leaving_early_ends_the_threads(memory: Callable, left: str) -> None:
    dataset = memory(60, before=lambda index: sleep(0.001))
    loader = Loader(dataset, batch_size=2)
    try:
        for _ in loader:
            assert threads() > 0
            if left == "interrupt":
                raise KeyboardInterrupt
            break
    except KeyboardInterrupt:
        pass
    assert threads() == 0
    assert len(dataset.loaded) < 12


def test_an_error_in_a_thread_reaches_the_consumer_in_its_turn(memory: Callable) -> None:
    def fail(index: int) -> None:
        if index == bad:
            raise ValueError("cannot be decoded")

    order = [name for batch in Loader(memory(8), batch_size=2) for name in batch.names]
    bad = int(order[5].split()[1])
    batches = iter(Loader(memory(8, before=fail), batch_size=2))
    assert len(list(islice(batches, 2))) == 2
    with pytest.raises(ValueError, match="cannot be decoded") as caught:
        next(batches)
    assert caught.value.__notes__ == [f"while loading image {bad}"]


def test_a_damaged_file_is_named(tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray) -> None:
    for name in "abcd":
        save_pair(tmp_path / f"images/train/{name}.png", tmp_path / f"masks/train/{name}.png", label)
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    path = tmp_path / "images" / "train" / "c.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"images/train/c.png is damaged"):
        list(Loader(open_dataset(tmp_path), batch_size=2, augmentation=CONFIG))


def test_fewer_images_than_a_batch(memory: Callable) -> None:
    with pytest.raises(DataError, match=r"split 'train' of memory has 3 images, fewer than one batch of 4"):
        Loader(memory(3), batch_size=4)


def test_images_of_different_sizes_want_a_crop(memory: Callable) -> None:
    dataset = memory(2)
    dataset.samples[1] = Sample(np.zeros((9, 8, 3), np.uint8), np.zeros((9, 8), np.uint8), "odd")
    with pytest.raises(DataError, match=r"in the same batch is \(\d+, \d+\): crop or resize them to one size"):
        list(Loader(dataset, batch_size=2))
    assert len(list(Loader(dataset, batch_size=2, augmentation=CONFIG))) == 1
