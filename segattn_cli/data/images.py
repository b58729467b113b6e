"""Images are read here as a screen shows them; what is wrong with a file ends in one sentence that names it."""

from __future__ import annotations

import ctypes
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from segattn_cli.errors import DataError

#: What is tried on a file, whatever its name says; Pillow's JPEG includes the MPO of some cameras.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
#: The endings, in lower case, by which folders are searched for images.
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm",
    ".pbm", ".pnm",
)  # fmt: skip
#: Above this, an image is refused as a decompression bomb where no other bound is given: Pillow's own bound.
LARGEST = 89_478_485  # pixels
Image.MAX_IMAGE_PIXELS = None  # `opened` has the bound
#: Pixels of the longest side: memory is taken for each row, however short.
LONGEST_SIDE = 1_000_000
#: Bytes of the longest image that is read from a pipe, which may have no end.
LONGEST_STREAM = 1 << 30
# What is wrong with a file becomes a sentence below, or does no harm: Pillow warns and logs, libtiff prints.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _silence_libtiff() -> None:
    """Let Pillow's libtiff, which is found among what Pillow was linked with, print neither errors nor warnings."""
    with suppress(OSError, AttributeError):  # Pillow without it, or Windows, where it cannot be found so
        library = ctypes.CDLL(Image.core.__file__)
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


_silence_libtiff()

_STRIP = 256  # rows
_ORIENTATION, _EXTRA_SAMPLES, _SAMPLES_PER_PIXEL = 274, 338, 277
#: The markers of JPEG's frames (SOF0 to SOF15, of which three are something else); the later ones are arithmetic.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_FIRST_ARITHMETIC_FRAME = 0xC9
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: How grey of more than 8 bits becomes 8 bits: by the depth of the file, or by its smallest and largest value.
Intensity = Literal["depth", "range"]


class Decoded(NamedTuple):
    """An image, and what a user should know of how it was read."""

    image: np.ndarray  # (H, W, 3) uint8, red, green, blue
    stored: tuple[int, int]  # (H, W) before it was turned
    notes: tuple[str, ...]  # "turned by its EXIF orientation (6)", "has 4 bands; …": no file names, no full stops


class Header(NamedTuple):
    """What the beginning of an image's file says."""

    size: tuple[int, int]  # (H, W) as a screen shows it
    stored: tuple[int, int]  # (H, W) before it is turned
    orientation: int  # of EXIF or TIFF, 1 to 8; 1 is upright


def read_header(source: Path | bytes) -> Header:
    """Read the size and the orientation of an image without its pixels; raises :class:`DataError`."""
    with opened(source) as file:
        stored, orientation = stored_size(file), orientation_of(file)
        return Header(stored[::-1] if orientation >= 5 else stored, stored, orientation)


def read_image(
    source: str | Path | bytes, name: str | None = None, *, intensity: Intensity = "depth",
    max_pixels: int | None = None,
) -> np.ndarray:
    """Read an image as a screen shows it: ``(H, W, 3)`` uint8, red, green, blue.

    See :func:`decode_image`, of which this is the image alone.

    >>> read_image(b"GIF89a", "standard input")
    Traceback (most recent call last):
    segattn_cli.errors.DataError: standard input is damaged or no image at all.
    """
    return decode_image(source, name, intensity=intensity, max_pixels=max_pixels).image


def decode_image(
    source: str | Path | bytes, name: str | None = None, *, intensity: Intensity = "depth",
    max_pixels: int | None = None,
) -> Decoded:
    """Read an image as a screen shows it, with notes on what is not as it may seem.

    The orientation of a real EXIF block (JPEG, WebP, PNG's eXIf) or TIFF tag is applied; one in XMP alone is not.
    Transparency is laid on white; grey, CMYK and palette images become RGB; of several frames the first is taken,
    and of more than three bands without a declared alpha channel the first three.

    Args:
        source: a file, or the bytes of one.
        name: what errors call it; the path by default.
        intensity: ``"depth"`` maps grey of 16 bits, 0 to 65535, to 0 to 255; ``"range"`` maps the smallest value of
            the file to 0 and the largest to 255, which floating-point and signed values need.
        max_pixels: refuse images of more pixels; :data:`LARGEST` by default.

    Raises:
        DataError: for a file that is missing, empty, damaged, no image, too large, or of values without an agreed
            brightness.
    """
    with opened(source, name, max_pixels) as file:
        stored = stored_size(file)
        orientation = orientation_of(file)
        notes = [f"turned by its EXIF orientation ({orientation})"] if orientation in _TURNS else []
        file.load()
        image: Image.Image = file
        if orientation in _TURNS and file.format != "TIFF":  # Pillow turns TIFF itself
            image = image.transpose(_TURNS[orientation])
        return Decoded(_pixels_of(_as_rgb(image, file, intensity, notes)), stored, tuple(notes))


