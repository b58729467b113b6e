"""Data sets, from files or drawn, and the way from them to batches."""

from segattn_cli.data.augment import AugmentationConfig, augment
from segattn_cli.data.dataset import IGNORE_LABEL, Dataset, Sample
from segattn_cli.data.formats.recognition import FORMATS, open_dataset, splits_of
from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.data.images import read_image
from segattn_cli.data.loader import Batch, Loader
from segattn_cli.data.masks import read_mask
from segattn_cli.data.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from segattn_cli.data.palettes import colourise, default_palette, write_label_png
from segattn_cli.data.random import stream

__all__ = [
    "FORMATS",
    "IGNORE_LABEL",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "AugmentationConfig",
    "Batch",
    "Dataset",
    "Loader",
    "Sample",
    "SceneOptions",
    "Scenes",
    "augment",
    "colourise",
    "default_palette",
    "normalise",
    "open_dataset",
    "read_image",
    "read_mask",
    "splits_of",
    "stream",
    "write_label_png",
]
