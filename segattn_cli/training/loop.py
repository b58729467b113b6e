"""The training itself: a generator of events, which draws nothing and prints nothing."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path

import numpy as np

from backends import get_backend
from reference.networks import Objective, build_network, is_trained
from segattn_cli import runs
from segattn_cli.checkpoint import save_checkpoint
from segattn_cli.config import Config
from segattn_cli.data import AugmentationConfig, Batch, Loader
from segattn_cli.errors import ConfigError, DataError, NonFiniteError
from segattn_cli.evaluation import Evaluated, evaluate
from segattn_cli.inference import Predictor
from segattn_cli.training.averages import update_average, update_running_statistics
from segattn_cli.training.class_weights import class_weights
from segattn_cli.training.events import (
    CheckpointSaved,
    Event,
    Interrupted,
    RunFinished,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    Validating,
    WeightsLoaded,
)
from segattn_cli.training.finite import first_non_finite
from segattn_cli.training.gradients import Differentiator, Gradients
from segattn_cli.training.journal import Journal
from segattn_cli.training.optimiser import sgd_step
from segattn_cli.training.report import metadata, write_page, write_report
from segattn_cli.training.schedule import learning_rate
from segattn_cli.training.start import (
    clear_partial_files,
    enter_folder,
    initial_state,
    open_splits,
    steps_per_epoch,
)
from segattn_cli.weights import Match


def train(
    config: Config, out: Path | str, *, resume: bool = False, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Train ``config``'s network into the folder ``out``: an event for everything that happens.

    A run that ended at any point, also by a kill, goes on with ``resume`` and ends in the same weights, bit by
    bit, as one that never ended, as long as configuration and backend are the same. When ``should_stop()`` becomes
    true, the step at hand is finished and saved, and :class:`Interrupted` is the last event.

    Raises:
        ConfigError, DataError, BackendError: before ``out`` is made, for what can be known then.
        OutputError: for a folder that exists already, cannot be written or fills up.
        CheckpointError: for a checkpoint to go on from that is damaged or of something else.
        NonFiniteError: at the step where the loss or a gradient is not finite; the checkpoint before it stays.
    """
    run = _Run(config, Path(out), resume)
    with closing(run.journal):
        yield from run.events(should_stop)


