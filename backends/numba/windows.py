"""Copies of parts of padded images, on which loops need not check borders."""

from __future__ import annotations

from backends.numba.compile import inner


@inner
def copy_window(image, top, left, out):
    """Copy ``image (H, W, C)`` from pixel ``(top, left)`` on to ``out (h, w, C)``, with 0 outside of the image."""
    height, width, channels = image.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row, column = top + i, left + j
            if 0 <= row < height and 0 <= column < width:
                for c in range(channels):
                    out[i, j, c] = image[row, column, c]
            else:
                for c in range(channels):
                    out[i, j, c] = 0


@inner
def carve(memory, first, shape):
    """The part of ``memory`` from ``first`` on as an array of ``shape``, and the end of it."""
    size = 1
    for length in shape:
        size *= length
    return memory[first : first + size].reshape(shape), first + size
