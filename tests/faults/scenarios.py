"""The commands that write files, what they read and write, and when two of their results are the same."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segattn_cli.files import UNFINISHED
from segattn_cli.runs.checkpoint import load_checkpoint

from .forks import ROOT, Ended, Forks

#: A network and a data set as small as they can be.
TINY = (
    "--set=training.backend=numpy", "--set=augmentation.crop=[24,32]", "--set=training.batch_size=2",
    "--set=data.workers=1", "--set=network.head_channels=4", "--set=network.scale_attention_channels=4",
    "--set=training.log_every=1", "--set=training.checkpoint_every=1", "--set=evaluation.limit=2",
)  # fmt: skip
#: What of two equal runs may differ: times, and where they were done.
VARYING = {
    "seconds", "wait_share", "images_per_second", "memory", "seconds_left", "out", "journal", "checkpoint",
}  # fmt: skip


#: A saved evaluation is named after a hash of its checkpoint, which contains times.
EVALUATION = re.compile("/evaluations/[0-9a-f]{16}")


@dataclass(frozen=True)
class Scenario:
    """A command in a folder ``{w}``, which holds a data set, images, a run and the export of an annotation tool."""

    command: tuple[str, ...]
    #: The files and folders that it may write, in ``{w}``.
    outputs: tuple[str, ...]
    #: The command after a fault; the result is then that of an undisturbed one.
    again: tuple[str, ...]
    #: Earlier content of the outputs, each of which has either this or the new one after a fault.
    before: tuple[tuple[str, ...], ...] = ()
    #: Outputs that have to be removed before ``again``, for the command replaces none.
    removed: tuple[str, ...] = ()
    #: A package that it needs.
    package: str | None = None
    #: The file in ``out`` without which that is no data set yet.
    seal: str | None = None
    #: Whether problems of its inputs are its result, so that there is no sentence about them.
    reports: bool = False
    #: Outputs that save work later, and may be missing where they could not be written.
    spared: tuple[str, ...] = ()


def _with(command: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return (*command, *more)


TRAIN = ("train", "--out", "{w}/out", "--data", "{w}/data", "--val", "0.4", *TINY, "--max-steps", "3")
INFER = ("infer", "{w}/run", "{w}/images", "--out", "{w}/out", "--backend", "numpy")
PNGS = _with(INFER, "--overlay", "--confidence", "--probabilities", "png", "--polygons", "coco", "--batch", "2")
ARRAYS = _with(INFER, "--scores", "--probabilities", "npy", "--attention")
VIDEO = _with(INFER, "--video", "all.mp4")
ONNX = ("export", "{w}/run", "--out", "{w}/net.onnx")
STATE_DICT = ("export", "{w}/run", "--out", "{w}/net.safetensors")
WEIGHTS = ("weights", "import", "{w}/run/best.safetensors", "--out", "{w}/made.safetensors")
EXPLAIN = (
    "explain", "{w}/run", "{w}/images/a.png", "--out", "{w}/page.html", "--npz", "{w}/maps.npz",
    "--backend", "numpy",
)  # fmt: skip
REPORT = ("report", "{w}/run", "--backend", "numpy", "--out", "{w}/report.html")
EVAL = (
    "eval", "{w}/run", "--json", "{w}/eval.json", "--confusion", "{w}/confusion.png", "--save", "{w}/eval.npz",
    "--backend", "numpy",
)  # fmt: skip
IMPORT = ("data", "import", "{w}/export", "--out", "{w}/out", "--val", "0")
SAMPLE = ("data", "sample", "scenes", "--out", "{w}/out", "--count", "2", "--size", "24,32")
CHECK = ("data", "check", "{w}/data", "--json", "{w}/check.json")
COMPARE = ("compare", "{w}/run", "{w}/second", "--backend", "numpy", "--json", "{w}/compare.json")
SHARD = ("eval", "{w}/run", "--backend", "numpy", "--split", "train", "--shard")
MERGE = ("merge", "{w}/part-1.npz", "{w}/part-2.npz", "--save", "{w}/merged.npz", "--json", "{w}/merged.json")
ABLATE = ("ablate", "{w}/study.toml", "--out", "{w}/study", "--markdown", "{w}/table.md", "--csv", "{w}/table.csv",
          "--json", "{w}/table.json")  # fmt: skip

SCENARIOS = {
    "train": Scenario(TRAIN, ("out",), ("train", "--resume", "--out", "{w}/out")),
    "infer to images": Scenario(
        PNGS, ("out",), _with(PNGS, "--force"),
    ),
    "infer over older results": Scenario(
        _with(INFER, "--overlay", "--force"), ("out",), _with(INFER, "--overlay", "--force"),
        before=(("infer", "{w}/other.safetensors", *INFER[2:], "--overlay"),),
    ),
    "infer to arrays": Scenario(ARRAYS, ("out",), _with(ARRAYS, "--resume")),
    "infer to a video": Scenario(VIDEO, ("out",), _with(VIDEO, "--force"), package="av"),
    "export to ONNX": Scenario(
        _with(ONNX, "--force"), ("net.onnx",), _with(ONNX, "--force"),
        before=(("export", "{w}/other.safetensors", *ONNX[2:]),), package="onnx",
    ),
    "export of a state dict": Scenario(
        _with(STATE_DICT, "--force"), ("net.safetensors",), _with(STATE_DICT, "--force"),
        before=(("export", "{w}/other.safetensors", *STATE_DICT[2:]),),
    ),
    "import of weights": Scenario(WEIGHTS, ("made.safetensors",), _with(WEIGHTS, "--force")),
    "explain": Scenario(
        _with(EXPLAIN, "--force"), ("page.html", "maps.npz"), _with(EXPLAIN, "--force"),
        before=(("explain", "{w}/other.safetensors", *EXPLAIN[2:]),),
    ),
    "report": Scenario(
        _with(REPORT, "--force"), ("report.html", "run/evaluations"), _with(REPORT, "--force"),
        before=(_with(REPORT, "--curves-only"),),
    ),
    "eval": Scenario(EVAL, ("eval.json", "confusion.png", "eval.npz"), EVAL,
                     before=(("eval", "{w}/other.safetensors", "--data", "{w}/data", *EVAL[2:]),)),
    "import of annotations": Scenario(IMPORT, ("out",), IMPORT, removed=("out",), seal="classes.txt"),
    "sample": Scenario(SAMPLE, ("out",), _with(SAMPLE, "--force"), seal="classes.txt"),
    "check of data": Scenario(CHECK, ("check.json",), CHECK, before=(_with(CHECK, "--val", "0.5"),), reports=True),
    "compare": Scenario(
        COMPARE, ("compare.json", "run/evaluations", "second/evaluations"), COMPARE,
        spared=("run/evaluations", "second/evaluations"),
    ),
    "merge": Scenario(
        MERGE, ("merged.npz", "merged.json"), MERGE,
        before=(
            _with(SHARD, "1/2", "--save", "{w}/part-1.npz"), _with(SHARD, "2/2", "--save", "{w}/part-2.npz"),
            ("eval", "{w}/second", "--backend", "numpy", "--split", "train", "--save", "{w}/other.npz"),
            ("merge", "{w}/other.npz", *MERGE[3:]),
        ),
    ),
    "ablate": Scenario(
        _with(ABLATE, "--resume"), ("study", "table.md", "table.csv", "table.json"), _with(ABLATE, "--resume"),
    ),
}  # fmt: skip
STUDY = """
# Two heads.
preset = "tiny-scenes"
seeds = 1
[base]
data = {scenes = {size = [24, 32], train = 4, val = 2}, workers = 1}
network = {head_channels = 4, scale_attention_channels = 4}
augmentation = {crop = [24, 32]}
training = {backend = "numpy", batch_size = 2, max_steps = 1}
[rows.fcn]
network.head = "fcn"
[rows.dual]
network.head = "dual"
"""


def available(scenario: Scenario) -> bool:
    return scenario.package is None or importlib.util.find_spec(scenario.package) is not None


def filled(arguments: tuple[str, ...], folder: Path) -> list[str]:
    return [each.replace("{w}", str(folder)) for each in arguments]


def make_template(forks: Forks, template: Path) -> None:
    """What every scenario finds in its folder."""
    template.mkdir()

    def call(*arguments: str) -> None:
        ended = forks.run(filled(arguments, template), template)
        assert ended.code == 0, ended.err

    call("data", "sample", "scenes", "--out", "{w}/data", "--count", "6", "--size", "24,32")
    (template / "images").mkdir()
    for name, image in zip("ab", sorted((template / "data" / "images").iterdir()), strict=False):
        shutil.copy(image, template / "images" / f"{name}.png")
    call("train", "--out", "{w}/run", *TRAIN[3:])
    call("train", "--out", "{w}/other", *TRAIN[3:], "--seed", "1")
    shutil.rmtree(template / "run" / "evaluations")
    shutil.copy(template / "other" / "best.safetensors", template / "other.safetensors")
    shutil.rmtree(template / "other" / "evaluations")
    (template / "other").rename(template / "second")
    exports = ROOT / "tests" / "segattn_cli" / "data" / "annotations" / "exports" / "coco"
    shutil.copytree(exports, template / "export")
    (template / "study.toml").write_text(STUDY)


def prepare(forks: Forks, name: str, template: Path, folder: Path) -> None:
    """Make the folder of a scenario from ``template``, with what it holds before the command."""
    shutil.copytree(template, folder)
    for arguments in SCENARIOS[name].before:
        ended = forks.run(filled(arguments, folder), folder)
        assert ended.code == 0, ended.err


# What is in a folder.


def contents(folder: Path) -> dict[str, str]:
    """A hash of each file below ``folder``, without what the process of a fault could not remove."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not is_unfinished(path, folder)
    }


