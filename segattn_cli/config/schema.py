"""The configuration of a run: every key, its type, default, limits and meaning.

A configuration is a TOML file. Each of its tables is a dataclass: the fields are the keys, and ``Args:`` in the
docstring says what they mean. Where the engine has such a dataclass, the table is that one or extends it. Presets
are such files, inside the package; a file may start from one with ``preset = "name"``. What a file leaves out is
taken from its preset, or else from the defaults here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from inspect import getdoc
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from pydantic import BaseModel, ConfigDict, Field

from reference.networks import LARGEST_SCALE, Architecture, LossTerms, LossWeights, NetworkConfig
from segattn_cli.data.augment import LARGEST_SIDE, AugmentationConfig
from segattn_cli.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
ImageCount = Annotated[int, Field(ge=1, le=1_000_000_000)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Size = tuple[Pixels, Pixels]
Scale = Annotated[float, Field(gt=0, le=LARGEST_SCALE)]
#: What no machine can hold is refused before its cost is counted.
BatchSize = Annotated[int, Field(ge=1, le=65_536)]


@dataclass(frozen=True)
class ScenesSection:
    """The drawn data set, which is used where data.source is ``"scenes"``.

    Args:
        size: height and width of the images.
        train: number of training images.
        val: number of validation images; none of them is a training image.
    """

    size: Size = (96, 128)
    train: ImageCount = 400
    val: ImageCount = 60


@dataclass(frozen=True)
class DataSection:
    """The data set.

    Args:
        source: ``"scenes"``, which are drawn, or the folder of a data set. A relative path starts at the folder of
            the file that names it; in a preset or in ``--set``, at the working directory.
        format: layout of the data set; ``auto`` recognises it.
        size: height and width to which images are resized when they are loaded. Predictions are resized back to
            the size of the labels.
        train_split: name of the split to train on.
        val_split: name of the split to validate on.
        val_fraction: where the data set has a split ``train`` and no ``val``: the fraction of ``train`` that is
            held out as ``val``, chosen by the names of the images.
        folds: number of folds into which the images of ``train_split`` are divided, by their content; of a folder
            without splits, all images. One fold is the split ``val``, and the others are trained on.
        fold: which fold is ``val``, from 1 to ``folds``.
        intensity: how grey of more than 8 bits is read: ``depth`` by the depth of the file (16 bits: 0 to 65535),
            ``range`` by the smallest and largest value of each file, which floating-point and signed values need.
        workers: number of threads that load and augment images during the computation.
    """

    source: str = "scenes"
    format: Literal["auto", "camvid", "cityscapes", "person-part", "voc", "ade20k", "coco-stuff", "folder"] = "auto"
    size: Size | None = None
    train_split: str = "train"
    val_split: str = "val"
    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Count = 1
    intensity: Literal["depth", "range"] = "depth"
    workers: Count = 2
    scenes: ScenesSection = ScenesSection()

    def __post_init__(self) -> None:
        if self.fold > (self.folds or 1):
            wanted = "for data.folds only" if self.folds is None else f"at most data.folds = {self.folds}"
            raise ValueError(f"fold must be {wanted}, got {self.fold}")
        if self.folds is not None and self.val_fraction is not None:
            raise ValueError("val_fraction holds out a part of train, and so does data.folds: set one of them")
        if self.folds is not None and self.val_split != "val":
            raise ValueError(f"val_split must be val with data.folds, which makes that split, got {self.val_split}")


@dataclass(frozen=True)
class NetworkSection(Architecture):
    """The network. The data set decides on the number of classes.

    Args:
        weights: file of weights to start from: ``.safetensors``, ``.npz``, or what ``torch.save`` wrote. A
            relative path starts where that of ``data.source`` does.
    """

    weights: str | None = None

    def parts(self) -> dict[str, Any]:
        """All keys but where the first weights come from."""
        return {field.name: getattr(self, field.name) for field in fields(Architecture)}


@dataclass(frozen=True)
class OptimiserSection:
    """The optimiser: how a gradient moves the weights.

    Args:
        kind: ``sgd``, stochastic gradient descent with momentum, or ``adamw``, Adam with decoupled weight decay.
        learning_rate: largest learning rate of the schedule; AdamW needs a lower one than SGD, such as 0.001.
        momentum: only in SGD: fraction of the last step that is added to the next one.
        betas: only in AdamW: fractions of the averages of the gradient and of its square that stay in a step.
        epsilon: only in AdamW: what is added to the root of the average square, by which a step is divided.
        weight_decay: in SGD, the multiple of each weight that is added to its gradient; in AdamW, the multiple that
            is subtracted from it, times the learning rate.
        decay_biases_and_norms: whether biases, batch norms and gates decay, too.
        head_multiplier: factor on the learning rate of everything outside the backbone.
        classifier_multiplier: further factor on the learning rate of the layers that compute class scores.
        bias_multiplier: further factor on the learning rate of biases; 2 in Caffe.
        layer_decay: factor on the learning rate of the backbone's last stage, and again from each stage to the one
            before it, for pretrained backbones; that of the stem of a ResNet has it five times.
        clip_norm: largest L2 norm of the whole gradient; a longer gradient is scaled down to it.
        accumulate: number of batches whose gradients make one step.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.01
    momentum: Fraction = 0.9
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: NotNegative = 5e-4
    decay_biases_and_norms: bool = True
    head_multiplier: Positive = 1.0
    classifier_multiplier: Positive = 1.0
    bias_multiplier: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Positive | None = None
    accumulate: Count = 1