def image_png(image: Image.Image) -> bytes:
    """``image`` as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image ``(H, W, 3)`` to ``size = (H', W')``, bilinearly, averaging where it shrinks."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask ``(H, W)`` to ``size = (H', W')`` by nearest neighbour: indices cannot be averaged."""
    return np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))


def stored_size(file: ImageFile.ImageFile) -> tuple[int, int]:
    """The (H, W) of an opened image before it is turned."""
    tags = getattr(file, "tag_v2", None)
    return (tags[257], tags[256]) if tags is not None else (file.height, file.width)


def orientation_of(file: ImageFile.ImageFile) -> int:
    """The orientation that a screen obeys: of the EXIF block or the TIFF itself; 1, upright, where there is none.

    Pillow's ``getexif`` would also take it from XMP and from "Raw profile type exif", which browsers ignore.
    """
    tags = getattr(file, "tag_v2", None)
    if tags is not None:
        return tags.get(_ORIENTATION, 1)
    exif = Image.Exif()
    try:
        exif.load(file.info.get("exif", b""))
        return exif.get(_ORIENTATION, 1)
    except Exception:  # a damaged block raises SyntaxError, struct.error, …: the image is still an image
        return 1


def _as_rgb(image: Image.Image, file: ImageFile.ImageFile, intensity: Intensity, notes: list[str]) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep_grey(np.asarray(image), intensity, notes)
    tags = getattr(file, "tag_v2", {})
    bands, extra = tags.get(_SAMPLES_PER_PIXEL, 1), tags.get(_EXTRA_SAMPLES, ())
    if bands > 3 and image.mode in ("RGB", "RGBA") and not set(extra) & {1, 2}:
        notes.append(f"has {bands} bands, of which the first three are taken for red, green and blue")
        return image.convert("RGB")
    if image.has_transparency_data:
        if tags:
            notes.append("has an alpha channel, which is laid on white")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _pixels_of(image: Image.Image) -> np.ndarray:
    """The pixels of an RGB image, ``(H, W, 3)`` uint8, in strips: NumPy's own way copies them three times."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        pixels[top : top + _STRIP] = np.asarray(strip)
    return pixels


def _from_deep_grey(values: np.ndarray, intensity: Intensity, notes: list[str]) -> Image.Image:
    """Grey of more than 8 bits, signed or floating-point ``(H, W)``, as an image."""
    smallest, largest = values.min(), values.max()
    if intensity == "range":
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError("no value in it is finite")
        smallest, largest = float(values[finite].min()), float(values[finite].max())
        scaled = (np.where(finite, values, smallest) - smallest) * (255 / max(largest - smallest, 1e-30))
        return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")
    if np.issubdtype(values.dtype, np.floating) or smallest < 0 or largest > 0xFFFF:
        kind = "floating-point numbers" if np.issubdtype(values.dtype, np.floating) else "values"
        raise _Unusable(
            f"holds {kind} from {smallest:g} to {largest:g}, which have no agreed brightness: scale them by the "
            "file's own range with --intensity range (data.intensity), or save it with 8 bits"
        )
    bytes_ = (values >> 8).astype(np.uint8)
    if largest <= 0x0FFF:
        levels = len(np.unique(bytes_))
        notes.append(
            f"holds 16-bit values up to {largest}, so {levels} grey {'level is' if levels == 1 else 'levels are'} "
            "left of 256: --intensity range (data.intensity) scales by the file's own range"
        )
    return Image.fromarray(bytes_).convert("RGB")


class _Unusable(Exception):
    """Carries what is wrong with an image to where its name is known."""


@contextmanager
def opened(
    source: str | Path | bytes, name: str | None = None, max_pixels: int | None = None
) -> Iterator[ImageFile.ImageFile]:
    """The image in ``source``; every error on opening and on decoding it within becomes a :class:`DataError`."""
    allowed = LARGEST if max_pixels is None else max_pixels
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    try:
        with _stream(source) as stream, _decoder(stream) as image:
            if max(image.size) > LONGEST_SIDE:
                raise _Unusable(
                    f"is {image.width}×{image.height} (width×height), longer than the {LONGEST_SIDE:,} pixels "
                    "a side that are read: cut it into tiles"
                )
            if image.width * image.height > allowed:
                raise DataError(
                    f"{name} has {image.width * image.height / 1e6:.0f} million pixels, more than the "
                    f"{allowed / 1e6:.0f} million that are allowed, and may be a decompression bomb: allow more "
                    "with --max-pixels, or cut it into tiles."
                )
            _require_content(image, stream)
            yield image
    except DataError:
        raise
    except _Unusable as error:
        raise DataError(f"{name} {error}.") from None
    except FileNotFoundError:
        raise DataError(f"{name} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder, not an image.") from None
    except PermissionError:
        raise DataError(f"{name} cannot be read: permission denied.") from None
    except UnidentifiedImageError:
        raise DataError(f"{name} {_unidentified(source)}.") from None
    except MemoryError:
        raise DataError(f"{name} does not fit into memory.") from None
    except Exception as error:  # damage makes decoders raise OSError, SyntaxError, ValueError, struct.error …
        raise DataError(f"{name} is damaged or cut short ({error}).") from error


@contextmanager
def _stream(source: str | Path | bytes) -> Iterator[BinaryIO]:
    """A stream of the bytes of ``source``, which are read whole where they come from a pipe.

    Pillow is not given the path: it would map the file into memory, and scrambles turned TIFFs there.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    with open(source, "rb") as file:
        yield file if file.seekable() else io.BytesIO(read_stream(file, str(source)))