class _Run:
    """One session of a run, from its start or from where an earlier one ended."""

    def __init__(self, config: Config, out: Path, resume: bool) -> None:
        self.config = config
        self.out = out
        self.ops = get_backend(config.training.backend)
        self.training, self.validation = open_splits(config)
        self.network = build_network(config.network_config(len(self.training.classes)))
        self.differentiator = Differentiator(
            Objective(
                self.network, config.loss_weights(), class_weights=class_weights(config.loss, self.training),
                ignore_label=self.training.ignore_label,
            ),
            self.ops, config.training.seed, batch_statistics=config.training.batch_norm == "running",
        )
        self.steps_per_epoch = steps_per_epoch(config, self.training)
        self.steps = config.training.max_steps or config.training.epochs * self.steps_per_epoch
        self.state, self.loaded = initial_state(
            config, self.network, self.training, self.ops, out if resume else None
        )
        self.progress = self.state.progress
        if self.progress.step > self.steps:
            raise ConfigError(
                f"The run in {out} is at step {self.progress.step}, beyond the {self.steps} steps that are asked "
                "for: raise training.epochs or training.max_steps."
            )
        self._predictor()  # complains now, not after the first epoch
        enter_folder(out, config, resume)
        self.journal = Journal(out / runs.EVENTS, self.progress.journal)
        clear_partial_files(out)
        self.began = time.perf_counter() - self.progress.seconds
        self.pace: float | None = None  # seconds a step, lately

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
            self._save()
            raise
        if self._out_of_patience():
            assert self.progress.best is not None
            yield StoppedEarly(self.progress.step, self.progress.best["step"])
        result = write_report(self.out, self.config, self.progress, self.validation, self.ops)
        for found in write_page(self.out, self.validation, self.ops, should_stop):
            yield Validating(found.done, found.total, found.miou)
        yield RunFinished(self.out, result)

    def _train(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Steps, validations and checkpoints, until the end or until somebody wants to stop."""
        if self._validation_due():  # an earlier session ended before it had validated
            yield from self._validate(should_stop)
        if should_stop() or self._out_of_patience():
            return
        with closing(self._batches()) as batches_of_steps:
            began = time.perf_counter()
            for batches in batches_of_steps:
                yield self._step(batches, began)
                if should_stop():
                    return
                if self._validation_due():
                    yield from self._validate(should_stop)
                    if should_stop() or self._out_of_patience():
                        return
                elif self.progress.step % self.config.training.checkpoint_every == 0:
                    yield self._save()
                began = time.perf_counter()

    def _batches(self) -> Generator[list[Batch], None, None]:
        """The batches of every step that is left."""
        config = self.config.training
        augmentation = AugmentationConfig(**self.config.augmentation.model_dump())
        accumulate = self.config.optimiser.accumulate
        step = self.progress.step
        for epoch in count(step // self.steps_per_epoch):
            loader = Loader(
                self.training, batch_size=config.batch_size, augmentation=augmentation, seed=config.seed,
                epoch=epoch, first_batch=step % self.steps_per_epoch * accumulate,
                workers=self.config.data.workers,
            )
            batches = iter(loader)
            for _ in range(step % self.steps_per_epoch, self.steps_per_epoch):
                if step == self.steps:
                    return
                yield list(islice(batches, accumulate))
                step += 1

    def _step(self, batches: list[Batch], began: float) -> StepDone:
        config, state, progress = self.config, self.state, self.progress
        rate = learning_rate(config.schedule, config.optimiser.learning_rate, progress.step, self.steps)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is named below
            found = self.differentiator.gradients(state.params, batches, progress.step)
            if not (math.isfinite(found.loss) and math.isfinite(found.norm)):
                tensor = first_non_finite(self.differentiator, state.params, batches, progress.step)
                raise self._non_finite(progress.step + 1, tensor)
        gradients = found.gradients
        if config.optimiser.clip_norm is not None and found.norm > config.optimiser.clip_norm:
            factor = config.optimiser.clip_norm / found.norm
            gradients = {name: gradient * factor for name, gradient in gradients.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # a step too large is found out when it is saved
            sgd_step(state.params, state.momentum, gradients, rate, config.optimiser)
        for statistics in found.statistics:
            update_running_statistics(state.params, statistics, config.training.batch_norm_momentum)
        progress.step += 1
        if state.average is not None and config.training.ema is not None:
            update_average(state.average, state.params, config.training.ema, progress.step)
        if not all(map(math.isfinite, self._gates().values())):  # which are about to be logged
            self._finite(state.arrays(self.ops))
        return self._step_done(found, batches, rate, time.perf_counter() - began)

    def _step_done(self, found: Gradients, batches: list[Batch], rate: float, seconds: float) -> StepDone:
        step = self.progress.step
        self.pace = seconds if self.pace is None else 0.9 * self.pace + 0.1 * seconds
        done = StepDone(
            step=step,
            epoch=step / self.steps_per_epoch,
            loss=found.loss,
            parts=found.parts,
            gradient_norm=found.norm,
            learning_rate=rate,
            gates=self._gates(),
            scale_weights=found.scale_weights,
            seconds=seconds,
            wait_share=sum(batch.wait_seconds for batch in batches) / seconds,
            images_per_second=sum(len(batch.images) for batch in batches) / seconds,
            memory=peak_memory(),
            seconds_left=self.pace * (self.steps - step),
        )
        if step % self.config.training.log_every == 0 or step in (1, self.steps):
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
        for found in evaluate(self._predictor(), self.validation, limit=self.config.evaluation.limit):
            if isinstance(found, Evaluated):
                yield Validating(found.done, found.total, found.miou)
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
                gates=self._gates(),
                seconds=found.seconds,
                best=progress.best is None or found.miou > progress.best["miou"],
            )
            progress.validated_at = progress.step
            progress.last = asdict(validated)
            progress.since_best += 1
            if validated.best:
                progress.best, progress.since_best = progress.last, 0
                self._save_best()
            self.journal.write(validated.kind, **progress.last)
            yield validated
            yield self._save()

    def _out_of_patience(self) -> bool:
        patience = self.config.training.patience
        return patience is not None and self.progress.since_best >= patience

    def _predictor(self) -> Predictor:
        how = self.config.evaluation
        return Predictor(
            self.network, self.state.weights, self.ops, size=self.config.data.size, scales=how.scales,
            flip=how.flip, window=how.window, stride=how.stride,
        )

    def _gates(self) -> dict[str, float]:
        weights = self.state.weights
        return {name: float(self.ops.to_numpy(weights[name])) for name in weights if name.endswith(".gate")}

    def _save(self) -> CheckpointSaved:
        """Write ``last.safetensors``, whose progress covers all that events.jsonl says by now."""
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
            step=self.progress.step,
            steps=self.steps,
            steps_per_epoch=self.steps_per_epoch,
            parameters=sum(array.size for name, array in self.state.params.items() if is_trained(name)),
            training_images=len(self.training),
            validation_images=len(self.validation),
            classes=self.training.classes,
            scales=self.network.config.scales,
        )
        self.journal.write(started.kind, **asdict(started))
        return started

    def _weights_loaded(self, match: Match) -> WeightsLoaded:
        file, naming = match.file, match.naming
        loaded = WeightsLoaded(
            file.path, naming.layout, len(match.params), match.untouched, match.reset, match.unused
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


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
