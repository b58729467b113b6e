"""Images a second, from files to label maps in files: ``segattn infer`` beside PyTorch with a DataLoader.

    python -m benchmarks.many_pictures danet-resnet18-camvid --backend cupy --precision float16 --json many.json
    python -m benchmarks.many_pictures tiny-scenes --size 360,480 --batch 1,4 --images 24

Both read the same JPEGs, predict with the same weights, which are random, at the size of the images, and write the
same palette PNGs. What is timed on our side is the path of the command itself
(:func:`segattn_cli.prediction.segment.segment`), which also moves each file into its place once it is whole.
PyTorch's side is as one would write it: a DataLoader whose workers decode and normalise, a pass of each batch, and
threads that write. Both have as many workers. They take turns, and the fastest of the rounds counts.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from backends import get_backend
from benchmarks.command_line import run
from benchmarks.torch_network import TorchNetwork
from benchmarks.torch_training import FOLLOWED, Settings, Source, configure, load, require_followed, say
from reference.networks import build_network
from segattn_cli.benchmarking.machine import examine
from segattn_cli.commands.shared.options import parse_size
from segattn_cli.config import Config
from segattn_cli.data.formats.scenes import SceneOptions, Scenes
from segattn_cli.data.images import read_image
from segattn_cli.data.normalise import normalise
from segattn_cli.data.palettes import default_palette, write_label_png
from segattn_cli.errors import UsageError
from segattn_cli.files import write_atomically
from segattn_cli.prediction.batches import threads_beside
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.jobs import Job
from segattn_cli.prediction.output_files import label_map
from segattn_cli.prediction.predictor import SINGLE_PASS, Predictor
from segattn_cli.prediction.segment import ImageDone, segment
from segattn_cli.runs import Model

CLASSES = 11
#: Drawn images; further ones are these, shifted.
DRAWN = 4
#: The types that PyTorch computes in, by precision.
AUTOCAST = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def make_images(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """``count`` JPEGs of drawn scenes of the ``size`` (H, W)."""
    folder.mkdir()
    scenes = Scenes("val", SceneOptions(count=min(count, DRAWN), size=size))
    drawn = [scenes.load(index).image for index in range(len(scenes))]
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        image = np.roll(drawn[number % len(drawn)], 16 * (number // len(drawn)), axis=1)
        Image.fromarray(image).save(path, quality=90)
    return paths


def model_of(config: Config) -> Model:
    """The network of ``config`` with its first weights."""
    require_followed(config, {"network": FOLLOWED["network"]})
    network = build_network(config.network_config(CLASSES))
    names = tuple(f"class {number}" for number in range(CLASSES))
    return Model(network, network.initialise(0), config, names, default_palette(CLASSES), {}, Path("first weights"))


def ours(predictor: Predictor, model: Model, paths: Sequence[Path], out: Path, workers: int) -> None:
    """As ``segattn infer`` does."""
    jobs = [Job(InputFile(str(path)), path.stem, {"label": out / f"{path.stem}.png"}, False) for path in paths]
    for event in segment(predictor, jobs, {"label": label_map()}, model, threads=max(1, workers)):
        assert isinstance(event, ImageDone)


class Files(torch.utils.data.Dataset[tuple[str, np.ndarray]]):
    """The names and the normalised pixels (3, H, W) of image files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray]:
        pixels = normalise(read_image(self.paths[index])).transpose(2, 0, 1)
        return self.paths[index].stem, np.ascontiguousarray(pixels)


class Torch:
    """The same network in PyTorch, and what is around it."""

    def __init__(self, model: Model, device: str, precision: str, workers: int) -> None:
        parts = {key: value for key, value in model.config.network.parts().items() if key in FOLLOWED["network"]}
        self.network: nn.Module = TorchNetwork(CLASSES, **parts, dropout=False)
        load(self.network, model.params)
        self.network.eval().to(device, memory_format=torch.channels_last)
        self.model, self.device, self.precision, self.workers = model, device, precision, workers
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def loader(self, paths: Sequence[Path], batch: int) -> DataLoader[Any]:
        return DataLoader(
            Files(paths), batch, num_workers=self.workers, pin_memory=self.device == "cuda",
            persistent_workers=self.workers > 0, multiprocessing_context="spawn" if self.workers else None,
        )

    def predict(self, loader: DataLoader[Any], out: Path) -> None:
        out.mkdir(exist_ok=True)
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            writing = []
            for names, images in loader:
                for name, label in zip(names, self.labels(images), strict=True):
                    writing.append(pool.submit(write_label_png, out / f"{name}.png", label, self.model.palette))
            for each in writing:
                each.result()

    @torch.inference_mode()
    def labels(self, images: torch.Tensor) -> np.ndarray:
        """The classes (B, H, W) uint8 of ``images`` (B, 3, H, W)."""
        images = images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        dtype = AUTOCAST.get(self.precision)
        with torch.autocast(self.device, dtype) if dtype else nullcontext():
            scores = self.network(images).main
        align_corners = self.model.config.network.align_corners
        scores = F.interpolate(scores.float(), images.shape[2:], mode="bilinear", align_corners=align_corners)
        return scores.argmax(1).to(torch.uint8).cpu().numpy()


