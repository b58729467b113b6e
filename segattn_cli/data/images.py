"""Reading pictures and masks: whatever is wrong with a file ends in one sentence that names it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from segattn_cli.errors import DataError

#: What is tried on a file, whatever its name says; Pillow's JPEG includes the MPO of some cameras.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
#: The endings by which folders are searched for pictures.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
#: Above this a file is taken for a decompression bomb: Pillow's own bound, of which Pillow only warns.
LARGEST = 89_478_485  # pixels
Image.MAX_IMAGE_PIXELS = LARGEST
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Pillow's other answer to a damaged EXIF block stands in `_upright`.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)

_MASK_RULE = "masks hold one class index per pixel, as 8-bit grey or palette PNG (255 = void)"


def read_image(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """Read a picture as it looks on a screen: ``(H, W, 3)`` uint8, red, green, blue.

    The EXIF orientation is applied; 16-bit grey keeps its upper 8 bits; transparency is laid on white; grey, CMYK
    and palette pictures become RGB; of several frames the first counts.

    Args:
        source: a file, or the bytes of one.
        name: what errors call it; the path by default.

    Raises:
        DataError: for a file that is missing, empty, damaged, no picture, or larger than :data:`LARGEST` pixels.

    >>> read_image(b"GIF89a", "standard input")
    Traceback (most recent call last):
    segattn_cli.errors.DataError: standard input is damaged or no picture at all.
    """
    with _opened(source, name) as picture:
        return np.asarray(_as_rgb(_upright(picture)))


def read_label(path: str | Path) -> np.ndarray:
    """Read a mask: ``(H, W)`` uint8 class indices; of a palette PNG the indices, never the colours.

    Raises:
        DataError: like :func:`read_image`, and for masks in colour, in JPEG (which changes values) and with values
            above 255.
    """
    with _opened(path, None) as mask:
        if mask.format in ("JPEG", "MPO"):
            raise DataError(f"{path} is a JPEG, which blurs class indices: {_MASK_RULE}.")
        if mask.mode not in ("L", "P", "1") and not mask.mode.startswith("I"):
            raise DataError(f"{path} is a colour picture (mode {mask.mode}): {_MASK_RULE}.")
        if _is_rescaled(mask):
            raise DataError(f"{path} is grey of another depth than 8 or 16 bits, or inverted: {_MASK_RULE}.")
        label = np.asarray(_upright(mask))
        if label.dtype.itemsize > 1 and (label.min() < 0 or label.max() > 255):
            raise DataError(f"{path} holds the value {label.max()}: {_MASK_RULE}.")
        return label.astype(np.uint8)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture ``(H, W, 3)`` to ``size = (H', W')``, bilinearly, averaging where it shrinks."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask ``(H, W)`` to ``size = (H', W')`` by nearest neighbour: indices cannot be averaged."""
    return np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))


def _is_rescaled(mask: ImageFile.ImageFile) -> bool:
    """Whether Pillow will give other grey values than are stored: 17 for the 1 of 4 bits, which end at 15."""
    stored = mask.tile[0].args  # a raw mode such as "L;4"; with Netpbm's maximum after it: ("L", 20)
    raw_mode, maximum = stored[:2] if isinstance(stored, tuple) else (stored, 255)
    inexact = str(raw_mode).startswith(("L;2", "L;4", "L;I"))
    return inexact or (mask.format == "PPM" and maximum not in (255, 65535))


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as the EXIF block says; where that is damaged, a picture is still a picture, and stays as it is."""
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except SyntaxError:  # Pillow's word for a block that it cannot parse; the pixels were decoded above
        return picture


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed brightness: save it with 8 bits")
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 0xFFFF) >> 8).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


@contextmanager
def _opened(source: str | Path | bytes, name: str | None) -> Iterator[ImageFile.ImageFile]:
    """The picture in ``source``; every error on opening and on decoding it within becomes a :class:`DataError`."""
    name = name or ("the picture" if isinstance(source, bytes) else str(source))
    try:
        if len(source) == 0 if isinstance(source, bytes) else Path(source).stat().st_size == 0:
            raise DataError(f"{name} is empty (0 bytes).")
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as picture:
            yield picture
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder, not a picture.") from None
    except PermissionError:
        raise DataError(f"{name} cannot be read: permission denied.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            f"{name} has more than {LARGEST / 1e6:.0f} million pixels, which may be a decompression bomb: "
            "cut it into tiles."
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is damaged or no picture at all.") from None
    except MemoryError:
        raise DataError(f"{name} does not fit into memory.") from None
    except Exception as error:  # damage makes decoders raise OSError, SyntaxError, ValueError, struct.error …
        raise DataError(f"{name} is damaged or cut short ({error}).") from error
