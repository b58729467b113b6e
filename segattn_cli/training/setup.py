"""How a run is opened: all that has to be there before the first step is made and checked here."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from backends import get_backend
from backends.contract import Ops
from backends.precision import array_dtype
from reference.networks import Network, Objective, build_network
from segattn_cli import runs
from segattn_cli.config import Config
from segattn_cli.data import Dataset, SceneOptions, open_dataset
from segattn_cli.data.folds import open_folds
from segattn_cli.data.review import review_before_training
from segattn_cli.errors import CheckpointError, ConfigError, DataError, OutputError, counted
from segattn_cli.files import UNFINISHED, remove_stale, write_atomically
from segattn_cli.mounts import mount_without_shared_locks
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.ranks.communicator import ALONE, Communicator, communicator_of, from_first, together
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.runs.event_log import EventLog
from segattn_cli.runs.events import LoggedEvent
from segattn_cli.training.class_weights import class_weights
from segattn_cli.training.gradients import Differentiator
from segattn_cli.training.loss_scale import LossScale, Unscaled
from segattn_cli.training.optimiser import Optimiser, optimiser_of
from segattn_cli.training.pace import LoadMeter
from segattn_cli.training.sizes import size_warnings
from segattn_cli.training.state import Progress, State
from segattn_cli.weights import Match, weights_for


@dataclass(frozen=True)
class TrainingRun:
    """A run that is open. Its ``state``, ``scaler``, ``event_log`` and ``load`` change; the rest does not."""

    config: Config
    out: Path
    ops: Ops
    training: Dataset
    validation: Dataset
    warnings: tuple[str, ...]  # on the data, and on the size at which they are validated
    network: Network
    differentiator: Differentiator
    optimiser: Optimiser
    scaler: LossScale | Unscaled
    state: State
    weights: Match | None  # what network.weights gave, where this session starts from them
    steps: int  # of the whole run
    steps_per_epoch: int
    event_log: EventLog | None  # on rank 0
    comm: Communicator
    load: LoadMeter
    started: float  # on time.perf_counter, as if there had been one session

    def predictor(self) -> Predictor:
        """The predictor of the validations, with the weights of this moment."""
        return _predictor(self.config, self.out, self.network, self.state, self.validation, self.ops)

    def log(self, event: LoggedEvent) -> None:
        """Write a line to the event log. Raises :class:`OutputError`, on all ranks."""

        def write() -> None:
            if self.event_log is not None:  # which it is not on rank 0
                self.event_log.write(event)

        from_first(self.comm, write, "a line of its event log")

    def close(self) -> None:
        """Close the event log, which lets other trainings into the folder."""
        if self.event_log is not None:
            self.event_log.close()


#: The state to train from, the weights that it took from a file, and what a user should know of the folder.
Start = tuple[State, Match | None, tuple[str, ...]]


def open_run(config: Config, out: Path, resume: bool, comm: Communicator = ALONE) -> TrainingRun:
    """Open a new run in the folder ``out``, or the one that is there, on this rank and, with it, on all.

    Only rank 0 writes to the folder. It also gives the others the state that they start from, the class weights
    and what else would be computed once for each rank.

    Raises:
        ConfigError, DataError, BackendError: before ``out`` is made, for what can be known then.
        OutputError: for a folder that exists already or cannot be written.
        CheckpointError: for a checkpoint to go on from that is damaged or of something else.
    """
    with together(comm):
        ops = get_backend(config.training.backend, config.training.precision)
        require_divisible(config, comm.size)
        training, validation = open_splits(config)
    warnings = from_first(
        comm, lambda: warnings_before_training(config, training, validation), "its review of the data"
    )
    with together(comm):
        network = build_network(config.network_config(len(training.classes)))
        comm = communicator_of(comm, ops)
    weights_of_classes = from_first(
        comm, lambda: class_weights(config.loss, training), "the weights of the classes"
    )
    with together(comm):
        objective = Objective(
            network, config.loss, terms=config.loss, class_weights=weights_of_classes,
            ignore_label=training.ignore_label,
        )  # fmt: skip
        epoch = steps_per_epoch(config, training)
        steps = config.training.max_steps or config.training.epochs * epoch
        optimiser = optimiser_of(config.optimiser, network.shapes())
    event_log: EventLog | None = None
    with ExitStack() as opened:

        def start() -> Start:
            nonlocal event_log
            if resume:  # locked before its checkpoint is read
                event_log = opened.enter_context(closing(lock_run(out)))
            state, weights = initial_state(config, network, optimiser, training, ops, out if resume else None)
            progress = state.progress
            if progress.step > steps:
                raise ConfigError(
                    f"The run in {out} is at step {progress.step}, beyond the {steps} steps that are asked for: "
                    "raise training.epochs or training.max_steps."
                )
            _predictor(config, out, network, state, validation, ops)  # raises now, not after the first epoch
            if event_log is None:
                event_log = opened.enter_context(closing(make_folder(out)))
            of_folder = warnings_of_folder(out, event_log, resume)
            write_atomically(out / runs.CONFIG, config.as_toml().encode())
            event_log.cut(progress.journal)
            remove_stale(out)
            return state, weights, of_folder

        state, weights, of_folder = _state_of_first(comm, ops, optimiser, config, start)
        opened.pop_all()
    return TrainingRun(
        config, out, ops, training, validation, (*warnings, *of_folder), network,
        Differentiator(
            objective, ops, config.training.seed, batch_statistics=config.training.batch_norm != "frozen",
            dtype=array_dtype(config.training.precision),
            synchronised=config.training.batch_norm == "synchronised",
        ),
        optimiser,
        LossScale(ops, **state.progress.loss_scale) if config.training.precision == "float16" else Unscaled(),
        state, weights, steps, epoch, event_log, comm, LoadMeter(comm),
        started=time.perf_counter() - state.progress.seconds,
    )


def _state_of_first(
    comm: Communicator, ops: Ops, optimiser: Optimiser, config: Config, start: Callable[[], Start]
) -> Start:
    """What ``start()`` returns on rank 0, and for the others the same state, in arrays of their own."""
    own: list[Start] = []

    def shared() -> tuple[dict[str, np.ndarray], Progress] | None:
        own.append(start())
        state = own[0][0]
        return None if comm.size == 1 else (state.arrays(ops), state.progress)

    sent = from_first(comm, shared, "the state to begin with")
    if own:
        return own[0]
    assert sent is not None
    arrays, progress = sent
    with_average = config.training.ema is not None
    return State.of(arrays, progress, ops, optimiser, ema=with_average), None, ()


def require_divisible(config: Config, ranks: int) -> None:
    """Raise :class:`ConfigError` where so many ranks cannot have equally many of the batches of a step."""
    accumulate = config.optimiser.accumulate
    if accumulate % ranks:
        possible = [str(each) for each in range(1, accumulate + 1) if accumulate % each == 0]
        raise ConfigError(
            f"{ranks} ranks cannot divide the batches of a step, optimiser.accumulate = {accumulate}: start "
            f"{' or '.join(possible)} of them, or give each one batch by --set optimiser.accumulate={ranks}."
        )


def _predictor(
    config: Config, out: Path, network: Network, state: State, validation: Dataset, ops: Ops
) -> Predictor:
    return Predictor.of(
        runs.Model(network, state.weights, config, validation.classes, validation.palette, {}, out), ops
    )


def open_splits(config: Config) -> tuple[Dataset, Dataset]:
    """The data to train and to validate on. The latter keep their own size, for labels are never resized."""
    data = config.data
    if data.folds is not None:
        others, held_out = open_folds(
            data.source, folds=data.folds, fold=data.fold, split=data.train_split, format=data.format,
            intensity=data.intensity,
        )
        return replace(others, size=data.size), held_out
    training = open_dataset(
        data.source, format=data.format, split=data.train_split, size=data.size,
        scenes=SceneOptions(data.scenes.train, data.scenes.size), val_fraction=data.val_fraction,
        intensity=data.intensity,
    )
    validation = open_dataset(
        data.source, format=data.format, split=data.val_split,
        scenes=SceneOptions(data.scenes.val, data.scenes.size), val_fraction=data.val_fraction,
        intensity=data.intensity,
    )
    return training, validation


def warnings_before_training(config: Config, training: Dataset, validation: Dataset) -> tuple[str, ...]:
    """What a user should know before the first step. Raises :class:`DataError` for data that cannot be used."""
    return (*review_before_training(training, validation), *size_warnings(config, validation))


def steps_per_epoch(config: Config, training: Dataset) -> int:
    """The number of whole steps in one pass over the data set. Raises :class:`DataError` for none."""
    images = config.training.batch_size * config.optimiser.accumulate
    if len(training) < images:
        raise DataError(
            f"The split {training.split!r} of {training.name} has {counted(len(training), 'image')}, fewer than "
            f"the {images} of one step: lower training.batch_size or optimiser.accumulate, or add images."
        )
    return len(training) // images


def initial_state(
    config: Config, network: Network, optimiser: Optimiser, training: Dataset, ops: Ops, resumed: Path | None
) -> tuple[State, Match | None]:
    """The state to train from: that of the last checkpoint in ``resumed`` where there is one, else a new one.

    A new one takes what network.weights has for it, which is returned, too. Raises :class:`CheckpointError` where
    a file does not fit network, optimiser or classes.
    """
    ema = config.training.ema is not None
    path = None if resumed is None else resumed / runs.LAST
    if path is None or not path.exists():
        fresh, loaded = network.initialise(config.training.seed), None
        if config.network.weights is not None:
            loaded = weights_for(network, config.network.weights)
            fresh |= loaded.params
        return State.of(fresh, Progress(), ops, optimiser, ema=ema), loaded
    checkpoint = load_checkpoint(path)
    saved, classes, _ = runs.describe_checkpoint(path, checkpoint.metadata)
    if classes != training.classes:
        raise CheckpointError(
            f"{path} was trained on other classes ({', '.join(classes)}) than {training.name} has "
            f"({', '.join(training.classes)}): start anew with another --out."
        )
    for key, value in saved.network.parts().items():
        wanted = getattr(config.network, key)
        if value != wanted:
            raise CheckpointError(
                f"{path} is of another network: network.{key} is {value} there and {wanted} here; resume it as it "
                "was, or start anew with another --out."
            )
    if saved.optimiser.kind != config.optimiser.kind:
        raise CheckpointError(
            f"{path} holds the state of another optimiser: optimiser.kind is {saved.optimiser.kind} there and "
            f"{config.optimiser.kind} here; resume it as it was, or start anew with another --out."
        )
    if "progress" not in checkpoint.metadata:
        raise CheckpointError(f"{path} is a model without the state of its training, which cannot go on from it.")
    shapes = network.shapes()
    params = runs.arrays_under(checkpoint.arrays, "")
    runs.require_shapes(path, params, shapes)
    average = runs.arrays_under(checkpoint.arrays, runs.EMA)
    runs.require_shapes(path, average, shapes if average else {})
    state = {name: each for name, each in checkpoint.arrays.items() if name.startswith(runs.OPTIMISER_STATE)}
    wanted = {name: each.shape for name, each in optimiser.initial_state(params).items()}
    runs.require_shapes(path, state, wanted)
    try:
        progress = TypeAdapter(Progress).validate_python(checkpoint.metadata["progress"])
    except ValidationError as error:
        reason = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
        raise CheckpointError(f"{path} does not say how far its training was ({reason}).") from None
    return State.of(checkpoint.arrays, progress, ops, optimiser, ema=ema), None


def lock_run(out: Path) -> EventLog:
    """The event log of the run in ``out``, which keeps other trainings out.

    Raises :class:`OutputError`, before anything is changed, where there is no run or another training is running.
    """
    try:
        is_run = (out / runs.CONFIG).is_file()
    except OSError as error:
        raise OutputError(f"The folder {out} cannot be used: {error.strerror}.") from None
    if not is_run:
        raise OutputError(f"There is no run in {out} to resume: leave out --resume to start one.")
    return EventLog(out / runs.EVENTS)


def make_folder(out: Path) -> EventLog:
    """Make the folder of a new run, and its event log, which keeps other trainings out.

    Raises :class:`OutputError`, before anything is changed, for a folder that holds something already.
    """
    exists = OutputError(f"{out} exists already: go on with its run by --resume, or choose another --out.")
    try:
        if out.exists() and not (out.is_dir() and _holds_nothing(out)):
            raise exists
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {out} cannot be made: {error.strerror}; choose another --out.") from None
    event_log = EventLog(out / runs.EVENTS)
    if not _holds_nothing(out):  # another training was as fast, and has ended
        event_log.close()
        raise exists
    return event_log


def _holds_nothing(out: Path) -> bool:
    """Whether ``out`` holds at most what a training leaves that is killed while it begins."""
    return all(
        UNFINISHED.fullmatch(each.name) or (each.name == runs.EVENTS and not each.stat().st_size)
        for each in out.iterdir()
    )


def warnings_of_folder(out: Path, event_log: EventLog, resume: bool) -> tuple[str, ...]:
    """What a user should know of the folder, before it is changed."""
    warnings = []
    if resume and not (out / runs.LAST).exists():
        length = event_log.length()
        events = f"; its event log of {length:,} bytes is emptied" if length else ""
        warnings.append(f"{out} has no {runs.LAST} to go on from: the training begins at the first step{events}")
    if not event_log.is_locked:
        warnings.append(f"the file system of {out} has no locks: start no second training there meanwhile")
    elif mount := mount_without_shared_locks(out):
        warnings.append(
            f"{out} is on {mount.source} ({mount.type}), whose locks hold on this machine only: start no training "
            "there from another one meanwhile"
        )
    return tuple(warnings)
