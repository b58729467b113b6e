"""Masks read as the values that stand in the file, against files written here byte by byte and by tifffile."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.masks import decode_mask, read_mask
from segattn_cli.errors import DataError

HEIGHT, WIDTH = 5, 11  # rows of odd length show wrong padding


def values(bits: int, seed: int = 0) -> np.ndarray:
    """Random values of so many bits, with the smallest and the largest among them: (H, W)."""
    array = np.random.default_rng(seed).integers(0, 2**bits, (HEIGHT, WIDTH))
    array[0, :2] = 0, 2**bits - 1
    return array


def packed(array: np.ndarray, bits: int) -> list[bytes]:
    """Each row of ``array`` with ``bits`` a value, the first value in the highest bits."""
    rows = []
    for row in array:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


def png(path: Path, array: np.ndarray, bits: int, *, palette: bool = False, chunks: bytes = b"") -> None:
    """A PNG of grey or palette indices, written by the specification alone."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 3 if palette else 0, 0, 0, 0)
    colours = chunk(b"PLTE", bytes(range(256)) * 3) if palette and bits == 8 else b""
    if palette and bits < 8:
        colours = chunk(b"PLTE", bytes(range(3 * 2**bits)))
    pixels = zlib.compress(b"".join(b"\0" + row for row in packed(array, bits)))
    body = chunk(b"IHDR", header) + chunks + colours + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bmp(path: Path, array: np.ndarray, bits: int, colours: list[tuple[int, int, int]]) -> None:
    """A BMP of palette indices, its rows from the lowest up."""
    rows = [row + bytes(-len(row) % 4) for row in packed(array, bits)]
    table = b"".join(bytes((blue, green, red, 0)) for red, green, blue in colours)
    offset = 14 + 40 + len(table)
    body = b"".join(reversed(rows))
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, 0, len(body), 0, 0, len(colours), 0)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + info + table + body)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("palette", [False, True])
def test_png_of_every_depth(tmp_path: Path, bits: int, palette: bool) -> None:
    if bits == 16 and palette:
        bits = 8
    array = values(min(bits, 8))
    png(tmp_path / "mask.png", array, bits, palette=palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), array)


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sBIT", b"\2"), chunk(b"tRNS", b"\0\1"),
        chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
    ],
    ids=["gamma", "significant bits", "transparent value", "orientation"],
)  # fmt: skip
def test_chunks_that_change_what_a_screen_shows_change_no_value(tmp_path: Path, chunks: bytes) -> None:
    png(tmp_path / "mask.png", values(8), 8, chunks=chunks)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values(8))


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize(
    "colour",
    [lambda i: (i, i, i), lambda i: (255 - i, 0, i), lambda i: (255 * (i % 2),) * 3, lambda i: (255 - i,) * 3],
    ids=["grey ramp", "colours", "black and white", "falling ramp"],
)
def test_bmp_gives_the_indices_of_its_palette(tmp_path: Path, bits: int, colour: Callable[[int], Any]) -> None:
    array, colours = values(bits), [colour(index) for index in range(2**bits)]
    bmp(tmp_path / "mask.bmp", array, bits, colours)
    if bits == 4 and colours[1] == (1, 1, 1):
        with pytest.raises(DataError, match="damaged"):  # Pillow cannot decode 4 bits under a palette of greys
            read_mask(tmp_path / "mask.bmp")
        return
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.bmp"), array)


