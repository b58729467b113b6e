"""A configuration to start from for a data set, with the reason for each key."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends.cores import usable_cores
from reference.networks import build_network
from segattn_cli.config import Config, config_from
from segattn_cli.config.description import toml_value
from segattn_cli.costs.cost import configured_step, inference
from segattn_cli.data.inspect import SplitReport
from segattn_cli.data.segments import Segments
from segattn_cli.errors import DataError, counted, printable

#: Multiply-adds that one core does in a second of training. The records in benchmarks/ have 98 (numpy) to 154
#: billion (numba), and a training of fcn-resnet18-camvid on another machine, with its validations, had 96.
SPEED = 90e9
#: How long the training should take, in seconds, and the largest fraction of it for validation.
DURATION, VALIDATION = 3600, 0.2
#: Number of validations; at most so many passes over the images, since more of them hardly helps.
VALIDATIONS, MOST_EPOCHS = 20, 500
#: Fewer images than this give a validation set that is too small to compare with: folds are better.
FEW_IMAGES, FOLDS = 100, 5
#: Images are shrunk until a segment is so many pixels wide, but not below this length of the shorter side.
SEGMENT, SHORTEST = 32, 384
#: The sides of a crop, where images are large enough; each is a multiple of GRID.
SMALLEST_CROP, LARGEST_CROP, GRID = 192, 384, 16
#: Bytes that the prediction of a whole image may take; beyond, there are windows.
WHOLE_IMAGE = 1e9
#: Below this `Segments.uprightness`, images are taken to be from above.
FROM_ABOVE = 0.2
#: Class weights are suggested where the most frequent class has so many times the pixels of the rarest one.
UNBALANCED = 4


class DataFacts(NamedTuple):
    """What is known of a data set."""

    source: str
    format: str
    is_divided: bool  # whether a folder or a list says what each split is
    train: SplitReport  # of the split to train on
    val_images: int  # in the split val, 0 where it has none
    classes: Sequence[str]
    segments: Segments
    val_fraction: float | None = None  # of the option --val
    intensity: str = "depth"

    @property
    def images(self) -> int:
        """The number of images to train and to validate on."""
        return self.train.images + self.val_images


class Choice(NamedTuple):
    """A value of a key, and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """A configuration, key by key."""

    facts: DataFacts
    choices: tuple[Choice, ...]

    @property
    def config(self) -> Config:
        """The configuration; raises :class:`ConfigError` where keys do not fit together."""
        tree: dict[str, Any] = {}
        for key, value, _ in self.choices:
            table, _, name = key.rpartition(".")
            tree.setdefault(table, {})[name] = value
        return config_from(tree)

    def as_toml(self) -> str:
        """A file for ``segattn train``, in which a comment above each key gives the reason."""
        facts = self.facts
        (height, width), _ = next(iter(facts.train.sizes.items()))
        lines = _comment(
            f"A start for {Path(facts.source).absolute().name}: {counted(facts.images, 'image')} to train and "
            f"to validate on, mostly {height}×{width} (height×width), {len(facts.classes)} classes."
        )
        lines += _comment(
            "Save this as a file such as mine.toml, and train with: segattn train mine.toml. The command segattn "
            "config KEY explains a key. Keys that are not here have their defaults."
        )
        for table, choices in groupby(self.choices, lambda choice: choice.key.rpartition(".")[0]):
            lines += ["", f"[{table}]"]
            for key, value, reason in choices:
                lines += [*_comment(reason), f"{key.rpartition('.')[2]} = {toml_value(value)}"]
        return "\n".join(lines)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        printable(text), 110, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
        break_on_hyphens=False,
    )


def suggest(facts: DataFacts, cores: int | None = None) -> Suggestion:
    """A configuration for the data of ``facts``, and about an hour on ``cores`` (by default, of this machine).

    Raises :class:`DataError` for a single image, which cannot be trained on and held out.
    """
    if facts.images < 2:
        raise DataError(f"{facts.source} has a single image: add one or more to validate on.")
    choices = [*_data(facts), *_network(), *_augmentation(facts), *_optimiser(), *_loss(facts), *_evaluation(facts)]
    choices += _training(Suggestion(facts, tuple(choices)), cores or usable_cores())
    order = ("data", "network", "augmentation", "optimiser", "schedule", "loss", "training", "evaluation")
    return Suggestion(facts, tuple(sorted(choices, key=lambda each: order.index(each.key.rpartition(".")[0]))))