def read_stream(stream: BinaryIO, name: str) -> bytes:
    """All bytes of a pipe, called ``name``; raises :class:`DataError` beyond :data:`LONGEST_STREAM`."""
    data = bytearray()
    while chunk := stream.read(1 << 20):
        data += chunk
        if len(data) > LONGEST_STREAM:
            raise DataError(f"{name} does not end within {LONGEST_STREAM:,} bytes: give the image as a file.")
    return bytes(data)


def _decoder(stream: BinaryIO) -> ImageFile.ImageFile:
    if not stream.read(1):
        raise _Unusable("is empty (0 bytes)")
    stream.seek(0)
    return Image.open(stream, formats=FORMATS)


def _require_content(image: ImageFile.ImageFile, stream: BinaryIO) -> None:
    """Refuse a PNG or a JPEG that is too short for its size: its decoder would take memory and time for all of it.

    PNG: a pixel has at least one bit, a row a byte more, and deflate packs at most 1032 bytes into one.
    JPEG with Huffman's codes: each 8×8 block has a code of at least one bit. Other formats have no such bound: 40
    bytes are a whole WebP of one colour, of any size.
    """
    if image.format == "PNG":
        least = image.height * (1 + -(-image.width // 8)) / 1032
    elif image.format in ("JPEG", "MPO") and not _is_arithmetic(stream):
        least = -(-image.height // 8) * -(-image.width // 8) / 8
    else:
        return
    length = _length(stream)
    if least > length:
        raise _Unusable(f"claims {image.width}×{image.height} pixels, more than its {length:,} bytes can hold")


def _length(stream: BinaryIO) -> int:
    """The length of ``stream`` in bytes, whose position stays."""
    position = stream.tell()
    length = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return length


def _is_arithmetic(stream: BinaryIO) -> bool:
    """Whether the frame of a JPEG is one of those with arithmetic codes, which may take less than a bit."""
    position = stream.tell()
    stream.seek(2)
    kind = 0
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if head[1] in _JPEG_FRAMES:
            kind = head[1]
            break
        stream.seek(int.from_bytes(head[2:]) - 2, io.SEEK_CUR)
    stream.seek(position)
    return kind >= _FIRST_ARITHMETIC_FRAME


def _unidentified(source: str | Path | bytes) -> str:
    """What is wrong with a file that no decoder knows. A pipe is not opened again, for that would wait for ever."""
    if isinstance(source, bytes) or Path(source).is_file():
        bands = _bands_of_tiff(source)
        if bands > 4:
            return f"has {bands} bands: save three of them, red, green and blue"
        if _is_lfs_pointer(source):
            return "is a pointer of Git LFS: get the file itself by `git lfs pull`"
    return "is damaged or no image at all"


def _is_lfs_pointer(source: str | Path | bytes) -> bool:
    with _stream(source) as stream:
        return stream.read(40).startswith(b"version https://git-lfs.github.com")


def _bands_of_tiff(source: str | Path | bytes) -> int:
    """How many samples a pixel of a TIFF has that Pillow cannot decode; 0 where it is no TIFF."""
    from PIL import TiffImagePlugin

    try:
        with _stream(source) as stream:
            directory = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
            stream.seek(directory.next)
            directory.load(stream)
        return int(directory.get(_SAMPLES_PER_PIXEL, 0))
    except Exception:  # no TIFF, or a damaged one
        return 0
