"""Images that are predicted together give what each gives alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends import get_backend
from segattn_cli.costs.cost import inference
from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.errors import NonFiniteError
from segattn_cli.prediction import batches, output_files
from segattn_cli.prediction import segment as segment_module
from segattn_cli.prediction.averaged_predictor import AveragedPredictor
from segattn_cli.prediction.batches import batches_of, threads_beside
from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult, evaluate
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.jobs import Job
from segattn_cli.prediction.passes import NetworkOutput
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.segment import ImageDone, segment
from segattn_cli.runs import Model
from tests.segattn_cli.ranks.thread_ranks import on_threads

IMAGES = [np.random.default_rng(n).integers(50 * n, 50 * n + 50, (24, 33, 3), np.uint8) for n in range(5)]
PASSES = [
    {}, {"scales": (0.5, 1.3), "flip": True}, {"size": (20, 30)}, {"window": (16, 20), "flip": True},
    {"window": (16, 16), "scales": (0.7, 1.0)},
]  # fmt: skip


@pytest.fixture(scope="module")
def model(model_of: Callable[..., Model]) -> Model:
    return model_of(head="dual", scales=[1.0, 0.5], fusion="attention")


def watch_batches(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each pass from now on."""
    seen: list[int] = []
    outputs = predictor._passes.outputs

    def watched(images: np.ndarray) -> list[NetworkOutput]:
        seen.append(len(images))
        return outputs(images)

    monkeypatch.setattr(predictor._passes, "outputs", watched)
    return seen


@pytest.mark.parametrize("backend", ["reference", "numpy", "numba"])
@pytest.mark.parametrize("passes", PASSES)
def test_scores_and_maps_are_those_of_single_images(backend: str, passes: Any, model: Model) -> None:
    ops = get_backend(backend)
    alone, together = (Predictor(model.network, model.params, ops, batch=batch, **passes) for batch in (1, 2))
    images = IMAGES[::2]
    for image, output in zip(images, together.run(images), strict=True):
        wanted, found = alone.predict(image), together.predict(image, output)
        maps_wanted, maps_found = alone.maps(image, confidence=True), together.maps(image, output, confidence=True)
        pairs = [*zip(wanted[:2], found[:2], strict=True), *zip(maps_wanted[:2], maps_found[:2], strict=True)]
        assert wanted.are_probabilities == found.are_probabilities
        for one, other in pairs:
            if backend == "numba":
                np.testing.assert_array_equal(other, one)
            else:
                np.testing.assert_allclose(other, one, atol=1e-5 * np.abs(one).max())
    assert np.abs(alone.scores(images[0]) - alone.scores(images[1])).max() > 1e-3  # images that can be confused


@pytest.mark.parametrize(
    ("passes", "sizes"),
    [
        ({}, [3, 2]),
        ({"scales": (0.5, 1.0), "flip": True}, [3, 3, 3, 3, 2, 2, 2, 2]),
        ({"window": (16, 20)}, [2, 2] * 5),  # two rows of two windows of each image
        ({"window": (16, 20), "flip": True}, [3, 1, 3, 1] * 5),  # and those of its mirror image
    ],
)
def test_images_or_windows_share_passes(
    passes: Any, sizes: list[int], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=3, **passes)
    seen = watch_batches(predictor, monkeypatch)
    for image, output in zip(IMAGES, predictor.run(IMAGES), strict=True):
        predictor.maps(image, output)
    assert seen == sizes


