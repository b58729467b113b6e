"""Train the network of a configuration with PyTorch in place of segattn, to compare what both learn.

    python -m benchmarks.torch_training fcn-resnet18-camvid --data CamVid --out runs/torch
    python -m benchmarks.torch_training my.toml --set training.epochs=3 --seeds 0,1,2 --out runs/torch

A plain training loop: the network of :mod:`benchmarks.torch_network`, autograd and PyTorch's optimiser. It starts
from segattn's initial weights and takes segattn's batches in the same order, so that only the computation differs.
With ``--augmentation torch`` the images are loaded and varied by PyTorch, too. Dropout masks are PyTorch's own.
With several scales, a batch norm here moves its running averages once at each scale; segattn pools the scales.

The folder ``OUT/SEED`` receives ``log.jsonl``, ``result.json`` and ``weights.safetensors``, which ``segattn weights
import`` reads. Validation is segattn's: the same images, sizes and metrics, with the scores of this network.
"""

from __future__ import annotations

import copy
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from torch import Tensor, nn

from backends import get_backend
from benchmarks.command_line import run
from benchmarks.torch_augmentation import AUGMENTATION, require_plain, torch_batches
from benchmarks.torch_losses import IGNORE_LABEL
from benchmarks.torch_network import TorchNetwork
from reference.networks import NetworkConfig, build_network
from segattn_cli.commands.shared.output_paths import require_empty
from segattn_cli.config import Config, OptimiserSection, ScheduleSection, keys, load_config
from segattn_cli.data import Batch, Dataset, Loader
from segattn_cli.errors import ConfigError, UsageError
from segattn_cli.exporting.state_dict import write_state_dict
from segattn_cli.files import write_atomically
from segattn_cli.prediction.evaluation import EvaluationResult, evaluate
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import CONFIG, Model
from segattn_cli.training.class_weights import class_weights
from segattn_cli.training.setup import open_splits, steps_per_epoch
from segattn_cli.weights import weights_for
from segattn_cli.weights.names import from_pytorch, to_pytorch

Augmentation = Literal["segattn", "torch"]


class TorchTraining:
    """A network in PyTorch and its optimiser; :meth:`step` trains it.

    Args:
        config: the configuration of a run of segattn.
        params: segattn's parameters to start from, by name.
        weights: one weight a class in the loss, or None.
        steps: number of steps of the whole training, over which the schedule extends.
        dropout: whether dropouts are active.

    Raises:
        ConfigError: for a configuration that asks for what this training does not have.
    """

    def __init__(
        self, config: Config, network_config: NetworkConfig, params: dict[str, np.ndarray],
        weights: Sequence[float] | None, steps: int, *, dtype: torch.dtype = torch.float32, dropout: bool = True,
    ) -> None:
        require_followed(config)
        self.config, self.network_config, self.steps, self.dtype = config, network_config, steps, dtype
        parts = {key: value for key, value in config.network.parts().items() if key in FOLLOWED["network"]}
        self.network = TorchNetwork(network_config.classes, **parts, dropout=dropout)
        self.network.to(dtype, memory_format=torch.channels_last)
        load(self.network, params)
        for norm in self.norms():
            norm.momentum = config.training.batch_norm_momentum
        self.class_weights = None if weights is None else torch.tensor(weights, dtype=dtype)
        self.optimiser = optimiser_of(config.optimiser, self.network)
        self.average = None if config.training.ema is None else copy.deepcopy(self.network)
        self.done = 0

    def step(self, batches: Sequence[Batch]) -> float:
        """One step on ``batches``, whose gradients count as one; returns the loss before it."""
        config = self.config
        rate = learning_rate(config.schedule, config.optimiser.learning_rate, self.done, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiplier"]
        self.network.train()
        if config.training.batch_norm == "frozen":
            for norm in self.norms():
                norm.eval()
        self.optimiser.zero_grad()
        total = 0.0
        for batch, fraction in zip(batches, self.fractions(batches), strict=True):
            images = torch.from_numpy(batch.images).to(self.dtype).permute(0, 3, 1, 2)
            labels = torch.from_numpy(batch.labels).long()
            loss = fraction * self.network.loss(images, labels, asdict(config.loss), self.class_weights)
            loss.backward()
            total += loss.item()
        if config.optimiser.clip_norm is not None:
            gradients = [each.grad for each in self.network.parameters()]
            norm = torch.linalg.vector_norm(torch.stack([each.norm() for each in gradients]))
            for each in gradients:
                each.mul_(min(config.optimiser.clip_norm / norm.item(), 1.0))
        self.optimiser.step()
        self.done += 1
        if self.average is not None and config.training.ema is not None:
            decay = min(config.training.ema, (1 + self.done) / (10 + self.done))
            for mean, value in zip(tensors(self.average), tensors(self.network), strict=True):
                mean.lerp_(value, 1 - decay)
        return total

    def fractions(self, batches: Sequence[Batch]) -> list[float]:
        """The fraction of the labelled pixels, each with the weight of its class, that each batch has."""
        weights = torch.ones(self.network_config.classes) if self.class_weights is None else self.class_weights
        labels = [torch.from_numpy(batch.labels).long() for batch in batches]
        counts = [float(weights[each[each != IGNORE_LABEL]].sum()) for each in labels]
        return [each / sum(counts) for each in counts]

    def norms(self) -> Iterator[Any]:
        return (module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d))

    def model(self, classes: tuple[str, ...], palette: np.ndarray, out: Path) -> Model:
        """The trained network with segattn's names and shapes."""
        network = build_network(self.network_config)
        state = (self.average or self.network).state_dict()
        params = {name: from_pytorch(name, state[name].numpy(), shape) for name, shape in network.shapes().items()}
        return Model(network, params, self.config, classes, palette, {}, out)

    def validate(self, validation: Dataset, out: Path) -> EvaluationResult:
        """segattn's evaluation of this network."""
        model = self.model(validation.classes, validation.palette, out)
        scores = TorchScores((self.average or self.network).eval(), self.network_config)
        model = Model(scores, {}, model.config, model.classes, model.palette, {}, out)  # type: ignore[arg-type]
        *_, result = evaluate(
            Predictor.of(model, get_backend("numpy")), validation, limit=self.config.evaluation.limit
        )
        assert isinstance(result, EvaluationResult)
        return result


