"""Masks are read here: the values that stand in the file, or an error that says why not.

Pillow decodes for a screen: it turns a TIFF by its orientation tag, stretches grey of 1, 2 and 4 bits to 0–255,
inverts grey whose 0 is white, and takes signed bytes for unsigned ones. All of this is undone here, and whatever
could have changed a value (lossy compression, more than 8 bits a colour, several pages) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from segattn_cli.data.images import opened, orientation_of
from segattn_cli.errors import DataError

RULE = "masks hold one class index per pixel, as 8-bit grey or palette PNG (255 = ignored)"

#: Pillow's names of how bytes stand in a file, for colours of 8 bits.
_COLOUR_LAYOUTS = ("RGB", "BGR", "BGRX", "RGBA", "BGRA", "ABGR", "BGXR", "R")
#: TIFF's compressions that keep every value: none, CCITT, LZW, Deflate, PackBits, LZMA, Zstandard.
_LOSSLESS = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
_BITS_PER_SAMPLE, _COMPRESSION, _SAMPLES_PER_PIXEL, _ORIENTATION, _SAMPLE_FORMAT = 258, 259, 277, 274, 339
_SIGNED = 2

#: The value of pixels that belong to no class: neither trained on nor counted in metrics.
IGNORE_LABEL = 255

Colour = tuple[int, int, int]


class DecodedMask(NamedTuple):
    """The values of a mask, and what a user should know of how they were read."""

    values: np.ndarray  # (H, W) uint8, as they stand in the file
    orientation: int  # its own tag, 1 to 8; never applied
    notes: tuple[str, ...]  # "the mask is grey saved as RGB": no file names, no full stops
    palette: bytes | None = None  # red, green, blue of each index, of a palette image


def read_mask(path: str | Path, colours: Mapping[Colour, int] | None = None) -> np.ndarray:
    """Read a mask: ``(H, W)`` uint8, the values as they stand in the file.

    See :func:`decode_mask`, of which these are the values alone.
    """
    return decode_mask(path, colours).values


def decode_mask(path: str | Path, colours: Mapping[Colour, int] | None = None) -> DecodedMask:
    """Read a mask as its values stand in the file, with notes on what is not as it may seem.

    Palette images give the indices of their palette, never its colours. Grey saved as RGB (three equal channels) is
    read as grey. An orientation tag changes nothing: it belongs to the photograph, and editors copy it along.

    Args:
        path: PNG, TIFF, BMP, GIF, PNM or lossless WebP.
        colours: the value of each colour (red, green, blue), for masks that were saved in colour. Grey saved as
            RGB is read by them where they have all of its colours.

    Raises:
        DataError: for a file that is missing or damaged, lossy, in colours without a value, with values below 0 or
            above 255, of floating-point numbers, with several pages or bands, or with an alpha channel in use.
    """
    notes = []
    with opened(path, None) as mask:
        _refuse_changed_values(path, mask)
        orientation = orientation_of(mask)
        values = _stored_values(path, mask)  # (H, W) or (H, W, 3)
        if _has_alpha(mask):
            notes.append("the mask has an alpha channel, which is opaque everywhere and left out")
        palette = bytes(mask.getpalette() or []) if mask.mode == "P" else None
    if orientation > 1:
        notes.append(f"the mask has an orientation tag ({orientation}), which is not applied")
    if values.ndim == 3:
        values = _values_of_colours(path, values, colours or {}, notes)
    smallest, largest = int(values.min()), int(values.max())
    if smallest < 0 or largest > 255:
        raise DataError(f"{path} holds the value {smallest if smallest < 0 else largest}: {RULE}.")
    return DecodedMask(values.astype(np.uint8), orientation, tuple(notes), palette)


def _refuse_changed_values(path: str | Path, mask: ImageFile.ImageFile) -> None:
    """Raise :class:`DataError` for a file whose format does not keep every value."""
    if mask.format in ("JPEG", "MPO"):
        raise DataError(f"{path} is a JPEG, which blurs class indices: {RULE}.")
    if mask.format == "WEBP" and _is_lossy_webp(path):
        raise DataError(f"{path} is a lossy WebP, which blurs class indices: {RULE}.")
    if mask.format == "TIFF" and mask.tag_v2.get(_COMPRESSION, 1) not in _LOSSLESS:  # type: ignore[attr-defined]
        raise DataError(f"{path} is a TIFF with lossy compression, which blurs class indices: {RULE}.")
    if _has_several_pages(mask):
        raise DataError(f"{path} has several pages or frames: save the one with the class indices by itself.")
    if mask.mode == "F":
        raise DataError(f"{path} holds floating-point numbers: {RULE}.")


def _has_several_pages(mask: ImageFile.ImageFile) -> bool:
    """Whether there is more than one image in the file; asking Pillow how many would undo its turning of a TIFF."""
    if mask.format == "TIFF":
        return bool(mask.tag_v2.next)  # type: ignore[attr-defined]
    return getattr(mask, "n_frames", 1) > 1


def _stored_values(path: str | Path, mask: ImageFile.ImageFile) -> np.ndarray:
    """The values of ``mask`` as they stand in the file: ``(H, W)`` integers, or ``(H, W, 3)`` for colours."""
    layout, maximum = _layout(mask)
    kind, _, detail = layout.partition(";")
    tags = getattr(mask, "tag_v2", {})
    bands = tags.get(_SAMPLES_PER_PIXEL, 1)
    extra = "X" in kind and mask.format == "TIFF"
    if extra or bands not in (1, 2, 3, 4):
        raise DataError(f"{path} has {bands} bands: {RULE}.")
    turned = tags.get(_ORIENTATION, 1)
    mask.load()
    image = _without_alpha(path, mask)
    if image.mode == "RGB":
        if kind not in _COLOUR_LAYOUTS or detail:
            raise DataError(f"{path} is in colour with more or fewer than 8 bits a channel: {RULE}.")
        values = np.asarray(image)  # (H, W, 3)
    elif image.mode in ("L", "P", "1") or image.mode.startswith("I"):
        values = np.asarray(image, np.uint8 if image.mode == "1" else None)  # (H, W)
        if kind != "P":
            values = _unscaled(values, kind, detail, maximum)
        if tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED and values.dtype == np.uint8:
            values = values.view(np.int8)
    else:
        raise DataError(f"{path} is in colour ({image.mode}): {RULE}.")
    return _as_stored(values, turned)


def _layout(mask: ImageFile.ImageFile) -> tuple[str, int | None]:
    """Pillow's name of how bytes stand in the file, such as ``L;4``, and the largest value that a PNM may hold."""
    arguments = mask.tile[0].args if mask.tile else mask.mode
    if not isinstance(arguments, tuple):
        return str(arguments or mask.mode), None
    maximum = arguments[1] if mask.format == "PPM" and len(arguments) > 1 else None
    return str(arguments[0]), maximum