def test_networks_that_are_averaged(
    model_of: Callable[..., Model], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where windows move over the images of one of them."""
    ops = get_backend("numba")
    models = [model, model_of(head="fcn"), model]
    settings: list[Any] = [{}, {"size": (20, 20)}, {"window": (16, 16)}]

    def averaged(batch: int) -> AveragedPredictor:
        return AveragedPredictor(
            models,
            [Predictor.of(m, ops, batch=batch, **how) for m, how in zip(models, settings, strict=True)],
        )

    alone, together = averaged(1), averaged(4)
    assert (alone.images_at_once, together.images_at_once) == (1, 4)
    seen = watch_batches(together.predictors[1], monkeypatch)
    for image, output in zip(IMAGES, together.run(IMAGES), strict=True):
        np.testing.assert_array_equal(together.predict(image, output).scores, alone.scores(image))
        np.testing.assert_array_equal(together.maps(image, output).label, alone.label(image))
    assert seen == [4, 1]


def test_an_image_whose_scores_are_not_finite_does_not_stop_those_before_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=4)
    network = predictor.network

    def broken(images: np.ndarray, ctx: Any) -> Any:
        scores, weights = network.predict_with_weights(images, ctx)
        scores[1, 2, 2, 0] = np.nan
        return scores, weights

    class Broken:
        predict_with_weights = staticmethod(broken)
        config = network.config

    monkeypatch.setattr(predictor._passes, "network", Broken)
    outputs = predictor.run(IMAGES[:3])
    for index in (0, 2):
        predictor.maps(IMAGES[index], outputs[index])
        predictor.predict(IMAGES[index], outputs[index])
    for ask in (predictor.maps, predictor.predict):
        with pytest.raises(NonFiniteError):
            ask(IMAGES[1], outputs[1])


def refuse_more_than(most: int, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let passes over more images fail, as a GPU does; returns the sizes of those that were tried."""
    outputs, tried = predictor._passes.outputs, []

    def limited(images: np.ndarray) -> list[NetworkOutput]:
        tried.append(len(images))
        if len(images) > most:
            raise MemoryError
        return outputs(images)

    monkeypatch.setattr(predictor._passes, "outputs", limited)
    return tried


def test_batches_become_smaller_until_they_fit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numba"), batch=16)
    tried = refuse_more_than(3, predictor, monkeypatch)
    outputs = predictor.run(IMAGES + IMAGES)
    assert tried == [10]
    assert outputs == [None] * 10
    assert (predictor.images_at_once, predictor.is_short_of_memory) == (8, True)
    outputs = predictor.run(IMAGES + IMAGES)
    assert tried[1:] == [8, 2]
    assert [each is None for each in outputs] == [True] * 8 + [False] * 2
    assert predictor.images_at_once == 4
    np.testing.assert_array_equal(predictor.maps(IMAGES[3], outputs[8]).label, predictor.label(IMAGES[3]))


def test_a_machine_without_the_memory_is_not_asked_for_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system would end the process where memory runs out, so it is counted before."""
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=4, scales=(0.5, 1.0))
    tried = watch_batches(predictor, monkeypatch)
    smaller, larger = (inference(model.network, 4, *size).pass_bytes for size in ((12, 16), (24, 33)))
    monkeypatch.setattr("segattn_cli.machine.facts.available_bytes", lambda: (smaller + larger) // 2)
    assert predictor.run(IMAGES[:4]) == [None] * 4
    assert tried == []
    assert predictor.images_at_once == 2
    monkeypatch.setattr("segattn_cli.machine.facts.available_bytes", lambda: 10**9)
    assert None not in predictor.run(IMAGES[:4])
    assert tried == [2, 2, 2, 2]
    monkeypatch.setattr("segattn_cli.machine.facts.available_bytes", lambda: None)  # of a system that does not say
    assert None not in predictor.run(IMAGES[:2])


def test_what_has_no_image_does_not_wait_for_ever() -> None:
    taken = 0

    def items() -> Iterator[tuple[int, int] | None]:
        nonlocal taken
        for size in [None, None, (2, 2), *[None] * 5000, (2, 2)]:
            taken += 1
            yield size

    found = batches_of(items(), lambda size: size, lambda: 2)
    assert next(found) == [None]
    assert taken == 1
    assert next(found) == [None]
    assert len(next(found)) == batches.LONGEST
    assert sum(map(len, found)) == 5004 - 2 - batches.LONGEST


def jobs_of(folder: Path) -> list[Job]:
    """Three images of one size and one of another, one that is done, and files that are none."""
    names = ["a", "b", "broken", "c", "done", "d", "missing", "e", "large"]
    for name, image in zip("abcde", IMAGES, strict=True):
        Image.fromarray(image[:, : 20 if name == "e" else 33]).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    Image.fromarray(np.tile(IMAGES[0], (3, 3, 1))).save(folder / "large.png")
    return [
        Job(InputFile(str(folder / f"{name}.png")), name, {"label": folder / "out" / f"{name}.png"}, name == "done")
        for name in names
    ]


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (3, 1), (3, 4), (8, 3)])
def test_events_and_files_are_those_of_single_images(
    model: Model, tmp_path: Path, batch: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segattn_cli.prediction.segment.READ_EARLY", 1000)  # pixels: large.png is read in its turn
    predictor = Predictor(model.network, model.params, get_backend("numba"), batch=batch)
    passes = watch_batches(predictor, monkeypatch)
    jobs = jobs_of(tmp_path)
    outputs = {"label": output_files.label_map()}
    events = list(segment(predictor, jobs, outputs, model, confidence=True, threads=threads))
    assert [event.input for event in events] == [job.input.name for job in jobs]
    assert [type(event).__name__ for event in events] == [
        "ImageDone", "ImageDone", "InputFailed", "ImageDone", "InputSkipped", "ImageDone", "InputFailed",
        "ImageDone", "ImageDone",
    ]  # fmt: skip
    assert passes == {1: [1] * 6, 3: [3, 1, 1, 1], 8: [4, 1, 1]}[batch]
    plain = Predictor(model.network, model.params, get_backend("numba"))
    for job, event in zip(jobs, events, strict=True):
        if isinstance(event, ImageDone):
            image = np.asarray(Image.open(job.input.name))
            np.testing.assert_array_equal(np.asarray(Image.open(event.outputs["label"])), plain.label(image))
            assert event.size == image.shape[:2]
            mean = sum(event.shares[name] * event.confidence[name] for name in event.shares)
            assert mean == pytest.approx(plain.maps(image, confidence=True).confidence.mean(), rel=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png", "b.png", "c.png", "d.png", "e.png", "large.png",
    ]


def test_large_and_damaged_images_and_pipes_are_read_in_their_turn(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this thread, and not while another image is in memory; all others are read before."""
    monkeypatch.setattr("segattn_cli.prediction.segment.READ_EARLY", 1000)
    decode, read = segment_module.decode_image, []

    def watched(source: Any, name: str, **how: Any) -> Any:
        decoded = decode(source, name, **how)
        read.append((Path(name).stem, threading.current_thread() is threading.main_thread()))
        return decoded

    monkeypatch.setattr(segment_module, "decode_image", watched)
    jobs = jobs_of(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    jobs.append(Job(InputFile(str(tmp_path / "pipe")), "pipe", {"label": tmp_path / "out" / "pipe.png"}, False))
    data = (tmp_path / "a.png").read_bytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
    writer.start()
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=2)
    *_, last = segment(predictor, jobs, {"label": output_files.label_map()}, model)
    writer.join(60)
    assert isinstance(last, ImageDone)
    assert sorted(read) == [
        ("a", False), ("b", False), ("c", False), ("d", False), ("e", False), ("large", True), ("pipe", True),
    ]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interruption_leaves_whole_files_and_no_thread(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=2)
    jobs = [job for job in jobs_of(tmp_path) if job.name in "abcd"]
    run, calls = predictor.run, []

    def interrupted(images: list[np.ndarray]) -> Any:
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(images)

    monkeypatch.setattr(predictor, "run", interrupted)
    events = segment(predictor, jobs, {"label": output_files.label_map()}, model, threads=threads)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        told.extend(Path(event.input).name for event in events)
    assert calls == [2, 2]
    written = [path.name for path in sorted((tmp_path / "out").iterdir())]
    assert set(told) <= set(written) <= {"a.png", "b.png"}  # a thread may not have begun to write the second
    assert threads > 1 or written == ["a.png", "b.png"]
    assert all(np.asarray(Image.open(tmp_path / "out" / name)).shape == (24, 33) for name in written)
    assert not any("segattn-ahead" in each.name for each in threading.enumerate())


def test_an_output_that_cannot_be_written_ends_all_in_its_turn(model: Model, tmp_path: Path) -> None:
    """What was finished before stays, also where threads write."""
    from segattn_cli.errors import OutputError

    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=2)
    jobs = [job for job in jobs_of(tmp_path) if job.name in "abcd"]
    (tmp_path / "out" / "c.png" / "precious").mkdir(parents=True)
    events = segment(predictor, jobs, {"label": output_files.label_map()}, model, threads=3)
    assert [Path(next(events).input).name for _ in range(2)] == ["a.png", "b.png"]
    with pytest.raises(OutputError, match="cannot be written to"):
        next(events)
    assert {"a.png", "b.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_no_job_is_taken_before_its_turn_where_jobs_are_waited_for(model: Model, tmp_path: Path) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"))
    taken = []

    def coming() -> Iterator[Job]:
        for job in jobs_of(tmp_path):
            taken.append(job.name)
            yield job

    events = segment(predictor, coming(), {"label": output_files.label_map()}, model, in_advance=False, threads=4)
    for number, _ in enumerate(events, start=1):
        assert len(taken) == number