class TorchScores:
    """A network in PyTorch in the place of ours in a :class:`Predictor`."""

    def __init__(self, network: nn.Module, config: NetworkConfig) -> None:
        self.network, self.config = network, config

    def fold(self, params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return params

    def predict_with_weights(self, images: np.ndarray, ctx: object) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores ``(B, h, w, K)`` and scale weights ``(B, h, w, S)`` of ``images (B, H, W, 3)``."""
        with torch.inference_mode():
            outputs = self.network(torch.from_numpy(images).permute(0, 3, 1, 2))
        weights = outputs.scale_weights
        return channels_last(outputs.main), None if weights is None else channels_last(weights)


def channels_last(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())


#: The keys of the configuration that this training follows. Of the tables that segattn's loader and evaluation
#: follow, that is every key.
FOLLOWED = {
    "network": (
        "backbone", "output_stride", "multi_grid", "head", "head_channels", "channel_form", "scales", "fusion",
        "scale_attention_channels", "scale_classifier", "align_corners", "weights", "decoder",
    ),
    "optimiser": (
        "kind", "learning_rate", "momentum", "betas", "epsilon", "weight_decay", "decay_biases_and_norms",
        "head_multiplier", "classifier_multiplier", "bias_multiplier", "layer_decay", "clip_norm", "accumulate",
    ),
    "schedule": (
        "kind", "power", "minimum", "milestones", "factor", "warmup_steps", "rise", "start_divisor", "end_divisor",
    ),
    "loss": (
        "position", "channel", "extra_supervision", "scale_classifier", "class_weights", "class_weight_offset",
        "auxiliary", "cross_entropy", "focal", "dice", "lovasz", "focal_gamma", "hard_pixel_threshold",
        "hard_pixel_fraction",
    ),
    "training": (
        "seed", "backend", "batch_size", "epochs", "max_steps", "batch_norm", "batch_norm_momentum", "ema",
        "checkpoint_every", "log_every",
    ),
}  # fmt: skip


def require_followed(config: Config, followed: Mapping[str, Sequence[str]] = FOLLOWED) -> None:
    """Raise :class:`ConfigError` where a key is set, in a table of ``followed``, that is not followed there."""
    for key in keys():
        if key.table in followed and key.name not in followed[key.table]:
            value = getattr(getattr(config, key.table), key.name)
            if value != key.default:
                raise ConfigError(
                    f"The training in PyTorch does not follow {key.path}, which is {value}: leave it at "
                    f"{'none' if key.default is None else key.default}."
                )


def load(network: nn.Module, params: dict[str, np.ndarray]) -> None:
    """Take segattn's parameters, all of them and no other."""
    state = {name: torch.tensor(to_pytorch(np.asarray(value))) for name, value in params.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    other = unexpected + [name for name in missing if not name.endswith("num_batches_tracked")]
    assert not other, f"the networks have different parameters: {', '.join(other)}"


def tensors(network: nn.Module) -> list[Tensor]:
    """All parameters and running statistics."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def optimiser_of(config: OptimiserSection, network: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's SGD or AdamW; the learning rates are set before each step."""
    groups = parameter_groups(network, config)
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, config.learning_rate, config.betas, config.epsilon)
    return torch.optim.SGD(groups, config.learning_rate, config.momentum)


def parameter_groups(network: nn.Module, config: OptimiserSection) -> list[dict[str, Any]]:
    """The parameters of ``network`` in groups of one learning rate (as a multiple) and weight decay."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    last = max(stage(name) for name, _ in network.named_parameters() if name.startswith("backbone."))
    for name, parameter in network.named_parameters():
        multiplier = config.head_multiplier
        if name.startswith("backbone."):
            multiplier = config.layer_decay ** (1 + last - stage(name))
        if ".classifier." in name or name.startswith("head.fc8."):
            multiplier *= config.classifier_multiplier
        if name.endswith(".bias"):
            multiplier *= config.bias_multiplier
        decays = config.decay_biases_and_norms or parameter.ndim > 1
        groups.setdefault((multiplier, config.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": params, "multiplier": multiplier, "weight_decay": decay}
        for (multiplier, decay), params in groups.items()
    ]


def stage(name: str) -> int:
    """The number, from the image on, of the stage of a backbone that a parameter belongs to.

    >>> [stage(f"backbone.{name}.weight") for name in ("conv1", "layer1.0.bn2", "layer4.1.conv1")]
    [1, 2, 5]
    >>> [stage(f"backbone.{name}.weight") for name in ("conv1_2", "conv5_1")]
    [1, 5]
    """
    kind, number = name.split(".")[1], re.search(r"\d", name)
    assert number is not None
    return int(number[0]) + kind.startswith("layer")


@cache
def one_cycle(schedule: ScheduleSection, largest: float, steps: int) -> list[float]:
    """The learning rates of all steps of PyTorch's one-cycle schedule.

    >>> [round(rate, 6) for rate in one_cycle(ScheduleSection(kind="one-cycle", rise=0.5), 0.5, 4)]
    [0.02, 0.5, 0.250001, 2e-06]
    """
    optimiser = torch.optim.SGD([torch.zeros(1)], largest)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, largest, steps, pct_start=schedule.rise, cycle_momentum=False,
        div_factor=schedule.start_divisor, final_div_factor=schedule.end_divisor,
    )  # fmt: skip
    rates = []
    for _ in range(steps):
        rates += scheduler.get_last_lr()
        optimiser.step()
        scheduler.step()
    return rates


def learning_rate(schedule: ScheduleSection, largest: float, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``.

    >>> [learning_rate(ScheduleSection(power=1.0, warmup_steps=2), 0.5, step, 4) for step in range(4)]
    [0.25, 0.375, 0.25, 0.125]
    """
    if schedule.kind == "one-cycle":
        return one_cycle(schedule, largest, steps)[step]
    warmup = schedule.warmup_steps
    rise = min((step + 1) / warmup, 1) if warmup else 1
    if schedule.kind == "poly":
        return rise * max(largest * (1 - step / steps) ** schedule.power, schedule.minimum)
    if schedule.kind == "cosine":
        done = max(step - warmup, 0) / max(steps - warmup, 1)
        return rise * (schedule.minimum + (largest - schedule.minimum) * math.cos(math.pi * done / 2) ** 2)
    passed = [milestone for milestone in schedule.milestones if milestone <= step]
    return rise * largest * schedule.factor ** len(passed)


def segattn_batches(config: Config, training: Dataset) -> Iterator[Batch]:
    """segattn's batches, in its order and with its augmentation, epoch after epoch."""
    per_epoch = steps_per_epoch(config, training) * config.optimiser.accumulate
    for epoch in count():
        loader = Loader(
            training, batch_size=config.training.batch_size, augmentation=config.augmentation,
            seed=config.training.seed, epoch=epoch, workers=config.data.workers,
        )
        yield from islice(loader, per_epoch)


BATCHES: dict[str, Callable[[Config, Dataset], Iterator[Batch]]] = {
    "segattn": segattn_batches, "torch": torch_batches,
}  # fmt: skip


def train(config: Config, out: Path, augmentation: Augmentation = "segattn") -> dict[str, Any]:
    """Train the network of ``config`` into the folder ``out``, and return what ``result.json`` has.

    Raises:
        SegattnError: as ``segattn train`` does, and :class:`ConfigError` for what this training does not have.
    """
    if augmentation == "torch":
        require_followed(config, {"augmentation": AUGMENTATION})
        require_plain(config.augmentation)
    training, validation = open_splits(config)
    network_config = config.network_config(len(training.classes))
    network = build_network(network_config)
    params = network.initialise(config.training.seed)
    if config.network.weights is not None:
        params |= weights_for(network, config.network.weights).params
    epoch = steps_per_epoch(config, training)
    steps = config.training.max_steps or config.training.epochs * epoch
    torch.manual_seed(config.training.seed)  # of the dropout masks
    weights = class_weights(config.loss, training)
    learner = TorchTraining(config, network_config, params, weights, steps)
    require_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / CONFIG, config.as_toml().encode())
    every = (config.evaluation.every or config.training.epochs) * epoch

    seconds, best, result = 0.0, 0.0, None
    batches = BATCHES[augmentation](config, training)
    with (out / "log.jsonl").open("w", encoding="utf-8") as log:
        for step in range(1, steps + 1):
            start = time.perf_counter()
            loss = learner.step(list(islice(batches, config.optimiser.accumulate)))
            seconds += time.perf_counter() - start
            print(json.dumps({"step": step, "loss": loss, "seconds": round(seconds, 3)}), file=log, flush=True)
            if step % config.training.log_every == 0 or step == steps:
                say(f"step {step} of {steps}: loss {loss:.4f}, {seconds:.0f} s")
            if step % every == 0 or step == steps:
                result = learner.validate(validation, out)
                best = max(best, result.miou)
                line = {"step": step, "miou": result.miou, "per_class_iou": result.per_class_iou}
                print(json.dumps(line), file=log, flush=True)
                say(f"step {step} of {steps}: mIoU {100 * result.miou:.1f}")
    assert result is not None
    write_state_dict(learner.model(training.classes, training.palette, out), out / "weights.safetensors", "pytorch")
    content = {
        "seed": config.training.seed, "augmentation": augmentation, "steps": steps,
        "training_seconds": seconds, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "best_miou": best, **result.as_dict(),
    }  # fmt: skip
    (out / "result.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    return content


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


Source = Annotated[str, typer.Argument(metavar="CONFIG", help="Preset, or configuration file in TOML.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the configuration.")
]
Data = Annotated[str | None, typer.Option(metavar="PATH", help="Folder of the data set.")]
Seeds = Annotated[str | None, typer.Option(metavar="N,N", help="Seeds, one training each, such as 0,1,2.")]


def configure(source: str, settings: Sequence[str] | None, data: str | None) -> Config:
    """The configuration that the options ask for."""
    return load_config(source, [*(settings or []), *([f"data.source={data}"] if data else [])])


def seeds_of(text: str | None, config: Config) -> list[int]:
    """The seeds in ``"0,1,2"``, each once. Raises :class:`UsageError`."""
    if text is None:
        return [config.training.seed]
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise UsageError(f"--seeds must be different whole numbers such as 0,1,2, got {text!r}.")
    return [int(part) for part in parts]


def with_seed(config: Config, seed: int) -> Config:
    training = {**asdict(config.training), "seed": seed}
    return config.model_copy(update={"training": type(config.training)(**training)})


def main(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder, which gets a folder for each seed.")],
    settings: Settings = None,
    data: Data = None,
    seeds: Seeds = None,
    augmentation: Annotated[
        str, typer.Option(metavar="NAME", help="segattn takes segattn's batches, torch varies images itself.")
    ] = "segattn",
) -> None:
    """Train the network of a configuration with PyTorch, and print the validation mIoU of each seed."""
    if augmentation not in BATCHES:
        raise UsageError(f"--augmentation must be segattn or torch, got {augmentation!r}.")
    config = configure(source, settings, data)
    for seed in seeds_of(seeds, config):
        result = train(with_seed(config, seed), out / str(seed), augmentation)  # type: ignore[arg-type]
        minutes = result["training_seconds"] / 60
        print(f"seed {seed}: mIoU {100 * result['miou']:.2f}, {minutes:.1f} minutes of training")


if __name__ == "__main__":
    run(main)
