"""How large the steps of a session are: as they are meant, and as small as it goes, to try the script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What compute-sanitizer runs: each op, in float32 and float16.
SANITIZED = "agrees and (float32 or float16) and (attention or norm or entropy or pool or fusion or conv)"


@dataclass(frozen=True)
class Sizes:
    """The sizes of one session."""

    preset: str
    scenes: tuple[int, int]  # height and width of drawn images
    counts: tuple[int, int]  # drawn images to train and to validate
    settings: tuple[str, ...]
    large: tuple[str, ...]  # options with which a training needs far more than 2 GB
    steps: int  # of a training
    part: int  # of the steps between two changes of the precision
    images: int  # that are predicted
    check: tuple[str, ...] = ()  # options of segattn check
    tests: str = ""  # which tests, as -k of pytest
    sanitized: str = SANITIZED
    bench: tuple[str, ...] = ("--against", "torch")
    pictures: tuple[str, ...] = ("--size", "360,480", "--size", "1024,2048")  # options of benchmarks.many_pictures

    def network(self, data: Path | None) -> list[str]:
        """Options of ``segattn train``: the network, and the data that it is trained on."""
        height, width = self.scenes
        train, val = self.counts
        drawn = (
            f"data.scenes.size=[{height},{width}]", f"data.scenes.train={train}", f"data.scenes.val={val}",
            "loss.class_weights=log",  # those of a preset are for its own classes
        )  # fmt: skip
        settings = [
            "training.log_every=1", "evaluation.preview_after=0", f"evaluation.limit={2 * self.images}",
            *self.settings, *(drawn if data is None else ()),
        ]  # fmt: skip
        return [
            "--preset", self.preset, "--data", "scenes" if data is None else str(data),
            *(word for setting in settings for word in ("--set", setting)),
        ]  # fmt: skip


#: DANet-ResNet18 on CamVid, or on drawn images of the same number and size.
FULL = Sizes(
    preset="danet-resnet18-camvid",
    scenes=(360, 480),
    counts=(367, 101),
    settings=("data.workers=8",),
    large=("--batch-size", "64", "--set", "augmentation.crop=[360,480]"),
    steps=200,
    part=10,
    images=8,
)
#: The same steps in seconds, on a CPU or on the stand-in for CuPy.
TRIAL = Sizes(
    preset="tiny-scenes",
    scenes=(32, 40),
    counts=(8, 4),
    settings=(
        "augmentation.crop=[32,40]", "training.batch_size=2", "schedule.kind=cosine", "schedule.warmup_steps=200",
    ),
    large=(),
    steps=4,
    part=2,
    images=2,
    check=("--op", "relu", "--op", "softmax_cross_entropy"),
    tests="test_agrees and relu",
    sanitized="test_agrees and relu and float32",
    bench=("--suite", "ops", "--only", "linear", "--against", "reference", "--no-memory", "--repeat", "1"),
    pictures=("--size", "32,40", "--batch", "2", "--images", "4", "--rounds", "1", "--workers", "0"),
)