def _data(facts: DataFacts) -> list[Choice]:
    """Where the images are, and which of them are held out."""
    choices = [
        Choice("data.source", str(Path(facts.source).absolute()), "The folder that was checked."),
        Choice("data.format", facts.format, "The layout that it has."),
    ]
    if facts.intensity != "depth":
        choices.append(Choice("data.intensity", facts.intensity, "As it was checked."))
    train = facts.train.split
    if train != "train":
        choices.append(Choice("data.train_split", train, "There is no split train."))
    if facts.val_images and (facts.is_divided or facts.images >= FEW_IMAGES):
        return choices
    if facts.val_fraction is not None and not facts.val_images and train == "train":
        choices.append(Choice("data.val_fraction", facts.val_fraction, "The fraction that --val asks for."))
    elif facts.images < FEW_IMAGES or train != "train":
        folds = min(FOLDS, facts.images)
        choices += [
            Choice(
                "data.folds", folds,
                f"There is no split to validate on, and there are {facts.images} images. They are divided into "
                f"{folds} parts by content; {folds} trainings with another fold each validate every image once.",
            ),
            Choice("data.fold", 1, f"The part that is held out, from 1 to {folds}."),
        ]
    else:
        choices.append(
            Choice("data.val_fraction", 0.2, "There is no split to validate on: a fifth of train is held out.")
        )
    return choices


def _network() -> list[Choice]:
    return [
        Choice(
            "network.backbone", "resnet18",
            "The smallest and fastest of the ResNets.",
        ),
        Choice("network.output_stride", 16, "With the decoder, 16 costs less than half of 8."),
        Choice("network.decoder", True, "Scores for 4×4 pixels, for what is thin."),
        Choice(
            "network.head", "fcn",
            'No attention, which is fastest; "dual" is DANet.',
        ),
    ]


def _augmentation(facts: DataFacts) -> list[Choice]:
    """Sizes and variations."""
    factor = shrink_factor(facts)
    height, width = (round(side * factor) for side in typical_size(facts.train))
    crop = [_crop_side(side) for side in (height, width)]
    around = "their own size"
    if factor < 1:
        around = (
            f"{factor:.2g} times their size, because areas of one class are {facts.segments.width:.0f} pixels wide "
            "on average, and a network that sees less detail sees more context (evaluation.scales has the same "
            "factor)"
        )
    from_above = facts.segments.uprightness < FROM_ABOVE
    return [
        Choice(
            "augmentation.scale", [_rounded(0.75 * factor), _rounded(1.5 * factor)],
            f"Images are resized at random around {around}.",
        ),
        Choice("augmentation.crop", crop, f"A part of an image of {height}×{width}, which keeps a step fast."),
        Choice("augmentation.flip", 0.5, "Half of the images are mirrored. Set 0 where left and right differ."),
        *(
            [
                Choice(
                    "augmentation.flip_vertical", 0.5,
                    "Every class is above as often as below, as in images from above. Set 0, and rotation to 0, "
                    "where images have an up and a down.",
                ),
                Choice("augmentation.rotation", 180, "So no direction is special."),
            ]
            if from_above
            else [
                Choice(
                    "augmentation.flip_vertical", 0,
                    "Classes are above or below, so images have an up and a down. For images from above, set 0.5.",
                )
            ]
        ),
        Choice(
            "augmentation.photometric", 0.3,
            "Weak changes of the colours; a longer training can take stronger ones, up to 1.",
        ),
    ]


def _optimiser() -> list[Choice]:
    return [
        Choice("optimiser.kind", "adamw", "Most recipes from random weights use a form of Adam."),
        Choice("optimiser.learning_rate", 0.001, "The usual one of AdamW, for batches of 8."),
        Choice("optimiser.weight_decay", 0.01, "The usual one of AdamW."),
        Choice("optimiser.decay_biases_and_norms", False, "Only weights decay."),
        Choice("schedule.kind", "cosine", "The learning rate falls to 0, slowly at first."),
        Choice("schedule.warmup_steps", 100, "The learning rate rises slowly while the weights are still random."),
    ]


def _loss(facts: DataFacts) -> list[Choice]:
    """Class weights, where some classes are rare."""
    pixels = facts.train.class_pixels
    present = np.flatnonzero(pixels)
    rarest, commonest = (int(present[each(pixels[present])]) for each in (np.argmin, np.argmax))
    fractions = pixels / pixels.sum()
    if pixels[commonest] < UNBALANCED * pixels[rarest]:
        return []
    return [
        Choice(
            "loss.class_weights", "log",
            f"{facts.classes[rarest]} has {_percent(fractions[rarest])} of the labelled pixels and "
            f"{facts.classes[commonest]} {_percent(fractions[commonest])}: these weights, 1/ln(offset + "
            "fraction), let rare classes be learnt in a short training, too.",
        ),
        Choice("loss.class_weight_offset", 1.1, "The smaller the offset, the more a rare class weighs."),
    ]


