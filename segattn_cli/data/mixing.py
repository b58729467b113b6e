"""A training image with parts of another one: which parts, and pasting them."""

from __future__ import annotations

import numpy as np

from segattn_cli.data.dataset import IGNORE_LABEL


def paste(
    image: np.ndarray, label: np.ndarray, other_image: np.ndarray, other_label: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``image`` ``(H, W, 3)`` and ``label`` ``(H, W)``, with those of the other where ``part`` ``(H, W)`` is true.

    Image and label are exchanged together (Yun et al., equation 1, with labels in place of the fraction λ).
    """
    return np.where(part[..., None], other_image, image), np.where(part, other_label, label)


def cutmix_part(other_label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A box of CutMix (Yun et al., ICCV 2019, equation 2): boolean, of the shape ``(H, W)`` of ``other_label``.

    ``λ ~ U(0, 1)``, the middle ``(r_x, r_y) ~ U([0, W] × [0, H])``, and the sides ``W·√(1−λ)`` and ``H·√(1−λ)``.
    What lies outside the image is cut off.

    >>> part = cutmix_part(np.zeros((6, 8), np.uint8), np.random.default_rng(1))
    >>> part.shape, int(part.sum())
    ((6, 8), 9)
    """
    height, width = other_label.shape
    side = np.sqrt(1 - rng.random())
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    part = np.zeros((height, width), bool)
    top, bottom = (max(0, round(y + sign * side * height / 2)) for sign in (-1, 1))
    left, right = (max(0, round(x + sign * side * width / 2)) for sign in (-1, 1))
    part[top:bottom, left:right] = True
    return part


def classmix_part(other_label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pixels of half of the classes in ``other_label`` ``(H, W)``, rounded up: boolean, of the same shape.

    ClassMix (Olsson et al., WACV 2021, section 3.1), which takes the classes that a network predicts for an image
    without labels; here they are the labels themselves. Ignored pixels are not pasted.

    >>> classmix_part(np.array([[0, 0, 255], [1, 2, 2]], np.uint8), np.random.default_rng(0)).astype(int)
    array([[0, 0, 0],
           [1, 1, 1]])
    """
    classes = np.unique(other_label[other_label != IGNORE_LABEL])
    chosen = rng.choice(classes, (classes.size + 1) // 2, replace=False) if classes.size else classes
    return np.isin(other_label, chosen)