def measure(
    model: Model, backend: str, precision: str, size: tuple[int, int], batches: Sequence[int], count: int,
    rounds: int, folder: Path, workers: int | None = None,
) -> Iterator[dict[str, Any]]:
    """A row for each batch size, ready for JSON."""
    paths = make_images(folder / f"{size[0]}x{size[1]}", size, count)
    ops = get_backend(backend, precision)
    changes = {**SINGLE_PASS, "precision": precision}
    for batch in batches:
        predictor = Predictor.of(model, ops, **changes, batch=batch)
        count_of_workers = threads_beside(predictor) if workers is None else workers
        peer = Torch(model, "cpu" if predictor.is_on_cpu else "cuda", precision, count_of_workers)
        loader = peer.loader(paths, batch)
        seconds: dict[str, list[float]] = {"segattn": [], "PyTorch": []}
        sides: dict[str, Callable[..., None]] = {
            "segattn": partial(ours, predictor, model, paths, workers=count_of_workers),
            "PyTorch": partial(peer.predict, loader),
        }
        for number in range(rounds + 1):  # the first compiles, and starts the workers
            for name, side in sides.items():
                with fresh(folder / name) as out:
                    start = time.perf_counter()
                    side(out=out)
                    if number:
                        seconds[name].append(time.perf_counter() - start)
        fastest = {name: count / min(each) for name, each in seconds.items()}
        yield {
            "size": list(size), "batch": batch, "images": count, "workers": count_of_workers,
            "images_per_second": fastest["segattn"], "peer_images_per_second": fastest["PyTorch"],
            "ratio": fastest["PyTorch"] / fastest["segattn"], "seconds": seconds["segattn"],
            "peer_seconds": seconds["PyTorch"], "same_labels": _same_labels(folder / "segattn", folder / "PyTorch"),
        }


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """An empty folder, as it was for the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    yield folder


def _same_labels(one: Path, other: Path) -> float:
    """The fraction of the pixels with equal labels."""
    pairs = [(np.asarray(Image.open(path)), np.asarray(Image.open(other / path.name))) for path in one.iterdir()]
    return float(np.mean([np.mean(a == b) for a, b in pairs]))


def main(
    source: Source,
    settings: Settings = None,
    sizes: Annotated[
        list[str] | None, typer.Option("--size", metavar="H,W", help="Size of the images. Can be repeated.")
    ] = None,
    batch: Annotated[str, typer.Option(metavar="B,B", help="Numbers of images at once.")] = "1,4,16",
    images: Annotated[int, typer.Option(metavar="N", min=1, help="Number of images.")] = 96,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds, of which the fastest counts.")] = 3,
    backend: Annotated[str, typer.Option(metavar="NAME", help="Backend of segattn.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="Precision of both.")] = "float32",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Threads of segattn, and workers of the DataLoader, or none by 0."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything to FILE.")
    ] = None,
) -> None:
    """Print and write images a second of segattn and of PyTorch, for each size and number of images at once."""
    model = model_of(configure(source, settings, None))
    if not all(each.isdecimal() and int(each) for each in batch.split(",")):
        raise UsageError(f"--batch must be numbers such as 1,4,16, got {batch!r}.")
    found = get_backend(backend, precision).name
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for text in sizes or ["360,480", "1024,2048"]:
            size = parse_size("--size", text)
            if size is None:
                raise UsageError("--size must be height and width, such as 360,480, got 'none'.")
            numbers = [int(each) for each in batch.split(",")]
            for row in measure(model, found, precision, size, numbers, images, rounds, Path(folder), workers):
                rows.append(row)
                say(
                    f"{text}, {row['batch']} at once: {row['images_per_second']:.1f} images/s, PyTorch "
                    f"{row['peer_images_per_second']:.1f}; {row['ratio']:.2f} of its time; "
                    f"{100 * row['same_labels']:.2f} % of the labels equal"
                )
    record = {
        **examine(found, [precision]).as_json(), "config": source, "settings": settings or [], "backend": found,
        "precision": precision, "rows": rows,
    }
    if json_file is not None:
        write_atomically(json_file, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    run(main)