def _evaluation(facts: DataFacts) -> list[Choice]:
    """How images are predicted."""
    factor = shrink_factor(facts)
    choices = []
    if factor < 1:
        choices.append(Choice("evaluation.scales", [_rounded(factor)], "The size around which images are trained."))
    height, width = (round(side * factor) for side in typical_size(facts.train))
    network = build_network(Suggestion(facts, tuple(_network())).config.network_config(len(facts.classes)))
    memory = inference(network, 1, height, width, threads=1).peak_bytes
    if memory > WHOLE_IMAGE:
        side = min(2 * LARGEST_CROP, height, width)
        choices.append(
            Choice(
                "evaluation.window", [side, side],
                f"An image of {height}×{width} as a whole would take {memory / 1e9:.1f} GB.",
            )
        )
    return choices


def _training(suggestion: Suggestion, cores: int) -> list[Choice]:
    """How long: as many steps as fit into an hour beside the validations."""
    facts = suggestion.facts
    config = suggestion.config
    held_out, trained = _numbers_of_images(facts, config)
    batch = min(8, trained)
    height, width = config.augmentation.crop
    step = configured_step(config, len(facts.classes), batch, (height, width)).multiply_adds / (SPEED * cores)
    validated = [round(side * config.evaluation.scales[0]) for side in typical_size(facts.train)]
    network = build_network(config.network_config(len(facts.classes)))
    one = inference(network, 1, validated[0], validated[1]).multiply_adds / (SPEED * cores)
    limit = max(1, int(VALIDATION * DURATION / VALIDATIONS / one))
    validation = VALIDATIONS * one * min(limit, held_out)
    epoch = max(1, trained // batch)
    steps = _two_digits(min((DURATION - validation) / step, MOST_EPOCHS * epoch))
    minutes = max(1, round((steps * step + validation) / 60))
    every = max(1, round(steps / epoch / VALIDATIONS))
    choices = [
        Choice("training.batch_size", batch, "Enough for the statistics of the batch norms."),
        Choice(
            "training.ema", 0.998,
            "An average over about 500 steps is validated and kept: it is steadier than the weights of one step.",
        ),
        Choice(
            "training.max_steps", steps,
            f"About {steps / epoch:.3g} times all images, and about {counted(minutes, 'minute')} on "
            f"{counted(cores, 'core')}, if each does {SPEED / 1e9:.0f} billion multiply-adds a second. "
            "segattn train shows the time that is left.",
        ),
        Choice(
            "evaluation.every", every, f"Epochs between validations: about {VALIDATIONS} of them in all."
        ),
    ]
    if limit < held_out:
        choices.append(
            Choice(
                "evaluation.limit", limit,
                f"All {held_out} images would take more than a fifth of the time; segattn eval takes all of them.",
            )
        )
    return choices


def typical_size(report: SplitReport) -> tuple[int, int]:
    """The median height and width of the images of a split."""
    heights, widths = (np.array([size[side] for size in report.sizes]) for side in (0, 1))
    counts = list(report.sizes.values())
    return int(np.median(np.repeat(heights, counts))), int(np.median(np.repeat(widths, counts)))


def shrink_factor(facts: DataFacts) -> float:
    """1, 1/2, 1/3, …: the factor by which large images are resized.

    Segments stay :data:`SEGMENT` pixels wide on average, and the shorter side at least about :data:`SHORTEST`.
    """
    shorter = min(typical_size(facts.train))
    smallest = max(SEGMENT / facts.segments.width, SHORTEST / shorter)
    return 1 / max(1, round(1 / smallest)) if smallest < 1 else 1.0


def _crop_side(side: int) -> int:
    """Half of a side, within limits: a multiple of :data:`GRID` where the side has room for one.

    >>> [_crop_side(side) for side in (5, 100, 360, 480, 2000)]
    [5, 96, 192, 240, 384]
    """
    wanted = min(max(SMALLEST_CROP, side // 2), LARGEST_CROP, side)
    return max(GRID, wanted // GRID * GRID) if side >= GRID else side


def _numbers_of_images(facts: DataFacts, config: Config) -> tuple[int, int]:
    """How many images are held out, and how many are trained on."""
    data = config.data
    if data.folds is not None:
        held_out = facts.images // data.folds
        return held_out, facts.images - held_out
    if data.val_fraction is not None:
        held_out = max(1, int(facts.train.images * data.val_fraction))
        return held_out, facts.train.images - held_out
    return facts.val_images, facts.train.images


def _two_digits(number: float) -> int:
    """
    >>> _two_digits(2783.2), _two_digits(0.3), _two_digits(57)
    (2700, 1, 57)
    """
    unit = 10 ** max(0, math.floor(math.log10(max(1.0, number))) - 1)
    return max(1, int(number // unit) * unit)


def _rounded(factor: float) -> float:
    return float(f"{factor:.3g}")


def _percent(fraction: float) -> str:
    """
    >>> _percent(0.3296), _percent(0.00302)
    ('33 %', '0.3 %')
    """
    return f"{100 * fraction:.2g} %"
