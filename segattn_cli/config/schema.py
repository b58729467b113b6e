"""The configuration of a run: every key, what it means, its default and its limits.

A configuration is a TOML file whose tables are the classes below, from :class:`Data` to :class:`Evaluation`.
Presets are such files, inside the package; a file may start from one with ``preset = "name"``. What a file leaves
out is taken from its preset, or else from the defaults here. ``docs/configuration.md`` lists all keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from reference.networks import LossWeights, NetworkConfig
from reference.networks.config import BACKBONES, CHANNEL_FORMS, FUSIONS, HEADS, SCALE_CLASSIFIERS
from segattn_cli.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Size = tuple[Count, Count]


class Section(BaseModel):
    """A table of the file: no key beyond those declared, and nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Scenes(Section):
    """The procedural data set; only read when data.source is "scenes"."""

    size: Size = Field(default=(96, 128), description="height and width of the pictures")
    train: Count = Field(default=400, description="how many pictures to train on")
    val: Count = Field(default=60, description="how many other pictures to validate on")


class Data(Section):
    """What is learnt from."""

    source: str = Field(
        default="scenes",
        description='`"scenes"`, or the folder of a data set, relative to the file or else to where you are',
    )
    format: Literal[
        "auto", "camvid", "cityscapes", "person-part", "voc", "ade20k", "coco-stuff", "folder"
    ] = Field(default="auto", description="how the folder is laid out, by the names in data.md; `auto` looks")
    size: Size | None = Field(
        default=None,
        description="height and width to which images are resized when loaded; predictions are resized back to "
        "the labels",
    )
    train_split: str = Field(default="train", description="the split to train on")
    val_split: str = Field(default="val", description="the split to validate on")
    workers: Count = Field(default=2, description="threads that load and augment beside the computation")
    scenes: Scenes = Scenes()