def unfinished(folder: Path) -> list[str]:
    """The temporary files and folders below ``folder``."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*") if UNFINISHED.fullmatch(path.name)]


def is_unfinished(path: Path, folder: Path) -> bool:
    return any(UNFINISHED.fullmatch(part) for part in path.relative_to(folder).parts)


def is_under(name: str, parts: tuple[str, ...]) -> bool:
    """Whether the file ``name`` is one of ``parts`` or in one of them."""
    return any(name == part or name.startswith(f"{part}/") for part in parts)


def meaning(path: Path) -> str:
    """What a file says, but for times; raises an error where it is damaged."""
    reader = READERS.get(path.suffix)
    content = path.read_bytes() if reader is None else reader(path)
    return hashlib.sha1(content).hexdigest()


def _safetensors(path: Path) -> bytes:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        is_ours = "segattn" in (file.metadata() or {})
    if not is_ours:
        return path.read_bytes()
    checkpoint = load_checkpoint(path)
    arrays = {name: [array.dtype.str, array.shape, _digest(array)] for name, array in checkpoint.arrays.items()}
    return json.dumps([arrays, timeless(checkpoint.metadata)], sort_keys=True).encode()


def _json(path: Path) -> bytes:
    return json.dumps(timeless(json.loads(path.read_text())), sort_keys=True).encode()


def _json_lines(path: Path) -> bytes:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = [timeless(line) for line in lines if line["event"] != "started"]  # which every session begins with
    return json.dumps(told, sort_keys=True).encode()


def _arrays(path: Path) -> bytes:
    with np.load(path, allow_pickle=False) as arrays:
        return json.dumps({name: _digest(arrays[name]) for name in arrays if name != "description"}).encode()


def _array(path: Path) -> bytes:
    return _digest(np.load(path, allow_pickle=False)).encode()


def _image(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.mode.encode() + image.tobytes()


def _page(path: Path) -> bytes:
    text = path.read_text()
    assert text.rstrip().endswith("</html>"), "the page has no end"
    return b""


def _onnx(path: Path) -> bytes:
    import onnx

    onnx.checker.check_model(str(path))
    return path.read_bytes()


def _video(path: Path) -> bytes:
    import av

    with av.open(str(path)) as file:
        return json.dumps([[frame.width, frame.height] for frame in file.decode(video=0)]).encode()


def _digest(array: np.ndarray) -> str:
    return hashlib.sha1(np.ascontiguousarray(array).tobytes()).hexdigest()


READERS: dict[str, Callable[[Path], bytes]] = {
    ".safetensors": _safetensors, ".json": _json, ".jsonl": _json_lines, ".npz": _arrays, ".npy": _array,
    ".png": _image, ".html": _page, ".onnx": _onnx, ".mp4": _video,
}  # fmt: skip


def timeless(value: Any) -> Any:
    """``value`` without what two equal runs do not share."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in VARYING}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def meanings(folder: Path, parts: tuple[str, ...]) -> dict[str, str]:
    """The :func:`meaning` of each file of ``parts``; ``damaged: …`` where it has none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and is_under(name, parts) and not is_unfinished(path, folder):
            name = EVALUATION.sub("/evaluations/#", name)
            try:
                found[name] = meaning(path)
            except Exception as error:
                found[name] = f"damaged: {type(error).__name__}: {error}"
    return found


def said(ended: Ended) -> str:
    """The end of what a command said, for a report."""
    return (ended.err.strip() or ended.out.strip())[-600:]
