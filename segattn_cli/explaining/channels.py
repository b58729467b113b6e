"""The map of channel attention, and the effect of each channel on the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends.contract import ChannelForm
from reference.ops import channel_attention
from segattn_cli.explaining.positions import ratio

#: The most positions at which feature maps are sampled, and the most numbers in all of them together.
MOST_POSITIONS = 1600
MOST_NUMBERS = 400_000
#: In a map of changes: the class stays the same.
SAME = 255


@dataclass(frozen=True)
class ChannelView:
    """Channel attention in one image at one scale.

    Feature maps are sampled at every ``step``-th position of the grid along both axes.
    """

    scale: float
    form: ChannelForm  # released or paper
    gate: float  # β
    fraction: float  # ‖β·X·A‖ / ‖A‖: how much the gate adds to the features
    attention: np.ndarray  # (C, C), rows are queries
    order: np.ndarray  # (C,): channels of similar maps side by side
    step: int
    features: np.ndarray  # (h', w', C): A, the input of the attention
    label: np.ndarray  # (h', w') uint8: the class, by the classifier of this scale's head
    without: np.ndarray  # (C, h', w') uint8: the class without channel c, or SAME


def view_channels(
    scale: float, grid: tuple[int, int], form: ChannelForm, gate: float, features: np.ndarray, attended: np.ndarray,
    scores: np.ndarray,
) -> ChannelView:
    """The view of the attention that adds ``gate · attended`` to ``features``, (N, C) each.

    The label is that of ``scores (h, w, K)``, and ``without`` has no changes.
    """
    channels = features.shape[-1]
    step = sampling(grid, channels)
    _, cache = channel_attention(features[None].astype(np.float64), form=form)
    sampled = features.reshape(*grid, channels)[::step, ::step]
    label = scores[::step, ::step].argmax(-1).astype(np.uint8)
    return ChannelView(
        scale, form, gate,
        fraction=ratio(gate * attended, features),
        attention=cache.softmax.y[0], order=similar_order(features), step=step, features=sampled,
        label=label, without=np.full((channels, *label.shape), SAME, np.uint8),
    )


def sampling(grid: tuple[int, int], channels: int) -> int:
    """The step between the positions at which feature maps are sampled.

    >>> sampling((12, 16), 32), sampling((64, 128), 512)
    (1, 4)
    """
    step = 1
    while True:
        positions = -(-grid[0] // step) * -(-grid[1] // step)
        if positions <= MOST_POSITIONS and positions * channels <= MOST_NUMBERS:
            return step
        step += 1


def similar_order(features: np.ndarray) -> np.ndarray:
    """An order of the channels of ``features (N, C)`` in which neighbours are alike: (C,) indices.

    Average linkage by the cosine between feature maps, with the leaves turned so that neighbours are as close as
    they can be (Bar-Joseph et al., 2001). Channels that are 0 everywhere come last.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    size = np.linalg.norm(features, axis=0)
    alive, dead = np.flatnonzero(size > 0), np.flatnonzero(size == 0)
    if len(alive) < 3:
        return np.concatenate([alive, dead])
    unit = (features[:, alive] / size[alive]).astype(np.float64)
    distance = np.clip(1 - unit.T @ unit, 0, None)
    condensed = distance[np.triu_indices(len(alive), 1)]
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return np.concatenate([alive[leaves_list(tree)], dead])


def without_each(
    attended: np.ndarray, step: int, weight: np.ndarray, bias: np.ndarray, position: np.ndarray | None,
    classifier: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The prediction at every ``step``-th position, with all channels and without each of them.

    A channel is removed after the attention: ``E_c = 0`` before the 3×3 convolution that refines the branch. That
    convolution is linear, so the contribution of a channel is subtracted instead of convolving again.

    Args:
        attended: E, (h, w, C).
        weight, bias: of the refining convolution with its norm folded in, (3, 3, C, C') and (C',).
        position: what the position branch adds to the features, (h, w, C'); None without that branch.
        classifier: weight (C', K) and bias (K,).

    Returns:
        The labels (h', w') uint8, and (C, h', w') uint8: the new class, or :data:`SAME`.
    """
    height, width, channels = attended.shape
    padded = np.pad(attended, ((1, 1), (1, 1), (0, 0)))
    taps = [padded[y : y + height : step, x : x + width : step] for y in range(3) for x in range(3)]
    shape = taps[0].shape[:2]
    patches = np.stack(taps, 2).reshape(-1, 9, channels)  # (P, 9, C)
    kernels = weight.reshape(9, channels, -1)  # (9, C, C')
    before_relu = patches.reshape(len(patches), -1) @ kernels.reshape(9 * channels, -1) + bias  # (P, C')
    added = 0 if position is None else position[::step, ::step].reshape(len(patches), -1)

    def labels(before: np.ndarray) -> np.ndarray:
        return ((np.maximum(before, 0) + added) @ classifier[0] + classifier[1]).argmax(-1).astype(np.uint8)

    label = labels(before_relu)
    without = np.full((channels, len(patches)), SAME, np.uint8)
    for channel in range(channels):
        ablated = labels(before_relu - patches[:, :, channel] @ kernels[:, channel])
        without[channel, ablated != label] = ablated[ablated != label]
    return label.reshape(shape), without.reshape(channels, *shape)