@dataclass(frozen=True)
class ScheduleSection:
    """How the learning rate changes from step to step.

    Args:
        kind: ``poly`` multiplies the learning rate by (1 − step/steps)^power, ``step`` by ``factor`` at each of the
            milestones; ``cosine`` lowers it to ``minimum`` along half a period of a cosine; ``one-cycle`` first
            raises it along one.
        power: exponent of the poly schedule.
        minimum: smallest learning rate of the poly and the cosine schedule.
        milestones: steps at which the step schedule multiplies by ``factor``.
        factor: factor of the step schedule.
        warmup_steps: number of steps over which the learning rate first rises from 0; the one-cycle schedule, which
            rises by itself, has none.
        rise: fraction of the steps during which the one-cycle schedule rises.
        start_divisor: by how much smaller than its largest rate the one-cycle schedule starts.
        end_divisor: by how much smaller than its start the one-cycle schedule ends.
    """

    kind: Literal["poly", "step", "cosine", "one-cycle"] = "poly"
    power: Positive = 0.9
    minimum: NotNegative = 0.0
    milestones: tuple[Count, ...] = ()
    factor: Positive = 0.1
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start_divisor: Annotated[float, Field(ge=1)] = 25.0
    end_divisor: Annotated[float, Field(ge=1)] = 1e4


@dataclass(frozen=True)
class LossSection(LossTerms, LossWeights):
    """The loss: the main cross-entropy plus the following terms, each where the network has it.

    Args:
        class_weights: one weight a class, or how they are computed from the labels, so that rare classes have
            larger ones: ``"median-frequency"`` (Eigen and Fergus 2015), or ``"log"`` for 1/ln(offset + fraction
            of the pixels) (Paszke et al. 2016), which differ less.
        class_weight_offset: the offset of the class weights ``"log"``: 1.02 in ENet, 1.10 in DABNet; the larger it
            is, the less the weights differ.
    """

    class_weights: Literal["median-frequency", "log"] | tuple[NotNegative, ...] | None = None
    class_weight_offset: Annotated[float, Field(gt=1)] = 1.02

    def __post_init__(self) -> None:
        for field in fields(LossWeights):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must be at least 0, got {getattr(self, field.name)}")
        super().__post_init__()


