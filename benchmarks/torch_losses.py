"""The terms of segattn's losses in plain PyTorch, whose gradients autograd computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE_LABEL = 255


def map_loss(logits: Tensor, labels: Tensor, terms: Mapping[str, Any], class_weights: Tensor | None) -> Tensor:
    """The weighted sum of the terms for ``logits (B, K, H, W)`` and ``labels (B, H, W)``.

    ``terms`` has the keys of segattn's ``[loss]``.
    """
    total = logits.new_zeros(())
    if terms["cross_entropy"]:
        hard = labels
        if terms["hard_pixel_threshold"] is not None:
            hard = hard_pixels(logits, labels, terms["hard_pixel_threshold"], terms["hard_pixel_fraction"])
        cross_entropy = F.cross_entropy(logits, hard, class_weights, ignore_index=IGNORE_LABEL)
        total = total + terms["cross_entropy"] * cross_entropy
    if terms["focal"]:
        total = total + terms["focal"] * focal(logits, labels, class_weights, terms["focal_gamma"])
    labelled = labels != IGNORE_LABEL
    probability, target = logits.softmax(1).movedim(1, -1)[labelled], labels[labelled]  # (n, K), (n,)
    if terms["dice"]:
        total = total + terms["dice"] * dice(probability, target)
    if terms["lovasz"]:
        total = total + terms["lovasz"] * lovasz(probability, target)
    return total


def hard_pixels(logits: Tensor, labels: Tensor, threshold: float, fraction: float) -> Tensor:
    """The labels, with those of easy pixels ignored.

    >>> logits = torch.log(torch.tensor([[0.9, 0.6, 0.2], [0.1, 0.4, 0.8]])).reshape(1, 2, 1, 3)
    >>> hard_pixels(logits, torch.tensor([[[0, 0, 0]]]), 0.7, 0.0)
    tensor([[[255,   0,   0]]])
    """
    losses = F.cross_entropy(logits.detach(), labels, ignore_index=IGNORE_LABEL, reduction="none")
    labelled = losses[labels != IGNORE_LABEL]
    kept = max(1, math.ceil(fraction * len(labelled)))
    cut = min(-math.log(threshold) if threshold else math.inf, labelled.topk(kept).values[-1].item())
    return labels.masked_fill(losses < cut, IGNORE_LABEL)


def focal(logits: Tensor, labels: Tensor, class_weights: Tensor | None, gamma: float) -> Tensor:
    """The focal loss, with the mean by class weights that the cross-entropy has.

    >>> logits = torch.log(torch.tensor([[1.0, 3.0]])).reshape(1, 2, 1, 1)
    >>> print(focal(logits, torch.tensor([[[1]]]), None, 2.0), round(-((1 / 4) ** 2) * math.log(3 / 4), 4))
    tensor(0.0180) 0.018
    """
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="none")
    right = torch.exp(-loss)
    labelled = labels != IGNORE_LABEL
    weights = labelled.to(logits.dtype)
    if class_weights is not None:
        weights = weights * class_weights[labels.where(labelled, 0)]
    return (weights * (1 - right) ** gamma * loss).sum() / weights.sum()


def dice(probability: Tensor, target: Tensor) -> Tensor:
    """The Dice loss over the classes that occur, of ``probability (n, K)`` and ``target (n,)``.

    >>> dice(torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([1, 0]))
    tensor(0.2053)
    """
    losses = []
    for c in target.unique():
        truth, p = (target == c).to(probability.dtype), probability[:, c]
        losses.append(1 - 2 * (p * truth).sum() / ((p**2).sum() + truth.sum()))
    return torch.stack(losses).mean()


def lovasz(probability: Tensor, target: Tensor) -> Tensor:
    """The Lovász-softmax loss over the classes that occur, of ``probability (n, K)`` and ``target (n,)``.

    >>> certain = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> lovasz(certain, torch.tensor([0, 1, 1, 1]))  # one minus the mIoU
    tensor(0.4167)
    """
    losses = []
    for c in target.unique():
        truth = (target == c).to(probability.dtype)
        errors, order = (truth - probability[:, c]).abs().sort(descending=True, stable=True)
        truth = truth[order]
        jaccard = 1 - (truth.sum() - truth.cumsum(0)) / (truth.sum() + (1 - truth).cumsum(0))
        growth = jaccard.diff(prepend=jaccard.new_zeros(1))
        losses.append((errors * growth).sum())
    return torch.stack(losses).mean()