def test_images_that_lack_memory_together_say_so(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=4)
    refuse_more_than(1, predictor, monkeypatch)
    jobs = [job for job in jobs_of(tmp_path) if job.name in "abcd"]
    events = list(segment(predictor, jobs, {"label": output_files.label_map()}, model))
    assert [event.notes for event in events] == [
        ("predicted in smaller batches than --batch 4, for which memory is short",)
    ] * 4
    refuse_more_than(0, predictor, monkeypatch)
    (event,) = segment(predictor, jobs[:1], {"label": output_files.label_map()}, model)
    assert event.reason.endswith("needs more memory than there is: try a lower --batch, or a smaller --window.")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_an_evaluation_counts_the_same(model: Model, ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Scenes("val", SceneOptions(count=7, size=(24, 32)))
    predictor = Predictor(model.network, model.params, get_backend("numba"))
    *wanted, alone = evaluate(predictor, dataset, boundary_width=0.1, examples=3)
    assert isinstance(alone, EvaluationResult)

    def evaluated(comm: Any) -> list[Any]:
        together = Predictor(model.network, model.params, get_backend("numpy" if ranks > 1 else "numba"), batch=2)
        return list(evaluate(together, dataset, boundary_width=0.1, examples=3, comm=comm))

    for rank, (*steps, result) in enumerate(on_threads(ranks, evaluated)):
        assert [step.done for step in steps] == list(range(1, 8))
        for number, (step, one) in enumerate(zip(steps, wanted, strict=True)):
            assert isinstance(one, Evaluated)
            assert step.miou == one.miou
            assert (step.sample is None) == (number % ranks != rank)
            if step.sample is not None:
                assert step.sample.name == one.sample.name
                np.testing.assert_array_equal(step.prediction, one.prediction)
        np.testing.assert_array_equal(result.confusion, alone.confusion)
        assert result.calibration.ece == pytest.approx(alone.calibration.ece, abs=1e-6)
        assert result.boundary.per_class == alone.boundary.per_class
        assert [each.name for each in result.worst] == [each.name for each in alone.worst]
        assert result.scale_weights == pytest.approx(alone.scale_weights, abs=1e-6)


def test_large_images_of_a_data_set_are_loaded_one_after_the_other(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []

    class Watched(Scenes):
        def load(self, index: int) -> Any:
            loaded.append(threading.current_thread() is threading.main_thread())
            return super().load(index)

    dataset = Watched("val", SceneOptions(count=4, size=(24, 32)))
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=2)
    list(evaluate(predictor, dataset))
    assert loaded == [True, False, False, False]
    loaded.clear()
    monkeypatch.setattr("segattn_cli.prediction.evaluation.READ_EARLY", 24 * 32 - 1)
    events = evaluate(predictor, dataset)
    next(events)
    assert loaded == [True, True]  # a batch
    assert len(list(events)) == 4
    assert loaded == [True] * 4


def test_a_gpu_leaves_the_cores_to_reading_and_writing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"))
    assert threads_beside(predictor) == 1
    monkeypatch.setattr("segattn_cli.prediction.batches.usable_cores", lambda: 12)
    predictor.is_on_cpu = False
    assert threads_beside(predictor) == 12