def _without_alpha(path: str | Path, mask: Image.Image) -> Image.Image:
    """``mask`` without its alpha channel, which must be opaque everywhere; a palette's transparency is ignored."""
    if not _has_alpha(mask):
        return mask
    if mask.getchannel(mask.getbands()[-1]).getextrema() != (255, 255):
        raise DataError(f"{path} has an alpha channel that is not opaque everywhere: save it without, as {RULE}.")
    return mask.getchannel(0) if mask.mode != "RGBA" else mask.convert("RGB")


def _has_alpha(mask: Image.Image) -> bool:
    return mask.mode in ("LA", "PA", "RGBA", "La", "RGBa")


def _unscaled(values: np.ndarray, kind: str, detail: str, maximum: int | None) -> np.ndarray:
    """Undo what Pillow does to grey of few bits, to inverted grey, and to a PNM whose largest value is its own.

    >>> _unscaled(np.array([0, 17, 255], np.uint8), "L", "4", None)
    array([ 0,  1, 15], dtype=uint8)
    >>> _unscaled(np.array([255, 13], np.uint8), "L", "", 20)
    array([20,  1], dtype=uint8)
    """
    if maximum is not None:
        full = 255 if values.dtype == np.uint8 else 65535
        return np.rint(values.astype(np.float64) * (maximum / full)).astype(values.dtype)
    depth = re.match(r"\d+", detail)
    bits = 1 if kind == "1" else int(depth[0]) if depth else 8
    if 1 < bits < 8:
        values = values // (255 // (2**bits - 1))
    inverted = "I" in detail and bits <= 8
    return 2**bits - 1 - values if inverted else values


def _as_stored(values: np.ndarray, orientation: int) -> np.ndarray:
    """``values`` (H', W', …) turned back to how they stand in a TIFF that Pillow turned by ``orientation``."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 6, 7) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 7, 8) else 1)
    return values[rows, columns]


def _values_of_colours(
    path: str | Path, pixels: np.ndarray, colours: Mapping[Colour, int], notes: list[str]
) -> np.ndarray:
    """The value of each pixel ``(H, W)`` uint8 of a mask in colour ``(H, W, 3)``."""
    codes = np.zeros(pixels.shape[:2], np.uint32)  # (H, W)
    for channel in range(3):
        codes <<= 8
        codes |= pixels[..., channel]
    values = np.zeros(1 << 24, np.uint8)  # of each code; zeros take no memory before they are touched
    unknown = np.zeros(1 << 24, bool)
    unknown[codes] = True
    for (r, g, b), value in colours.items():
        values[r << 16 | g << 8 | b], unknown[r << 16 | g << 8 | b] = value, False
    if not unknown.any():
        return values[codes]
    if (pixels == pixels[..., :1]).all():
        notes.append("the mask is grey saved as RGB, and read as grey")
        return pixels[..., 0]
    if not colours:
        raise DataError(
            f"{path} is in colour: {RULE}. If you have a list of the colours, save it in the folder of the data "
            "set as classes.txt (name r g b) or labelmap.txt."
        )
    first, count = int(unknown.argmax()), int(unknown.sum())
    others = f", nor {count - 1} others" if count > 1 else ""
    raise DataError(
        f"{path} is in colour and has {int((codes == first).sum())} pixels of {first >> 16}, {first >> 8 & 255}, "
        f"{first & 255}, a colour that no class has{others}: add it to the list of classes."
    )


def _is_lossy_webp(path: str | Path) -> bool:
    """Whether a WebP holds a lossy frame: chunks are named by four bytes and padded to even lengths."""
    data = Path(path).read_bytes()
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] == b"VP8 ":
            return True
        at += 8 + (length := int.from_bytes(data[at + 4 : at + 8], "little")) + length % 2
    return False
