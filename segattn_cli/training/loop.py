"""The training itself: a generator of events, which draws nothing and prints nothing."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends import get_backend
from backends.precision import array_dtype
from reference.networks import Objective, build_network, is_trained
from segattn_cli import runs
from segattn_cli.config import Config
from segattn_cli.data import Batch, Loader
from segattn_cli.data.formats.recognition import decision_of
from segattn_cli.data.review import review_before_training
from segattn_cli.errors import ConfigError, DataError, NonFiniteError
from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult, evaluate
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.rendering.charts import draw_curves
from segattn_cli.rendering.overlays import draw_predictions
from segattn_cli.runs import Model, events
from segattn_cli.runs.checkpoint import save_checkpoint
from segattn_cli.runs.event_log import EventLog
from segattn_cli.runs.events import (
    CheckpointSaved,
    FileOmitted,
    Interrupted,
    RunFinished,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    WeightsLoaded,
)
from segattn_cli.training import figures
from segattn_cli.training.averages import update_average, update_running_statistics
from segattn_cli.training.class_weights import class_weights
from segattn_cli.training.figures import Key, of_kind
from segattn_cli.training.find_nan import first_non_finite
from segattn_cli.training.gradients import Differentiator
from segattn_cli.training.loss_scale import LossScale, Unscaled
from segattn_cli.training.optimiser import sgd_step
from segattn_cli.training.report import metadata, write_result
from segattn_cli.training.schedule import learning_rate
from segattn_cli.training.setup import (
    clear_partial_files,
    enter_folder,
    initial_state,
    open_splits,
    steps_per_epoch,
)
from segattn_cli.weights import Match

Array = Any
#: The events of a training: its own, and those of its validations.
Event = events.Event | Evaluated | EvaluationResult
#: How many of the worst and of the best validation images the report shows.
EXAMPLES = 4
#: How many validation images predictions.png shows.
SHOWN = 4


def train(
    config: Config, out: Path | str, *, resume: bool = False, should_stop: Callable[[], bool] = lambda: False,
    read_every: int | None = None,
) -> Iterator[Event]:
    """Train ``config``'s network into the folder ``out``: an event for everything that happens.

    A run that ended at any point, also by a kill, goes on with ``resume`` and ends in the same weights, bit by
    bit, as one that never ended, as long as configuration and backend are the same. When ``should_stop()`` becomes
    true, the step at hand is finished and saved, and :class:`Interrupted` is the last event.

    The figures of steps are read, and their events come, ``read_every`` steps together: by default every step on a
    CPU, and on a GPU, which must be waited for, as often as they are logged. Nothing else depends on it.

    Raises:
        ConfigError, DataError, BackendError: before ``out`` is made, for what can be known then.
        OutputError: for a folder that exists already, cannot be written or fills up.
        CheckpointError: for a checkpoint to go on from that is damaged or of something else.
        NonFiniteError: at the step where the loss or a gradient is not finite; the checkpoint before it stays.
    """
    run = _Run(config, Path(out), resume, read_every)
    with closing(run.journal):
        yield from run.events(should_stop)


class _Run:
    """One session of a run, from its start or from where an earlier one ended."""

    def __init__(self, config: Config, out: Path, resume: bool, read_every: int | None) -> None:
        self.config = config
        self.out = out
        self.ops = get_backend(config.training.backend, config.training.precision)
        self.training, self.validation = open_splits(config)
        self.data_warnings = tuple(review_before_training(self.training, self.validation))
        self.network = build_network(config.network_config(len(self.training.classes)))
        self.differentiator = Differentiator(
            Objective(
                self.network, config.loss, class_weights=class_weights(config.loss, self.training),
                ignore_label=self.training.ignore_label,
            ),
            self.ops, config.training.seed, batch_statistics=config.training.batch_norm == "running",
            dtype=array_dtype(config.training.precision),
        )
        self.steps_per_epoch = steps_per_epoch(config, self.training)
        self.steps = config.training.max_steps or config.training.epochs * self.steps_per_epoch
        self.state, self.loaded = initial_state(
            config, self.network, self.training, self.ops, out if resume else None
        )
        self.progress = self.state.progress
        half = config.training.precision == "float16"
        self.scaler = LossScale(self.ops, **self.progress.loss_scale) if half else Unscaled()
        self.read_every = read_every or (config.training.log_every if self.ops.name == "cupy" else 1)
        self.unread: list[_Step] = []  # steps whose figures are still on the device
        if self.progress.step > self.steps:
            raise ConfigError(
                f"The run in {out} is at step {self.progress.step}, beyond the {self.steps} steps that are asked "
                "for: raise training.epochs or training.max_steps."
            )
        self._predictor()  # complains now, not after the first epoch
        enter_folder(out, config, resume)
        self.journal = EventLog(out / runs.EVENTS, self.progress.journal)
        clear_partial_files(out)
        self.began = time.perf_counter() - self.progress.seconds
        self.pace: float | None = None  # seconds a step, lately
        self.read_at = time.perf_counter()

    def events(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """The whole session."""
        try:
            yield self._started()
            if self.loaded is not None:
                yield self._weights_loaded(self.loaded)
            yield from self._train(should_stop)
            if should_stop():
                yield self._save()
                yield Interrupted(self.progress.step, self.out)
                return
        except DataError:  # a file that has gone bad costs nothing but its repair
            yield from self._read()
            self._save()
            raise
        if self._out_of_patience():
            assert self.progress.best is not None
            yield StoppedEarly(self.progress.step, self.progress.best["step"])
        result = write_result(self.out, self.config, self.progress, self.ops)
        yield from self._draw(runs.CURVES, partial(
            draw_curves, self.out / runs.EVENTS, scales=self.config.network.scales,
        ))
        yield RunFinished(self.out, result)

    def _train(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Steps, validations and checkpoints, until the end or until somebody wants to stop."""
        if self._validation_due():  # an earlier session ended before it had validated
            yield from self._validate(should_stop)
        if should_stop() or self._out_of_patience():
            return
        with closing(self._batches(self.progress.step)) as batches_of_steps:
            self.read_at = time.perf_counter()
            for batches in batches_of_steps:
                self._step(batches)
                step = self.progress.step
                due = self._validation_due() or step % self.config.training.checkpoint_every == 0
                if due or len(self.unread) >= self.read_every or step in (1, self.steps) or should_stop():
                    yield from self._read()
                if not self.unread and should_stop():
                    return
                if self._validation_due():
                    yield from self._validate(should_stop)
                    if should_stop() or self._out_of_patience():
                        return
                elif due:
                    yield self._save()
                if due:
                    self.read_at = time.perf_counter()

    def _batches(self, step: int) -> Generator[list[Batch], None, None]:
        """The batches of every step from ``step`` on."""
        config = self.config.training
        accumulate = self.config.optimiser.accumulate
        for epoch in count(step // self.steps_per_epoch):
            loader = Loader(
                self.training, batch_size=config.batch_size, augmentation=self.config.augmentation,
                seed=config.seed, epoch=epoch, first_batch=step % self.steps_per_epoch * accumulate,
                workers=self.config.data.workers,
            )
            batches = iter(loader)
            for _ in range(step % self.steps_per_epoch, self.steps_per_epoch):
                if step == self.steps:
                    return
                yield list(islice(batches, accumulate))
                step += 1

    def _step(self, batches: list[Batch]) -> None:
        """One step, of which nothing is read: on a GPU it is queued when this returns.

        A step with a gradient that is not finite changes nothing; nor, where no loss scale can help, do those after
        it, until :meth:`_read` finds out.
        """
        config, state, progress, ops = self.config, self.state, self.progress, self.ops
        rate = learning_rate(config.schedule, config.optimiser.learning_rate, progress.step, self.steps)
        scale = self.scaler.scale
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is named in _read
            found = self.differentiator.gradients(state.params, batches, progress.step, scale=scale)
            norm = found.norm / scale
            finite = (norm + found.loss) - (norm + found.loss) == 0
            factor: Array = 1.0
            if config.optimiser.clip_norm is not None:
                factor = config.optimiser.clip_norm / np.maximum(norm, config.optimiser.clip_norm)
        counts = self.scaler.accept(finite)
        progress.step += 1
        with np.errstate(over="ignore", invalid="ignore"):  # a step too large is found out when it is saved
            sgd_step(
                ops, state.params, state.momentum, found.gradients, rate, config.optimiser,
                scale=factor / scale, apply=counts,
            )
            for statistics in found.statistics:
                momentum = config.training.batch_norm_momentum
                update_running_statistics(ops, state.params, statistics, momentum, apply=counts)
            if state.average is not None and config.training.ema is not None:
                update_average(ops, state.average, state.params, config.training.ema, progress.step, apply=counts)
        told: dict[Key, Array] = {("loss", ""): found.loss, ("norm", ""): norm}
        told |= {("parts", name): part for name, part in found.parts.items()}
        told |= {("gates", name): gate.copy() for name, gate in self._gates().items()}
        told |= {("scaler", name): value for name, value in self.scaler.state().items()}
        if found.scale_weights is not None:
            told |= {("scale weights", str(n)): weight for n, weight in enumerate(found.scale_weights)}
        waited = sum(batch.wait_seconds for batch in batches)
        images = sum(len(batch.images) for batch in batches)
        self.unread.append(_Step(progress.step, rate, waited, images, told))

    def _read(self) -> Iterator[StepDone]:
        """Wait for the unread steps, and tell of them; the first that was not finite ends the training."""
        steps, self.unread = self.unread, []
        if not steps:
            return
        read = figures.read(self.ops, [step.figures for step in steps])
        now = time.perf_counter()
        seconds, self.read_at = (now - self.read_at) / len(steps), now
        for step, found in zip(steps, read, strict=True):
            finite = math.isfinite(found["loss", ""]) and math.isfinite(found["norm", ""])
            if not finite and (isinstance(self.scaler, Unscaled) or found["scaler", "scale"] < 1):
                raise self._non_finite(step.number, self._first_non_finite(step.number))
            for name, gate in of_kind(found, "gates").items():
                if not math.isfinite(gate):  # what follows from it may be in the other weights by now
                    raise self._non_finite(step.number, f"the parameter {name}")
            yield self._step_done(step, found, seconds)

    def _first_non_finite(self, number: int) -> str:
        """The tensor that spoilt a step, which left the parameters as they were: the step is computed again."""
        with closing(self._batches(number - 1)) as batches_of_steps:
            try:
                batches = next(batches_of_steps)
            except DataError:  # a picture has gone bad since; to save now would keep a step that never was
                return "unknown, for its pictures cannot be read any more"
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return first_non_finite(self.differentiator, self.state.params, batches, number - 1)

    def _step_done(self, step: _Step, found: Mapping[Key, float], seconds: float) -> StepDone:
        self.pace = seconds if self.pace is None else 0.9 * self.pace + 0.1 * seconds
        scaler = of_kind(found, "scaler")
        done = StepDone(
            step=step.number,
            epoch=step.number / self.steps_per_epoch,
            loss=found["loss", ""],
            parts=of_kind(found, "parts"),
            gradient_norm=found["norm", ""],
            learning_rate=step.rate,
            gates=of_kind(found, "gates"),
            scale_weights=tuple(of_kind(found, "scale weights").values()) or None,
            seconds=seconds,
            wait_share=min(1.0, step.waited / seconds),
            images_per_second=step.images / seconds,
            memory=peak_memory(),
            seconds_left=self.pace * (self.steps - step.number),
            loss_scale=scaler.get("scale"),
            skipped=int(scaler.get("skipped", 0)),
        )
        if step.number % self.config.training.log_every == 0 or step.number in (1, self.steps):
            self.journal.write(done.kind, **asdict(done))
        return done

    def _validation_due(self) -> bool:
        step = self.progress.step
        epoch, inside = divmod(step, self.steps_per_epoch)
        ends_epochs = step > 0 and inside == 0 and epoch % self.config.evaluation.every == 0
        return step != self.progress.validated_at and (step == self.steps or ends_epochs)

    def _validate(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Validate and save; nothing of it counts when it is stopped on the way."""
        progress = self.progress
        self._finite(self.state.arrays(self.ops))
        shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # image, truth, prediction
        limit = self.config.evaluation.limit
        for found in evaluate(self._predictor(), self.validation, limit=limit, examples=EXAMPLES):
            if isinstance(found, Evaluated):
                if found.done - 1 in range(0, found.total, max(1, found.total // SHOWN))[:SHOWN]:
                    shown.append((found.sample.image, found.sample.label, found.prediction))
                yield found
                if should_stop():
                    return
                continue
            validated = Validated(
                step=progress.step,
                epoch=progress.step / self.steps_per_epoch,
                miou=found.miou,
                pixel_accuracy=found.pixel_accuracy,
                per_class_iou=found.per_class_iou,
                scale_weights=found.scale_weights,
                gates={name: float(self.ops.to_numpy(value)) for name, value in self._gates().items()},
                seconds=found.seconds,
                best=progress.best is None or found.miou > progress.best["miou"],
            )
            progress.validated_at = progress.step
            progress.last = asdict(validated)
            progress.since_best += 1
            if validated.best:
                progress.best, progress.since_best = progress.last, 0
                self._save_best()
                yield from self._draw(runs.PREDICTIONS, partial(
                    draw_predictions, shown, self.validation.palette, self.validation.classes,
                ))
            self.journal.write(validated.kind, **progress.last)
            yield validated
            if validated.best:
                yield found
            yield self._save()

    def _draw(self, name: str, draw: Callable[[Path], None]) -> Iterator[FileOmitted]:
        """Draw a file of the run's folder; want of memory for it does not end the training."""
        try:
            draw(self.out / name)
        except MemoryError:
            yield FileOmitted(self.out / name, "there is not enough memory for it")

    def _out_of_patience(self) -> bool:
        patience = self.config.training.patience
        return patience is not None and self.progress.since_best >= patience

    def _predictor(self) -> Predictor:
        data = self.validation
        return Predictor.of(
            Model(self.network, self.state.weights, self.config, data.classes, data.palette, {}, self.out), self.ops
        )

    def _gates(self) -> dict[str, Array]:
        weights = self.state.weights
        return {name: weights[name] for name in weights if name.endswith(".gate")}

    def _save(self) -> CheckpointSaved:
        """Write ``last.safetensors``, whose progress covers all that events.jsonl says by now."""
        assert not self.unread
        self.progress.loss_scale = figures.numbers(self.ops, self.scaler.state())
        self.progress.journal = self.journal.length()
        self.progress.seconds = time.perf_counter() - self.began
        path = self.out / runs.LAST
        described = metadata("training", self.config, self.training, self.ops)
        arrays = self._finite(self.state.arrays(self.ops))
        save_checkpoint(path, arrays, {**described, "progress": asdict(self.progress)})
        return CheckpointSaved(self.progress.step, path)

    def _save_best(self) -> None:
        """Write ``best.safetensors``: only what predicts."""
        arrays = self._finite({name: self.ops.to_numpy(array) for name, array in self.state.weights.items()})
        described = metadata("model", self.config, self.training, self.ops)
        save_checkpoint(self.out / runs.BEST, arrays, {**described, "validated": self.progress.best})

    def _finite(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``arrays``, which no checkpoint shall hold with a NaN or an infinity: a step too large makes them."""
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise self._non_finite(self.progress.step, f"the parameter {name}")
        return arrays

    def _started(self) -> RunStarted:
        started = RunStarted(
            out=self.out,
            backend=self.ops.name,
            precision=self.config.training.precision,
            step=self.progress.step,
            steps=self.steps,
            steps_per_epoch=self.steps_per_epoch,
            parameters=sum(array.size for name, array in self.state.params.items() if is_trained(name)),
            training_images=len(self.training),
            validation_images=len(self.validation),
            classes=self.training.classes,
            scales=self.network.config.scales,
            data=decision_of(self.training),
            warnings=self.data_warnings,
        )
        self.journal.write(started.kind, **asdict(started))
        return started

    def _weights_loaded(self, match: Match) -> WeightsLoaded:
        file, naming = match.file, match.naming
        loaded = WeightsLoaded(
            file.path, naming.layout, len(match.params), match.missing_parts, match.reset, match.unused
        )
        self.journal.write(loaded.kind, **asdict(loaded))
        return loaded

    def _non_finite(self, step: int, tensor: str) -> NonFiniteError:
        self.journal.write("non_finite", step=step, tensor=tensor)
        kept = self.out / runs.LAST
        checkpoint = f"{kept} from before it is kept" if kept.exists() else "no checkpoint had been written yet"
        return NonFiniteError(
            f"Step {step} is not finite: the first tensor with a NaN or an infinity is {tensor}; {checkpoint}. "
            "A lower optimiser.learning_rate, more schedule.warmup_steps or optimiser.clip_norm may help."
        )


class _Step(NamedTuple):
    """What is to be told of a step."""

    number: int  # steps done, this one included
    rate: float
    waited: float  # seconds, for data
    images: int
    figures: dict[Key, Array]


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