@dataclass(frozen=True)
class TrainingSection:
    """How the network is trained, and how often its state is saved.

    Args:
        seed: seed for all random numbers: first weights, order of the images, augmentation, dropout.
        backend: backend to compute with: ``numpy``, ``numba``, ``cupy``, ``reference``, or ``auto`` for the
            fastest one that runs.
        precision: ``float32``, ``tf32``, ``float16`` or ``bfloat16`` for the passes on a GPU; weights, sums, norms
            and losses stay float32.
        batch_size: number of images in one pass.
        epochs: number of passes over the data set.
        max_steps: number of steps, in place of ``epochs``.
        batch_norm: ``running`` normalises by the statistics of the batch, ``synchronised`` by those of the batches
            that all ranks compute at the same time, ``frozen`` by the stored averages.
        batch_norm_momentum: weight of a batch in the running averages.
        ema: decay of an average of the weights; the average is what is validated then.
        patience: number of validations without an improvement after which training stops.
        checkpoint_every: number of steps between checkpoints; each validation writes one, too.
        log_every: number of steps between lines of events.jsonl.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    backend: str = "auto"
    precision: Literal["float32", "tf32", "float16", "bfloat16"] = "float32"
    batch_size: BatchSize = 8
    epochs: Count = 24
    max_steps: Count | None = None
    batch_norm: Literal["running", "synchronised", "frozen"] = "running"
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    ema: Annotated[float | None, Field(gt=0, lt=1)] = None
    patience: Count | None = None
    checkpoint_every: Count = 200
    log_every: Count = 10


@dataclass(frozen=True)
class EvaluationSection:
    """How images are predicted for validation.

    Args:
        every: number of epochs between validations; there is one at the end, too. The default is 1, or for a small
            data set as many as have 20 steps.
        preview_after: number of seconds after which a run without a validation is tried on up to 20 images, for a
            first impression; 0 for never. The best checkpoint and ``training.patience`` do not depend on it.
        limit: number of images to validate on, the first ones; all of them by default.
        size: height and width to which images are resized before they are predicted; by default, that of
            ``data.size``. Predictions are resized back to the size of the labels.
        scales: factors of that size whose predictions are averaged.
        flip: whether the prediction for the mirrored image is averaged in.
        window: height and width of sliding windows; by default, images are predicted as a whole.
        stride: vertical and horizontal step between windows.
    """

    every: Count | None = None
    preview_after: NotNegative = 300.0
    limit: Count | None = None
    size: Size | None = None
    scales: tuple[Scale, ...] = (1.0,)
    flip: bool = False
    window: Size | None = None
    stride: Size | None = None


class Config(BaseModel):
    """A whole configuration. It has no keys but those declared, and nothing changes once it is read.

    Args:
        name: name of the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = "unnamed"
    data: DataSection = DataSection()
    network: NetworkSection = NetworkSection()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
    loss: LossSection = LossSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()

    @property
    def prediction_size(self) -> Size | None:
        """The height and width to which images are resized before they are predicted; None for their own."""
        return self.evaluation.size or self.data.size

    def network_config(self, classes: int) -> NetworkConfig:
        """The configuration of the network for ``classes`` classes."""
        try:
            return NetworkConfig(classes=classes, **self.network.parts())
        except ValueError as error:
            raise ConfigError(f"No such network can be built: {error}.") from None

    def as_toml(self) -> str:
        """The whole configuration as a file that :func:`load_config` reads back."""
        import tomli_w

        text = tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
        return re.sub(r"\[\n    ([^\]]*),\n\]", lambda array: f"[{array[1]}]".replace(",\n   ", ","), text)


class Key(NamedTuple):
    """What is declared about a key."""

    path: str  # "training.epochs"
    type: Any  # with the limits of its values
    default: Any
    meaning: str

    @property
    def table(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@cache
def keys() -> tuple[Key, ...]:
    """Every key, table after table.

    >>> next((key.path, key.default, key.meaning) for key in keys() if key.name == "flip")
    ('augmentation.flip', 0.5, 'probability of a left-right flip.')
    """
    return tuple(_keys(Config(), ""))


def _keys(section: object, table: str) -> Iterator[Key]:
    types, meanings = get_type_hints(type(section), include_extras=True), _meanings(type(section))
    for name, default in vars(section).items():
        if not is_dataclass(default):
            yield Key(table + name, types[name], default, meanings[name])
    for name, default in vars(section).items():
        if is_dataclass(default):
            yield from _keys(default, f"{table}{name}.")


def _meanings(section: type) -> dict[str, str]:
    """What ``Args:`` in the docstrings of ``section`` and the classes that it extends says of each field."""
    described = [
        entry
        for each in reversed(section.__mro__)
        for entry in re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", getdoc(each) or "", re.MULTILINE)
    ]
    return {name: " ".join(text.replace("``", "`").split()) for name, text in described}
