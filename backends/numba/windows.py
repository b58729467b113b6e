"""Parts of padded images, copied to where loops need no more care of the borders."""

from __future__ import annotations

from backends.numba.compile import inner


@inner
def copy_window(image, top, left, out):
    """Copy what ``image (H, W, C)`` shows from pixel ``(top, left)`` on to ``out (h, w, C)``; 0 outside of it."""
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
    """The part of a row of ``memory`` from ``first`` on as an array of ``shape``, and where it ends."""
    size = 1
    for length in shape:
        size *= length
    return memory[first : first + size].reshape(shape), first + size