class Network(Section):
    """What is trained: the parts of reference.networks.NetworkConfig."""

    backbone: str = Field(default="tiny", description=", ".join(f"`{name}`" for name in BACKBONES))
    output_stride: Count = Field(
        default=8, description="pixels of the image for one of the features: 8, 16, 32 (4, 8 for `tiny`)"
    )
    multi_grid: tuple[Count, ...] | None = Field(
        default=None, description="dilations of the blocks of layer4; [4, 8, 16] in DANet"
    )
    deep_stem: bool = Field(default=False, description="three 3×3 convolutions in place of ResNet's 7×7")
    stem_channels: Count = Field(
        default=64, description="width of the first two of these; 32 in the stem V1c of mmsegmentation"
    )
    head: str = Field(default="dual", description=", ".join(f"`{name}`" for name in HEADS))
    head_channels: Count | None = Field(
        default=None, description="width of the head; the backbone's / 4 by default"
    )
    auxiliary_head: bool = Field(
        default=False, description="a second `fcn` head on layer3 of a ResNet, for training alone"
    )
    channel_form: str = Field(
        default="released", description=", ".join(f"`{name}`" for name in CHANNEL_FORMS)
    )
    scales: tuple[Positive, ...] = Field(
        default=(1.0,), description="factors of the image's size, 1.0 among them"
    )
    fusion: str = Field(default="attention", description=", ".join(f"`{name}`" for name in FUSIONS))
    scale_attention_channels: Count = Field(
        default=512, description="width of the network that weighs the scales"
    )
    scale_classifier: str = Field(
        default="none", description=", ".join(f"`{name}`" for name in SCALE_CLASSIFIERS)
    )
    align_corners: bool = Field(
        default=False, description="whether resized maps keep their corner pixels' centres"
    )
    weights: str | None = Field(
        default=None,
        description="file of weights to start from, relative to the file or else to where you are: "
        "`.safetensors`, `.npz`, or what `torch.save` wrote",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Network:
        NetworkConfig(classes=2, **self.parts())  # says in one sentence what does not
        return self

    def parts(self) -> dict[str, Any]:
        """What the network is made of: all keys but where its first weights come from."""
        return self.model_dump(exclude={"weights"})


class Augmentation(Section):
    """How each training sample is varied."""

    scale: tuple[Positive, Positive] = Field(
        default=(0.5, 2.0), description="least and greatest factor of the random resize"
    )
    crop: Size = Field(
        default=(96, 128), description="height and width of the crop, padded with void where needed"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of mirroring")
    photometric: NotNegative = Field(
        default=1.0, description="strength of changes to brightness, contrast, saturation and hue; 0 for none"
    )
    cat_max_ratio: float | None = Field(
        default=None, gt=0, le=1, description="crop again while one class covers more than this share"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must go from the least to the greatest factor, got {list(self.scale)}")
        return self


class Optimiser(Section):
    """Stochastic gradient descent with momentum and weight decay."""

    learning_rate: Positive = Field(default=0.01, description="at the start of the schedule")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step that carries on")
    weight_decay: NotNegative = Field(default=5e-4, description="pull of every weight towards 0")
    decay_biases_and_norms: bool = Field(
        default=True, description="whether biases, batch norms and gates decay, too"
    )
    head_multiplier: Positive = Field(
        default=1.0, description="learning rate of everything outside the backbone, as a factor"
    )
    classifier_multiplier: Positive = Field(
        default=1.0, description="learning rate of the layers that give class scores, as a further factor"
    )
    bias_multiplier: Positive = Field(
        default=1.0, description="learning rate of biases, as a further factor; 2 in Caffe"
    )
    clip_norm: Positive | None = Field(default=None, description="greatest norm of the whole gradient")
    accumulate: Count = Field(default=1, description="batches whose gradients make one step")


class Schedule(Section):
    """How the learning rate changes from step to step."""

    kind: Literal["poly", "step"] = Field(
        default="poly", description="`poly`: (1 − step/steps)^power; `step`: × factor at each of the milestones"
    )
    power: Positive = Field(default=0.9, description="of the poly schedule")
    minimum: NotNegative = Field(default=0.0, description="least learning rate of the poly schedule")
    milestones: tuple[Count, ...] = Field(
        default=(), description="steps at which the step schedule multiplies"
    )
    factor: Positive = Field(default=0.1, description="by which it does")
    warmup_steps: int = Field(
        default=0, ge=0, description="steps over which the learning rate first rises from 0"
    )


class Loss(Section):
    """What is minimised: the main cross-entropy plus these, each where the network has it."""

    position: NotNegative = Field(default=1.0, description="weight of the position branch's loss")
    channel: NotNegative = Field(default=1.0, description="weight of the channel branch's loss")
    auxiliary: NotNegative = Field(default=0.4, description="weight of the auxiliary head's loss")
    extra_supervision: NotNegative = Field(
        default=1.0, description="weight of one loss for each scale; 0 turns it off"
    )
    scale_classifier: NotNegative = Field(
        default=0.1, description="weight of telling which scale a map came from"
    )
    class_weights: Literal["median-frequency"] | tuple[NotNegative, ...] | None = Field(
        default=None,
        description='`"median-frequency"`: rare classes count more (Eigen and Fergus 2015); or one number a class',
    )


class Training(Section):
    """How long, how much at a time, and what is kept."""

    seed: int = Field(
        default=0, ge=0, lt=2**63, description="of the first weights, the order, augmentation and dropout"
    )
    backend: str = Field(default="auto", description="`numpy`, `numba`, `cupy`, `reference`, or `auto`")
    precision: Literal["float32", "tf32", "float16", "bfloat16"] = Field(
        default="float32", description="what a GPU computes in; weights, sums, norms and losses stay float32"
    )
    batch_size: Count = Field(default=8, description="images in one pass")
    epochs: Count = Field(default=24, description="passes over the data set")
    max_steps: Count | None = Field(default=None, description="length in steps, in place of epochs")
    batch_norm: Literal["running", "frozen"] = Field(
        default="running", description="`running`: normalise by the batch; `frozen`: by the stored averages"
    )
    batch_norm_momentum: float = Field(
        default=0.1, gt=0, le=1, description="weight of a batch in the running averages"
    )
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of an average of the weights, which is then what is validated"
    )
    patience: Count | None = Field(
        default=None, description="stop after so many validations without a better one"
    )
    checkpoint_every: Count = Field(
        default=200, description="steps between checkpoints; one is written at each validation, too"
    )
    log_every: Count = Field(default=10, description="steps between lines of events.jsonl")


class Evaluation(Section):
    """How validation predicts while training."""

    every: Count = Field(default=1, description="epochs between validations; there is one at the end, too")
    limit: Count | None = Field(default=None, description="validate on the first so many images only")
    scales: tuple[Positive, ...] = Field(default=(1.0,), description="factors of the image's size, averaged")
    flip: bool = Field(default=False, description="average with the mirrored image")
    window: Size | None = Field(
        default=None, description="height and width of sliding windows; whole images without"
    )
    stride: Size | None = Field(default=None, description="step between windows")


class Config(Section):
    """A whole configuration."""

    name: str = Field(default="unnamed", description="what the run is called")
    data: Data = Data()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    def network_config(self, classes: int) -> NetworkConfig:
        """The network for so many classes."""
        try:
            return NetworkConfig(classes=classes, **self.network.parts())
        except ValueError as error:
            raise ConfigError(f"No such network can be built: {error}.") from None

    def loss_weights(self) -> LossWeights:
        """The weights of the parts of the objective."""
        return LossWeights(**self.loss.model_dump(exclude={"class_weights"}))

    def as_toml(self) -> str:
        """The whole configuration as a file that :func:`load_config` reads back."""
        import tomli_w

        text = tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
        return re.sub(r"\[\n    ([^\]]*),\n\]", lambda array: f"[{array[1]}]".replace(",\n   ", ","), text)


def keys(section: type[Section] = Config, table: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key by its dotted path, table after table, with what is declared about it.

    >>> next(path for path, _ in keys() if "ema" in path)
    'training.ema'
    """
    tables = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            tables.append((field.annotation, f"{table}{name}."))
        else:
            yield f"{table}{name}", field
    for inner, prefix in tables:
        yield from keys(inner, prefix)
