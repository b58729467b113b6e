"""Measure what the attentions of a trained network do, over a split of its data, and print tables in Markdown.

    python -m benchmarks.attention_measures
    python -m benchmarks.attention_measures runs/first --split val

The network is that which comes with segattn, unless a run with a dual head and scale attention is named. Nothing is
trained anew: a gate is closed, or the form of the channel map or the fusion changed, in the network as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from scipy.ndimage import label as components

from backends import get_backend
from benchmarks.command_line import run
from reference.layers import Context
from reference.networks import LossWeights, Objective, build_network
from segattn_cli.data import Dataset
from segattn_cli.data.normalise import normalise
from segattn_cli.errors import UsageError
from segattn_cli.explaining import explain
from segattn_cli.prediction.evaluation import EvaluationResult, evaluate, open_data_of
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model, open_model
from segattn_cli.runs.demo import DEMO

#: Edges between heights of a car, as fractions of the height of the image.
HEIGHTS = (0.0, 0.06, 0.12, 0.25, 1.0)
#: Batches for the lengths of gradients, and images that these take.
BATCHES, BATCH = 4, 8
LEAST_IMAGES = BATCHES * BATCH
#: Cars of fewer pixels are what another object leaves of one.
LEAST_PIXELS = 12


def closed(model: Model, *kinds: str) -> Model:
    """The model with the gates of these attentions at 0."""
    gates = {f"head.{kind}.gate": np.zeros((), np.float32) for kind in kinds}
    return replace(model, params={**model.params, **gates})


def changed(model: Model, **settings: Any) -> Model:
    """The model with other settings of its network, and those of its parameters that are left to use."""
    config = replace(model.network.config, **settings)
    network = build_network(config)
    return replace(model, network=network, params={name: model.params[name] for name in network.shapes()})


def variants(model: Model) -> Iterator[tuple[str, Model]]:
    """The model as it is, and after one change each."""
    yield "as trained", model
    yield "position attention removed (α = 0)", closed(model, "position")
    yield "channel attention removed (β = 0)", closed(model, "channel")
    yield "both removed", closed(model, "position", "channel")
    other = "paper" if model.network.config.channel_form == "released" else "released"
    yield f"channel map of the {other} form", changed(model, channel_form=other)
    align = not model.network.config.align_corners
    yield f"align_corners = {str(align).lower()}", changed(model, align_corners=align)
    yield "scales fused by their mean", changed(model, fusion="mean", scale_classifier="none")
    yield "scale 1 alone", changed(model, scales=(1.0,), scale_classifier="none")


def require_measurable(model: Model, dataset: Dataset) -> None:
    """Raise :class:`UsageError` for a network without what is measured, or too few images."""
    config = model.network.config
    if (config.head, config.fusion) != ("dual", "attention") or len(config.scales) < 2 or 1.0 not in config.scales:
        raise UsageError(f"{model.path} has no dual head at several scales, 1 among them, with scale attention.")
    if "car" not in model.classes:
        raise UsageError(f"{model.path} has no class car, of whose sizes the weights are measured.")
    if len(dataset) < LEAST_IMAGES:
        raise UsageError(f"{dataset.name} has {len(dataset)} images; {LEAST_IMAGES} or more are measured.")


def result_of(model: Model, dataset: Dataset) -> EvaluationResult:
    *_, result = evaluate(Predictor.of(model, get_backend("numpy")), dataset)
    assert isinstance(result, EvaluationResult)
    return result


def small_scale_weights(model: Model, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean weight of the smallest scale on each class, and on cars of each range of heights, with their number."""
    ops, car = get_backend("numpy"), model.classes.index("car")
    sums, counts = np.zeros(len(model.classes)), np.zeros(len(model.classes))
    car_sums, car_counts = np.zeros(len(HEIGHTS) - 1), np.zeros(len(HEIGHTS) - 1)
    for index in range(len(dataset)):
        sample = dataset.load(index)
        images = normalise(sample.image)[None]
        _, weights = model.network.predict_with_weights(images, Context(ops, model.params))
        smallest = int(np.argmin(model.network.config.scales))
        on_image, _ = ops.resize_bilinear(weights, sample.label.shape, align_corners=False)
        weight = on_image[0, ..., smallest]
        for number in range(len(model.classes)):
            chosen = sample.label == number
            sums[number] += weight[chosen].sum()
            counts[number] += chosen.sum()
        cars, found = components(sample.label == car)
        for number in range(1, found + 1):
            rows, _ = np.nonzero(cars == number)
            if len(rows) >= LEAST_PIXELS:
                height = (np.ptp(rows) + 1) / len(sample.label)
                size = min(int(np.searchsorted(HEIGHTS, height)) - 1, len(HEIGHTS) - 2)
                car_sums[size] += weight[cars == number].mean()
                car_counts[size] += 1
    return sums / counts, np.stack([car_sums / np.maximum(car_counts, 1), car_counts])