@pytest.mark.parametrize("maximum", [1, 2, 3, 20, 100, 254, 255, 256, 1000, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_pnm_of_every_largest_value(tmp_path: Path, maximum: int, plain: bool) -> None:
    array = np.random.default_rng(0).integers(0, min(maximum, 255) + 1, (HEIGHT, WIDTH))
    head = f"{'P2' if plain else 'P5'}\n{WIDTH} {HEIGHT}\n{maximum}\n".encode()
    body = array.astype(">u2" if maximum > 255 else "u1").tobytes()
    if plain:
        body = " ".join(map(str, array.ravel())).encode()
    (tmp_path / "mask.pgm").write_bytes(head + body)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.pgm"), array)


def test_pbm_reads_black_as_1_as_it_stands_in_the_file(tmp_path: Path) -> None:
    array = values(1)
    (tmp_path / "mask.pbm").write_bytes(f"P4\n{WIDTH} {HEIGHT}\n".encode() + b"".join(packed(array, 1)))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.pbm"), array)


TIFFS: dict[str, dict[str, Any]] = {
    "grey": {},
    "white is zero": {"photometric": "miniswhite"},
    "16 bits": {"dtype": np.uint16},
    "16 bits, white is zero": {"dtype": np.uint16, "photometric": "miniswhite"},
    "16 bits, big-endian": {"dtype": ">u2", "byteorder": ">"},
    "32 bits": {"dtype": np.uint32},
    "signed 16 bits": {"dtype": np.int16},
    "signed 32 bits": {"dtype": np.int32},
    "deflate": {"compression": "zlib"},
    "deflate with predictor": {"compression": "zlib", "predictor": True},
    "deflate, white is zero": {"compression": "zlib", "photometric": "miniswhite"},
    "palette": {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
    "bigtiff": {"bigtiff": True},
    "two rows a strip": {"rowsperstrip": 2},
    "tiles": {"tile": (16, 16)},
    **{f"orientation {value}": {"extratags": [(274, 3, 1, value, True)]} for value in range(10)},
    "turned and deflated": {"extratags": [(274, 3, 1, 6, True)], "compression": "zlib"},
}


@pytest.mark.parametrize("how", TIFFS.values(), ids=TIFFS)
def test_tiff_agrees_with_tifffile(tmp_path: Path, how: dict[str, Any]) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed: pip install tifffile")
    options = dict(how)
    array = values(8).astype(options.pop("dtype", np.uint8))
    tifffile.imwrite(tmp_path / "mask.tif", array, **options)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), array)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), array)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "group4"])
def test_tiff_compressions_that_keep_every_value(tmp_path: Path, compression: str) -> None:
    array = values(1 if compression == "group4" else 8).astype(np.uint8)
    image = Image.fromarray(array * 255).convert("1") if compression == "group4" else Image.fromarray(array)
    image.save(tmp_path / "mask.tif", compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), array)


def test_three_equal_channels_are_grey(tmp_path: Path) -> None:
    grey = values(8).astype(np.uint8)
    for ending, options in ((".png", {}), (".webp", {"lossless": True}), (".tif", {}), (".bmp", {}), (".ppm", {})):
        path = tmp_path / f"mask{ending}"
        Image.fromarray(np.stack([grey] * 3, -1)).save(path, **options)
        np.testing.assert_array_equal(read_mask(path), grey)


def test_an_opaque_alpha_channel_takes_nothing_away(tmp_path: Path) -> None:
    grey = values(8).astype(np.uint8)
    for mode in ("LA", "RGBA"):
        image = Image.fromarray(grey).convert(mode)
        image.save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), grey)


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize(
    ("mode", "options", "notes"),
    [
        ("L", {}, []),
        ("LA", {}, ["alpha channel, which is opaque"]),
        ("RGB", {}, ["grey saved as RGB"]),
        ("RGBA", {}, ["alpha channel, which is opaque", "grey saved as RGB"]),
        ("L", {"exif": with_orientation(6)}, [r"orientation tag \(6\), which is not applied"]),
        ("L", {"exif": with_orientation(1)}, []),
    ],
)
def test_notes_say_what_a_user_should_know(tmp_path: Path, mode: str, options: Any, notes: list[str]) -> None:
    grey = values(8).astype(np.uint8)
    Image.fromarray(grey).convert(mode).save(tmp_path / "mask.png", **options)
    decoded = decode_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(decoded.values, grey)
    assert len(decoded.notes) == len(notes)
    for note, expected in zip(decoded.notes, notes, strict=True):
        assert re.search(expected, note)


