"""Batches for :mod:`benchmarks.torch_training` that PyTorch loads and varies, as a short script would.

The keys of ``[augmentation]`` in :data:`AUGMENTATION` mean what they do in segattn. Hue, saturation and what is off
by default there do not exist here: :func:`require_plain` refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from segattn_cli.config import Config
from segattn_cli.data import AugmentationConfig, Batch, Dataset
from segattn_cli.errors import ConfigError

#: The keys of ``[augmentation]`` that are followed. Saturation and hue have to be 0.
AUGMENTATION = (
    "scale", "enlarge", "enlarge_factor", "crop", "flip", "photometric", "brightness", "contrast", "saturation",
    "hue",
)  # fmt: skip
IGNORE_LABEL = 255
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def torch_batches(config: Config, training: Dataset) -> Iterator[Batch]:
    """Whole batches in random order, epoch after epoch; the random numbers depend on ``training.seed``."""
    random = torch.Generator().manual_seed(config.training.seed)
    size = config.training.batch_size
    while True:
        order = torch.randperm(len(training), generator=random).tolist()
        for start in range(0, len(order) - size + 1, size):
            samples = [training.load(index) for index in order[start : start + size]]
            images, labels = zip(
                *(
                    augment(torch.from_numpy(image), torch.from_numpy(label), config.augmentation, random)
                    for image, label, _ in samples
                ),
                strict=True,
            )
            yield Batch(
                torch.stack(images).permute(0, 2, 3, 1).contiguous().numpy(), torch.stack(labels).int().numpy(),
                tuple(name for *_, name in samples), 0.0,
            )


def require_plain(config: AugmentationConfig) -> None:
    """Raise :class:`ConfigError` for colours that are not varied here."""
    if config.photometric and (config.saturation or config.hue):
        raise ConfigError(
            "The augmentation in PyTorch varies neither saturation nor hue: set augmentation.saturation=0 and "
            "augmentation.hue=0."
        )


def augment(
    image: Tensor, label: Tensor, config: AugmentationConfig, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Vary ``image (H, W, 3)`` and ``label (H, W)``, uint8, at random.

    Returns the crop, ``(3, h, w)`` float32 and normalised, and its label ``(h, w)`` uint8. What lies outside the
    image has the mean colour, which is 0 then, and the ignored label.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=random).item()

    factor = uniform(*config.scale)
    if uniform(0, 1) < config.enlarge:
        factor *= config.enlarge_factor
    size = [max(1, round(side * factor)) for side in label.shape]
    x = F.interpolate(image.permute(2, 0, 1)[None] / 255, size, mode="bilinear", antialias=True)[0]
    y = F.interpolate(label[None, None].float(), size, mode="nearest-exact")[0, 0].to(torch.uint8)
    if config.photometric:
        brightness, contrast = uniform(-1, 1) * config.brightness / 255, uniform(-1, 1) * config.contrast
        brightness, contrast = brightness * config.photometric, 1 + contrast * config.photometric
        x = ((x - MEAN) * contrast + MEAN + brightness).clamp(0, 1)
    x = (x - MEAN) / STD
    height, width = config.crop
    bottom, right = max(0, height - size[0]), max(0, width - size[1])
    x, y = F.pad(x, (0, right, 0, bottom)), F.pad(y, (0, right, 0, bottom), value=IGNORE_LABEL)
    top = int(torch.randint(y.shape[0] - height + 1, (), generator=random))
    left = int(torch.randint(y.shape[1] - width + 1, (), generator=random))
    x, y = x[:, top : top + height, left : left + width], y[top : top + height, left : left + width]
    if uniform(0, 1) < config.flip:
        x, y = x.flip(2), y.flip(1)
    return x, y