class Sharpness(NamedTuple):
    """Of the maps at scale 1, as means over the queries and the images."""

    largest: float  # weight of a row of the channel map
    own: float  # fraction of the channels whose largest weight is that of themselves
    reach: float  # pixels that a pixel attends to: the exponential of the entropy of its row


def sharpness(model: Model, dataset: Dataset, images: int) -> Sharpness:
    ops, found = get_backend("numpy"), []
    for index in range(images):
        sample = dataset.load(index)
        explained = explain(model, ops, sample.image, sample.name, experiments=False)
        attention = explained.channels[0].attention
        own = attention.argmax(axis=1) == np.arange(len(attention))
        found.append((attention.max(axis=1).mean(), own.mean(), explained.positions[0].reach.mean()))
    return Sharpness(*map(float, np.mean(found, axis=0)))


def loss_ratio(model: Model, dataset: Dataset, batches: int, size: int = BATCH) -> float:
    """How many times as long the backbone's gradient is with DANet's three losses as with one, at one scale."""
    network, ops = model.network, get_backend("numpy")
    lengths = np.zeros(2)
    for batch in range(batches):
        samples = [dataset.load(batch * size + n) for n in range(size)]
        images = np.stack([normalise(each.image) for each in samples])
        labels = np.stack([each.label for each in samples])
        for n, weight in enumerate((0.0, 1.0)):
            ctx = Context(ops, model.params, save_for_backward=True, batch_statistics=True)
            objective = Objective(network, LossWeights(position=weight, channel=weight))
            objective.forward(images, labels, ctx)
            gradients = objective.backward(ctx)
            own = [gradient for name, gradient in gradients.items() if name.startswith("backbone.")]
            lengths[n] += np.sqrt(sum(float((gradient * gradient).sum()) for gradient in own))
    return float(lengths[1] / lengths[0])


def measure(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run or checkpoint with a dual head.")] = DEMO,
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "test",
    sharp_images: Annotated[
        int, typer.Option(min=1, max=LEAST_IMAGES, help="Images for the sharpness of the maps.")
    ] = 20,
) -> None:
    """Print what each attention is worth, where the small scale has weight, and how sharp the maps are."""
    model = open_model(path)
    dataset = open_data_of(model, split=split)
    require_measurable(model, dataset)
    print(f"{len(dataset)} images of {dataset.name}, split {split}\n")
    print("| network | mIoU | " + " | ".join(model.classes) + " |")
    print("| --- " * (2 + len(model.classes)) + "|")
    for name, variant in variants(model):
        result = result_of(variant, dataset)
        ious = (100 * (result.per_class_iou[each] or 0) for each in model.classes)
        print(f"| {name} | {100 * result.miou:.1f} | " + " | ".join(f"{iou:.1f}" for iou in ious) + " |")
    by_class, (by_height, cars) = small_scale_weights(model, dataset)
    print("\n| class | weight of the smaller scale |\n| --- | --- |")
    for each, weight in zip(model.classes, by_class, strict=True):
        print(f"| {each} | {weight:.3f} |")
    print("\n| height of a car | cars | weight of the smaller scale |\n| --- | --- | --- |")
    for low, high, weight, count in zip(HEIGHTS, HEIGHTS[1:], by_height, cars, strict=False):
        print(f"| {100 * low:g} to {100 * high:g} % of the image | {count:.0f} | {weight:.3f} |")
    print("\n| channel form | largest weight of a row | channels that attend to themselves most |")
    print("| --- | --- | --- |")
    for form in ("released", "paper"):
        sharp = sharpness(changed(model, channel_form=form), dataset, sharp_images)
        print(f"| {form} | {sharp.largest:.3f} | {100 * sharp.own:.0f} % |")
    print(f"\nA pixel attends to {sharp.reach:.1f} pixels, the exponential of the entropy of its row, in the mean.")
    trained = changed(model, scales=(1.0,), scale_classifier="none")
    untrained = replace(trained, params=trained.network.initialise(seed=0))
    for when, network in (("at the start", untrained), ("in the end", trained)):
        ratio = loss_ratio(network, dataset, BATCHES)
        print(f"With three losses, the gradient of the backbone is {ratio:.2f} times as long as with one, {when}.")


if __name__ == "__main__":
    run(measure)