def test_grey_that_a_list_has_as_colours_needs_no_note(tmp_path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(tmp_path / "mask.png")
    decoded = decode_mask(tmp_path / "mask.png", {(9, 9, 9): 1, (0, 0, 0): 0})
    assert (decoded.values == 1).all()
    assert decoded.notes == ()


def test_colours_are_classes_where_a_list_says_so(tmp_path: Path) -> None:
    colours = {(0, 0, 0): 0, (250, 50, 83): 1, (51, 221, 255): 2}
    classes = np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint8)
    rgb = np.array(list(colours), np.uint8)[classes]
    Image.fromarray(rgb).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", colours), classes)
    rgb[0, 0] = 1, 2, 3
    Image.fromarray(rgb).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"has 1 pixels of 1, 2, 3, a colour that no class has"):
        read_mask(tmp_path / "mask.png", colours)


def negative(grey: Image.Image) -> Image.Image:
    return grey.point(lambda value: 255 - value)


REFUSED: dict[str, tuple[Callable[[Path, Image.Image], None], str]] = {
    "JPEG": (lambda path, grey: grey.save(f"{path}.jpg"), "is a JPEG"),
    "JPEG in TIFF": (lambda path, grey: grey.save(f"{path}.tif", compression="jpeg"), "lossy compression"),
    "lossy WebP": (lambda path, grey: grey.convert("RGB").save(f"{path}.webp"), "lossy WebP"),
    "two pages": (lambda path, grey: grey.save(f"{path}.tif", save_all=True, append_images=[grey]), "pages or"),
    "floating point": (lambda path, grey: grey.convert("F").save(f"{path}.tif"), "floating-point"),
    "CMYK": (lambda path, grey: grey.convert("CMYK").save(f"{path}.tif"), "in colour"),
    "colours": (
        lambda path, grey: Image.merge("RGB", (grey, grey, negative(grey))).save(f"{path}.png"), "is in colour",
    ),
    "transparent": (
        lambda path, grey: Image.merge("LA", (grey, grey)).save(f"{path}.png"), "alpha channel that is not",
    ),
    "below 0": (
        lambda path, grey: Image.fromarray(np.asarray(grey, np.int32) - 1).save(f"{path}.tif"), "value -1:",
    ),
    "above 255": (
        lambda path, grey: Image.fromarray(np.asarray(grey, np.uint16) + 800).save(f"{path}.png"), "value 1055:",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("save", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_exactly_is_refused(tmp_path: Path, save: Any, sentence: str) -> None:
    save(tmp_path / "mask", Image.fromarray(values(8).astype(np.uint8)))
    (path,) = tmp_path.iterdir()
    with pytest.raises(DataError, match=sentence) as error:
        read_mask(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float64, np.uint64])
def test_rare_kinds_of_tiff_are_read_or_refused(tmp_path: Path, dtype: Any) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed: pip install tifffile")
    tifffile.imwrite(tmp_path / "mask.tif", (values(4) - 1).clip(0 if dtype == np.uint64 else None).astype(dtype))
    with pytest.raises(DataError, match="value -1:" if dtype == np.int8 else "damaged|floating-point|64 bits"):
        read_mask(tmp_path / "mask.tif")


def test_the_memory_of_a_mask_in_colour_is_bounded_by_its_pixels(tmp_path: Path) -> None:
    """A WebP of one colour has 300 bytes, however large it is: at 81 million pixels it took 4.6 GB."""
    path = tmp_path / "x.webp"
    Image.new("RGB", (3000, 2000), (1, 2, 3)).save(path, lossless=True)
    tracemalloc.start()
    try:
        assert (read_mask(path, {(1, 2, 3): 7}) == 7).all()
        with pytest.raises(DataError, match=r"6000000 pixels of 1, 2, 3, a colour that no class has"):
            read_mask(path, {(0, 0, 0): 7})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * 3000 * 2000
