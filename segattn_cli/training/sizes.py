"""Whether images are validated at the size at which they are trained on."""

from __future__ import annotations

import math
import statistics

from segattn_cli.config import Config
from segattn_cli.data import AugmentationConfig, Dataset
from segattn_cli.data.dataset import FileDataset
from segattn_cli.data.images import read_header

#: Number of images whose sizes stand for those of a whole split.
SAMPLE = 20
#: At the end of the range of the training, validated images are at most so many times larger or smaller than the
#: mean of it: a quarter is what the training varies anyway.
TOLERANCE = 1.25


def size_warnings(config: Config, validation: Dataset) -> tuple[str, ...]:
    """A sentence where images are validated at a size that the training hardly shows or never shows; else none.

    Sizes are factors of the size that ``augmentation.scale`` is a factor of. Raises :class:`DataError` for a file
    that cannot be read.
    """
    relative = 1.0  # the size of a validated image at scale 1
    if config.evaluation.size is not None:
        relative = _ratio(config.evaluation.size, config.data.size or _typical_size(validation))
    low, mean, high = trained_factors(config.augmentation)
    strange = {
        scale: factor for scale in config.evaluation.scales
        if not low < (factor := scale * relative) < high and not 1 / TOLERANCE < factor / mean < TOLERANCE
    }  # fmt: skip
    if not strange:
        return ()
    factor = next(iter(strange.values()))
    lowest, highest = config.augmentation.scale
    ways = [f"augmentation.scale = [{lowest * factor / mean:.3g}, {highest * factor / mean:.3g}]"]
    if len(strange) < len(config.evaluation.scales):
        ways.append(f"evaluation.scales without {' and '.join(f'{scale:g}' for scale in strange)}")
    elif config.evaluation.scales == (1.0,):
        height, width = config.data.size or _typical_size(validation)
        ways.append(f"evaluation.size = [{round(mean * height)}, {round(mean * width)}]")
    else:
        ways.append(f"evaluation.scales = [{mean / relative:.3g}]")
    trained = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return (
        f"The validation sees images at {factor:.3g} times their size, and the training at {trained} times: "
        f"objects are {'larger' if factor > mean else 'smaller'} in the validation than what the network learns. "
        f"Set {', or '.join(ways)}.",
    )


def trained_factors(augmentation: AugmentationConfig) -> tuple[float, float, float]:
    """The smallest, the mean and the largest factor by which the training resizes images.

    >>> trained_factors(AugmentationConfig(scale=(0.5, 1.0), enlarge=0.5, enlarge_factor=1.5))
    (0.5, 0.9375, 1.5)
    """
    low, high = augmentation.scale
    probability, factor = augmentation.enlarge, augmentation.enlarge_factor
    factors = [1.0] * (probability < 1) + [factor] * (probability > 0)
    mean = (low + high) / 2 * (1 - probability + probability * factor)
    return low * min(factors), mean, high * max(factors)


def _typical_size(dataset: Dataset) -> tuple[int, int]:
    """The median height and width of some images of ``dataset``."""
    indices = range(0, len(dataset), max(1, -(-len(dataset) // SAMPLE)))
    if isinstance(dataset, FileDataset):
        sizes = [read_header(dataset.pairs[index].image).size for index in indices]
    else:
        sizes = [dataset.load(indices[0]).label.shape]
    return (
        round(statistics.median(height for height, _ in sizes)),
        round(statistics.median(width for _, width in sizes)),
    )


def _ratio(size: tuple[int, int], base: tuple[int, int]) -> float:
    """How many times larger ``size`` is than ``base`` along a side: the square root of the ratio of their areas."""
    return math.sqrt(size[0] * size[1] / (base[0] * base[1]))
