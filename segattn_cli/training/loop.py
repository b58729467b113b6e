"""The order of events in a training: step, read, validate, save. Nothing is displayed here."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from reference.networks import is_trained
from segattn_cli import runs
from segattn_cli.config import Config
from segattn_cli.data.formats.recognition import decision_of
from segattn_cli.errors import DataError, NonFiniteError
from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult, evaluate
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.ranks.communicator import ALONE, Communicator, from_first
from segattn_cli.rendering.charts import draw_curves
from segattn_cli.rendering.overlays import draw_predictions
from segattn_cli.runs import events
from segattn_cli.runs.events import (
    FileOmitted,
    Interrupted,
    LoggedEvent,
    Previewed,
    RunFinished,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    WeightsLoaded,
)
from segattn_cli.runs.history import read_history
from segattn_cli.training.batches import batches_from
from segattn_cli.training.find_nan import non_finite_error, require_finite, spoilt_tensor
from segattn_cli.training.loss_scale import Unscaled
from segattn_cli.training.pace import Pace
from segattn_cli.training.saving import save_best, save_best_evaluation, save_last, write_result
from segattn_cli.training.setup import TrainingRun, open_run
from segattn_cli.training.step import StepRecord, read, take_step
from segattn_cli.training.validation import PREVIEWED, preview_is_due, validation_is_due, validations_left

Array = Any
Logged = TypeVar("Logged", bound=LoggedEvent)
#: An image, its truth and its prediction.
Shown = tuple[np.ndarray, np.ndarray, np.ndarray]
#: The events of a training: its own, and those of its validations.
Event = events.Event | Evaluated | EvaluationResult
#: How many of the worst and of the best validation images the report shows.
EXAMPLES = 4
#: How many validation images predictions.png shows.
SHOWN = 4


def train(
    config: Config, out: Path | str, *, resume: bool = False, should_stop: Callable[[], bool] = lambda: False,
    read_every: int | None = None, comm: Communicator = ALONE,
) -> Iterator[Event]:
    """Train the network of ``config`` into the folder ``out``: an event for everything that happens.

    A run that ended at any point, also by a kill, goes on with ``resume`` and ends in the same weights, bit by
    bit, as one that never ended, as long as configuration and backend are the same. When ``should_stop()`` becomes
    true, the current step is finished and saved, and :class:`Interrupted` is the last event.

    All ranks of ``comm`` call this, and all get the events; an error on one of them is raised on all. The run stops
    where one of them is asked to. Only rank 0 writes to ``out``.

    Steps are read, and their events come, ``read_every`` steps together. By default that is every step on a CPU. On
    a GPU it is as often as steps are logged: steps are queued there, and to read a value is to wait until the queue
    is empty, during which the GPU has nothing to do. Nothing else depends on it.

    Raises:
        ConfigError, DataError, BackendError: before ``out`` is made, for what can be known then.
        OutputError: for a folder that exists already, cannot be written or fills up.
        CheckpointError: for a checkpoint to go on from that is damaged or of something else.
        NonFiniteError: at the step where the loss or a gradient is not finite; the checkpoint before it stays.
    """
    run = open_run(config, Path(out), resume, comm)
    if read_every is None:
        read_every = config.training.log_every if run.ops.name == "cupy" else 1
    with closing(run):
        yield from _Session(run, should_stop, read_every).events()


class _Session:
    """One session of a run: from where it was opened to its end, or until it is asked to stop."""

    def __init__(self, run: TrainingRun, should_stop: Callable[[], bool], read_every: int) -> None:
        self.run = run
        self.should_stop = lambda: any(run.comm.gather(should_stop()))
        self.read_every = read_every
        self.unread: list[StepRecord[Array]] = []  # of steps that may still be computed on a GPU
        self.pace = Pace()

    def events(self) -> Iterator[Event]:
        """The whole session."""
        run, progress = self.run, self.run.state.progress
        yield self._logged(_run_started(run))
        if run.weights is not None:
            yield self._logged(_weights_loaded(run))
        try:
            yield from self._train()
        except DataError:  # all steps before the damaged file are saved
            yield from self._read()
            save_last(run)
            raise
        if self.should_stop():
            yield save_last(run)
            yield Interrupted(progress.step, run.out)
            return
        if self._is_out_of_patience():
            assert progress.best is not None
            yield StoppedEarly(progress.step, progress.best.step)
        result = write_result(run)
        yield from self._draw(runs.CURVES, self._draw_curves)
        yield RunFinished(run.out, result)

    def _train(self) -> Iterator[Event]:
        """Steps, validations and checkpoints, until the end or until it is asked to stop."""
        run, progress = self.run, self.run.state.progress
        if validation_is_due(run):  # an earlier session ended before it had validated
            yield from self._validate()
        if self.should_stop() or self._is_out_of_patience():
            return
        with closing(batches_from(run, progress.step)) as batches_of_steps:
            self.pace.restart()
            for batches in batches_of_steps:
                self.unread.append(take_step(run, batches))
                validates = validation_is_due(run)
                previews = not validates and run.comm.gather(preview_is_due(run))[0]
                saves = validates or previews or progress.step % run.config.training.checkpoint_every == 0
                is_last_or_first = progress.step in (1, run.steps)
                if saves or is_last_or_first or len(self.unread) >= self.read_every or self.should_stop():
                    yield from self._read()
                if not self.unread and self.should_stop():
                    return
                if validates:
                    yield from self._validate()
                    if self.should_stop() or self._is_out_of_patience():
                        return
                elif previews:
                    yield from self._preview()
                    if self.should_stop():
                        return
                elif saves:
                    yield save_last(run)
                if saves:
                    self.pace.restart()

    def _read(self) -> Iterator[StepDone]:
        """Wait for the unread steps and yield an event for each; the first that is not finite ends the run."""
        if not self.unread:
            return
        records, self.unread = read(self.run.ops, self.unread), []
        seconds = self.pace.lap(len(records))
        for record in records:
            self._require_finite(record)
            done = self._step_done(record, seconds)
            if done.step % self.run.config.training.log_every == 0 or done.step in (1, self.run.steps):
                self.run.log(done)
            yield done

    def _require_finite(self, record: StepRecord[float]) -> None:
        is_finite = math.isfinite(record.loss) and math.isfinite(record.gradient_norm)
        if not is_finite and (isinstance(self.run.scaler, Unscaled) or record.scaler["scale"] < 1):
            raise non_finite_error(self.run, record.step, spoilt_tensor(self.run, record.step))
        for name, gate in record.gates.items():
            if not math.isfinite(gate):  # by now it may have spoilt other weights, too
                raise non_finite_error(self.run, record.step, f"the parameter {name}")

    def _step_done(self, record: StepRecord[float], seconds: float) -> StepDone:
        return StepDone(
            step=record.step,
            epoch=record.step / self.run.steps_per_epoch,
            loss=record.loss,
            parts=record.parts,
            gradient_norm=record.gradient_norm,
            learning_rate=record.learning_rate,
            gates=record.gates,
            scale_weights=record.scale_weights,
            seconds=seconds,
            wait_share=min(1.0, record.wait_seconds / seconds),
            communication_share=min(1.0, record.communication / seconds),
            hidden_communication_share=min(1.0, record.hidden_communication / seconds),
            rank_seconds=tuple(record.rank_seconds) if self.run.comm.size > 1 else (),
            images_per_second=record.images / seconds,
            memory=peak_memory(),
            seconds_left=self.pace.seconds_for(self.run.steps - record.step),
            loss_scale=record.scaler.get("scale"),
            skipped=int(record.scaler.get("skipped", 0)),
        )

    def _validate(self) -> Iterator[Event]:
        """Validate and save; a validation that is stopped leaves no trace."""
        run, progress = self.run, self.run.state.progress
        require_finite(run, run.state.arrays(run.ops))
        shown: list[tuple[int, Shown]] = []  # those of this rank, each after its number
        limit = run.config.evaluation.limit
        predictor = run.predictor()
        for event in self._evaluate(predictor, limit, EXAMPLES):
            if isinstance(event, Evaluated):
                is_shown = event.done - 1 in range(0, event.total, max(1, event.total // SHOWN))[:SHOWN]
                if is_shown and event.sample is not None and event.prediction is not None:
                    shown.append((event.done, (event.sample.image, event.sample.label, event.prediction)))
                yield event
                if self.should_stop():
                    return
        assert isinstance(event, EvaluationResult)
        validated = self._validated(event)
        progress.validated_at = progress.step
        progress.last = validated
        progress.since_best += 1
        if validated.best:
            progress.best, progress.since_best = validated, 0
            save_best(run)
            save_best_evaluation(run, predictor, event)
            of_all = [each for rank in run.comm.gather(shown) for each in rank]
            images = [image for _, image in sorted(of_all, key=lambda numbered: numbered[0])]
            yield from self._draw(runs.PREDICTIONS, partial(
                draw_predictions, images, run.validation.palette, run.validation.classes,
            ))
        yield self._logged(validated)
        if validated.best:
            yield event
        yield save_last(run)

    def _preview(self) -> Iterator[Event]:
        """Validate on a few images and save; one that is stopped leaves no trace."""
        run, progress = self.run, self.run.state.progress
        require_finite(run, run.state.arrays(run.ops))
        limit = min(run.config.evaluation.limit or PREVIEWED, PREVIEWED)
        result = None
        with suppress(DataError):  # the validation, which needs more images, reports it
            for event in self._evaluate(run.predictor(), limit):
                if isinstance(event, EvaluationResult):
                    result = event
                else:
                    yield event
                if self.should_stop():
                    return
        progress.previewed_at = progress.step
        if result is not None:
            images = min(run.config.evaluation.limit or result.available, result.available)
            yield self._logged(Previewed(
                step=progress.step,
                epoch=progress.step / run.steps_per_epoch,
                miou=result.miou,
                pixel_accuracy=result.pixel_accuracy,
                per_class_iou=result.per_class_iou,
                images=result.images,
                seconds=result.seconds,
                seconds_left=self._seconds_left(result.seconds / result.images * images),
            ))
        yield save_last(run)

    def _evaluate(
        self, predictor: Predictor, limit: int | None, examples: int = 0
    ) -> Iterator[Evaluated | EvaluationResult]:
        """Predict validation images. Finite weights that are so large that scores are not finite end the run."""
        try:
            yield from evaluate(
                predictor, self.run.validation, limit=limit, examples=examples, comm=self.run.comm
            )
        except NonFiniteError:
            step = self.run.state.progress.step
            raise non_finite_error(self.run, step, "the scores of a validation image") from None

    def _seconds_left(self, validation: float) -> float | None:
        """An estimate of the seconds until the run ends, where a validation takes as many."""
        progress, steps = self.run.state.progress, self.run.steps
        left = self.pace.seconds_for(steps - progress.step) + validations_left(self.run) * validation
        return left if math.isfinite(left) else None

    def _validated(self, result: EvaluationResult) -> Validated:
        run, progress = self.run, self.run.state.progress
        return Validated(
            step=progress.step,
            epoch=progress.step / run.steps_per_epoch,
            miou=result.miou,
            pixel_accuracy=result.pixel_accuracy,
            per_class_iou=result.per_class_iou,
            scale_weights=result.scale_weights,
            gates={name: float(run.ops.to_numpy(gate)) for name, gate in run.state.gates().items()},
            seconds=result.seconds,
            best=progress.best is None or result.miou > progress.best.miou,
            change=None if progress.last is None else result.miou - progress.last.miou,
            seconds_left=self._seconds_left(result.seconds),
        )

    def _is_out_of_patience(self) -> bool:
        patience = self.run.config.training.patience
        return patience is not None and self.run.state.progress.since_best >= patience

    def _draw(self, name: str, draw: Callable[[Path], None]) -> Iterator[FileOmitted]:
        """Draw a file of the run's folder; want of memory for it does not end the training."""
        path = self.run.out / name

        def is_drawn() -> bool:
            try:
                draw(path)
            except MemoryError:
                return False
            return True

        if not from_first(self.run.comm, is_drawn, f"the end of {name}"):
            yield FileOmitted(path, "there is not enough memory for it")

    def _draw_curves(self, path: Path) -> None:
        history = read_history(self.run.out)
        draw_curves(history.steps, history.validations, path, scales=self.run.network.config.scales)

    def _logged(self, event: Logged) -> Logged:
        self.run.log(event)
        return event


def _run_started(run: TrainingRun) -> RunStarted:
    return RunStarted(
        out=run.out,
        backend=run.ops.name,
        precision=run.config.training.precision,
        step=run.state.progress.step,
        steps=run.steps,
        steps_per_epoch=run.steps_per_epoch,
        parameters=sum(array.size for name, array in run.state.params.items() if is_trained(name)),
        training_images=len(run.training),
        validation_images=len(run.validation),
        classes=run.training.classes,
        scales=run.network.config.scales,
        ranks=run.comm.size,
        data=decision_of(run.training),
        warnings=run.warnings,
    )


def _weights_loaded(run: TrainingRun) -> WeightsLoaded:
    match = run.weights
    assert match is not None
    return WeightsLoaded(
        file=match.file.path,
        layout=match.naming.layout,
        matched=len(match.params),
        untouched=match.missing_parts,
        reset=match.reset,
        unused=match.unused,
    )


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
