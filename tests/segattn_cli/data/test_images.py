from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segattn_cli.data import images, read_image, read_mask
from segattn_cli.data.images import FORMATS, decode_image, read_header, resize_image, resize_label
from segattn_cli.errors import DataError
from segattn_cli.prediction.input_files import find_inputs

ORIENTATION = 0x0112
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)


def saved(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + struct.pack(">I", 9) + b"IDAT"


class TestImages:
    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
    def test_what_is_saved_without_loss_comes_back(self, tmp_path: Path, suffix: str) -> None:
        path = saved(tmp_path / f"x.{suffix}", RGB, **({"lossless": True} if suffix == "webp" else {}))
        image = read_image(path)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, RGB)

    def test_bytes_read_like_the_file(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_image(saved(tmp_path / "x.png", RGB).read_bytes()), RGB)

    def test_the_name_of_a_file_does_not_matter(self, tmp_path: Path) -> None:
        saved(tmp_path / "x.png", RGB).rename(tmp_path / "x.jpg")
        np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), RGB)

    def test_grey_becomes_three_equal_channels(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_image(saved(tmp_path / "x.png", GREY)), np.stack([GREY] * 3, -1))

    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
    def test_sixteen_bits_keep_the_upper_eight(self, tmp_path: Path, suffix: str) -> None:
        deep = GREY.astype(np.uint16) * 256 + 77
        np.testing.assert_array_equal(
            read_image(saved(tmp_path / f"x.{suffix}", deep)), np.stack([GREY] * 3, -1)
        )

    def test_one_bit_is_black_and_white(self, tmp_path: Path) -> None:
        image = read_image(saved(tmp_path / "x.png", Image.fromarray(GREY > 127)))
        np.testing.assert_array_equal(image[..., 0], np.where(GREY > 127, 255, 0))

    def test_cmyk(self, tmp_path: Path) -> None:
        picture = Image.new("CMYK", (4, 3), (0, 255, 255, 0))
        image = read_image(saved(tmp_path / "x.jpg", picture, quality=100))
        assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 3

    def test_transparency_is_laid_on_white(self, tmp_path: Path) -> None:
        pixels = np.array([[[200, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
        image = read_image(saved(tmp_path / "x.png", pixels))
        np.testing.assert_array_equal(image[0], [[200, 0, 0], [255, 255, 255], [127, 127, 127]])

    def test_grey_with_alpha(self, tmp_path: Path) -> None:
        picture = Image.merge("LA", (Image.new("L", (2, 2), 80), Image.new("L", (2, 2), 0)))
        assert (read_image(saved(tmp_path / "x.png", picture)) == 255).all()

    def test_palette(self, tmp_path: Path) -> None:
        picture = Image.fromarray(GREY % 3)
        picture.putpalette([1, 2, 3, 40, 50, 60, 200, 210, 220])
        colours = np.array([[1, 2, 3], [40, 50, 60], [200, 210, 220]])
        np.testing.assert_array_equal(read_image(saved(tmp_path / "x.png", picture)), colours[GREY % 3])

    def test_palette_with_transparency(self, tmp_path: Path) -> None:
        picture = Image.fromarray(np.array([[0, 1]], np.uint8))
        picture.putpalette([1, 2, 3, 40, 50, 60])
        path = saved(tmp_path / "x.png", picture, transparency=bytes([255, 0]))
        np.testing.assert_array_equal(read_image(path)[0], [[1, 2, 3], [255, 255, 255]])

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, tmp_path: Path, orientation: int) -> None:
        views: list[Callable[[np.ndarray], np.ndarray]] = [
            lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud,
            lambda a: a.swapaxes(0, 1), lambda a: np.rot90(a, -1), lambda a: np.rot90(a, 2).swapaxes(0, 1),
            np.rot90,
        ]  # fmt: skip
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        image = read_image(saved(tmp_path / "x.png", RGB, exif=exif))
        np.testing.assert_array_equal(image, views[orientation - 1](RGB))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_orientation_of_a_tiff_is_applied(self, tmp_path: Path, orientation: int) -> None:
        as_png, as_tiff = Image.Exif(), {ORIENTATION: orientation}
        as_png[ORIENTATION] = orientation
        expected = read_image(saved(tmp_path / "x.png", RGB, exif=as_png))
        for compression in (None, "tiff_lzw"):
            path = saved(tmp_path / "x.tif", RGB, tiffinfo=as_tiff, compression=compression)
            np.testing.assert_array_equal(read_image(path), expected)

    def test_an_orientation_that_browsers_ignore_is_ignored(self, tmp_path: Path) -> None:
        xmp = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        xmp += b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/></rdf:RDF>'
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + xmp + b'</x:xmpmeta>'
        path = saved(tmp_path / "x.jpg", RGB, quality=100, xmp=xmp)
        with Image.open(path) as image:
            assert image.getexif()[ORIENTATION] == 3  # what Pillow makes of it
        plain = read_image(saved(tmp_path / "y.jpg", RGB, quality=100))
        np.testing.assert_array_equal(read_image(path), plain)
        profile = PngInfo()
        exif = Image.Exif()
        exif[ORIENTATION] = 3
        block = exif.tobytes()
        profile.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
        path = saved(tmp_path / "x.png", RGB, pnginfo=profile)
        with Image.open(path) as image:
            assert image.getexif()[ORIENTATION] == 3
        np.testing.assert_array_equal(read_image(path), RGB)

    def test_a_damaged_exif_block_leaves_the_image_upright(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_image(saved(tmp_path / "x.png", RGB, exif=b"garbage")), RGB)

    def test_the_first_image_of_a_camera_that_saves_two(self, tmp_path: Path) -> None:
        pictures = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
        pictures[0].save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=pictures[1:])
        assert np.abs(read_image(tmp_path / "x.jpg").astype(int) - (250, 0, 0)).max() <= 3

    def test_of_an_animation_the_first_frame(self, tmp_path: Path) -> None:
        frames = [Image.new("RGB", (3, 2), colour) for colour in ((255, 0, 0), (0, 255, 0))]
        frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
        assert (read_image(tmp_path / "x.gif") == (255, 0, 0)).all()

    @pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (2, 100_000)])
    def test_extreme_shapes(self, tmp_path: Path, size: tuple[int, int]) -> None:
        assert read_image(saved(tmp_path / "x.png", np.zeros((*size, 3), np.uint8))).shape == (*size, 3)


class TestDeepAndManyBands:
    """What no screen shows as it stands is said, and can be scaled by the file's own range."""

    def test_near_infrared_is_not_taken_for_transparency(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed: pip install tifffile")
        stack = np.concatenate([RGB, GREY[..., None]], -1)
        for dtype, factor in ((np.uint8, 1), (np.uint16, 257)):
            pixels = (stack.astype(dtype) * dtype(factor)).astype(dtype)
            tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
            decoded = decode_image(tmp_path / "x.tif")
            np.testing.assert_array_equal(decoded.image, RGB)
            assert decoded.notes == ("has 4 bands, of which the first three are taken for red, green and blue",)

    def test_eight_bands_are_named(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed: pip install tifffile")
        bands = np.repeat(GREY[..., None], 8, -1)
        tifffile.imwrite(tmp_path / "x.tif", bands, photometric="minisblack", planarconfig="contig")
        with pytest.raises(DataError, match=r"x.tif has 8 bands: save three"):
            read_image(tmp_path / "x.tif")

    def test_twelve_bits_in_sixteen(self, tmp_path: Path) -> None:
        deep = np.linspace(0, 4000, 35).astype(np.uint16).reshape(5, 7)
        decoded = decode_image(saved(tmp_path / "x.png", deep))
        assert decoded.image.max() == 4000 >> 8
        assert "16-bit values up to 4000, so 16 grey levels are left" in decoded.notes[0]
        scaled = decode_image(tmp_path / "x.png", intensity="range")
        np.testing.assert_array_equal(scaled.image[..., 0], np.rint(deep * (255 / 4000)))
        assert scaled.notes == ()

    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_values_without_an_agreed_brightness(self, tmp_path: Path, dtype: type) -> None:
        values = (GREY.astype(dtype) * 4 - 600).astype(dtype)
        path = saved(tmp_path / "x.tif", values)
        with pytest.raises(DataError, match=r"from -\d+ to \d+, which have no agreed .*--intensity range"):
            read_image(path)
        low, high = GREY.min(), GREY.max()
        scaled = np.rint((GREY.astype(float) - low) * (255 / (float(high) - low)))
        np.testing.assert_array_equal(read_image(path, intensity="range")[..., 0], scaled)


class TestBadFiles:
    """Each is answered by one sentence that names the file."""

    @pytest.fixture(params=[read_image, read_mask])
    def read(self, request: pytest.FixtureRequest) -> Callable[[Path], np.ndarray]:
        return request.param

    def check(self, read: Callable[[Path], np.ndarray], path: Path, wanted: str) -> None:
        with pytest.raises(DataError) as caught:
            read(path)
        sentence = str(caught.value)
        assert sentence.startswith(str(path))
        assert wanted in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence

    def test_missing(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        self.check(read, tmp_path / "x.png", "does not exist")

    def test_empty(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "x.png").touch()
        self.check(read, tmp_path / "x.png", "is empty")

    def test_folder(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        self.check(read, tmp_path, "is a folder")

    def test_a_name_that_passes_through_a_file(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        self.check(read, tmp_path / "x" / "y.png", "")

    def test_no_image(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "x.png").write_text("pictures are kept elsewhere")
        self.check(read, tmp_path / "x.png", "no image at all")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_pipe_without_an_image_is_not_waited_for_again(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = Thread(target=path.write_bytes, args=(b"no image",), daemon=True)
        writer.start()
        self.check(read_image, path, "no image at all")

    @pytest.mark.skipif(sys.platform == "win32", reason="Pillow's libtiff cannot be reached there")
    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "group4", "jpeg"])
    def test_libtiff_prints_nothing(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str
    ) -> None:
        noise = Image.fromarray(RNG.integers(0, 256, (64, 64), np.uint8))
        path = tmp_path / "x.tif"
        noise.convert("1" if compression == "group4" else "L").save(path, compression=compression)
        whole = path.read_bytes()
        for at in range(8, len(whole), 9):
            path.write_bytes(whole[:at] + b"\xff\x00\xff" + whole[at + 3 :])
            with suppress(DataError):
                read_image(path)
        printed = capfd.readouterr()
        assert (printed.out, printed.err) == ("", "")

    def test_a_pointer_of_git_lfs(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "x.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
        self.check(read, tmp_path / "x.png", "is a pointer of Git LFS: get the file itself by `git lfs pull`")

    @pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
    def test_cut_short(
        self, read: Callable[[Path], np.ndarray], tmp_path: Path, suffix: str, kept: float
    ) -> None:
        noise = RNG.integers(0, 256, (64, 64), np.uint8)
        whole = saved(tmp_path / f"x.{suffix}", noise).read_bytes()
        (tmp_path / f"x.{suffix}").write_bytes(whole[: int(len(whole) * kept)])
        self.check(read, tmp_path / f"x.{suffix}", "")

    def test_a_jpeg_cut_short(self, tmp_path: Path) -> None:
        whole = saved(tmp_path / "x.jpg", RNG.integers(0, 256, (64, 64, 3), np.uint8)).read_bytes()
        (tmp_path / "x.jpg").write_bytes(whole[: len(whole) // 2])
        self.check(read_image, tmp_path / "x.jpg", "cut short")

    def test_flipped_bytes_raise_nothing_but_data_errors(self, tmp_path: Path) -> None:
        whole = saved(tmp_path / "x.png", RNG.integers(0, 256, (16, 16, 3), np.uint8)).read_bytes()
        caught = 0
        for position in range(0, len(whole), 3):
            damaged = bytearray(whole)
            damaged[position] ^= 0xFF
            try:
                read_image(bytes(damaged))
            except DataError:
                caught += 1
        assert caught > 100

    @pytest.mark.parametrize("size", [(10_000, 10_000), (50_000, 50_000)])
    def test_a_decompression_bomb(
        self, read: Callable[[Path], np.ndarray], tmp_path: Path, size: tuple[int, int]
    ) -> None:
        (tmp_path / "x.png").write_bytes(png_header(*size))
        self.check(read, tmp_path / "x.png", "decompression bomb")

    def test_a_real_bomb(self, tmp_path: Path) -> None:
        saved(tmp_path / "x.png", Image.new("1", (10_000, 9_000)))
        self.check(read_image, tmp_path / "x.png", "decompression bomb")

    def test_floating_point_pixels(self, tmp_path: Path) -> None:
        self.check(read_image, saved(tmp_path / "x.tif", np.zeros((2, 2), np.float32)), "--intensity range")

    def test_bytes_are_called_what_the_caller_says(self) -> None:
        with pytest.raises(DataError, match=r"^standard input is empty"):
            read_image(b"", "standard input")

    def test_only_known_formats_are_tried(self, tmp_path: Path) -> None:
        assert "EPS" not in FORMATS  # it would start Ghostscript
        self.check(read_image, saved(tmp_path / "x.eps", Image.new("RGB", (4, 4))), "no image at all")


class TestMasks:
    def test_grey(self, tmp_path: Path, label: np.ndarray) -> None:
        got = read_mask(saved(tmp_path / "m.png", label))
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, label)

    def test_of_a_palette_the_indices(self, tmp_path: Path, label: np.ndarray) -> None:
        mask = Image.fromarray(label)
        mask.putpalette(bytes(range(255, -1, -1)) * 3)
        path = saved(tmp_path / "m.png", mask)
        with Image.open(path) as back:
            assert back.mode == "P"
        np.testing.assert_array_equal(read_mask(path), label)

    def test_one_bit(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(
            read_mask(saved(tmp_path / "m.png", Image.fromarray(GREY > 99))), GREY > 99
        )

    def test_sixteen_bits_that_fit_into_eight(self, tmp_path: Path, label: np.ndarray) -> None:
        np.testing.assert_array_equal(read_mask(saved(tmp_path / "m.png", label.astype(np.uint16))), label)

    def test_sixteen_bits_that_do_not(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "m.png", np.array([[3, 256]], np.uint16))
        with pytest.raises(DataError, match=r"m.png holds the value 256: masks hold one class index per pixel"):
            read_mask(path)

    def test_jpeg_is_refused(self, tmp_path: Path, label: np.ndarray) -> None:
        with pytest.raises(DataError, match="is a JPEG, which blurs class indices"):
            read_mask(saved(tmp_path / "m.jpg", label))


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("bomb", "100 million pixels, more than the 89 million that are allowed"), ("damaged EXIF", "(5, 7, 3)"),
        ("long tag", "(5, 7, 3)"),
    ],
)
def test_pillow_warns_of_nothing_on_its_own(tmp_path: Path, content: str, answer: str) -> None:
    """In a process of its own: pytest's filters stand in for ours otherwise."""
    path = saved(tmp_path / "x.jpg", RGB, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\0")
    if content == "bomb":
        path.write_bytes(png_header(10_000, 10_000))
    if content == "long tag":
        path = saved(tmp_path / "x.tif", RGB, description="twenty letters of it")
        data = bytearray(path.read_bytes())
        tag = data.index(struct.pack("<HH", 270, 2))  # ImageDescription, in ASCII
        data[tag + 4 : tag + 8] = struct.pack("<I", 10**6)
        path.write_bytes(data)
    program = f"""
from segattn_cli.data import read_image
try:
    print(read_image({str(path)!r}).shape)
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer in done.stdout
    assert done.stderr == ""


def test_images_are_resized_by_averaging_and_masks_by_picking() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = 200
    assert resize_image(image, (1, 1)).tolist() == [[[100, 100, 100]]]
    assert set(resize_label(np.array([[0, 0, 9, 9]] * 4, np.uint8), (3, 5)).ravel()) == {0, 9}
    assert resize_label(np.zeros((4, 4), np.uint8), (3, 5)).shape == (3, 5)


@pytest.mark.parametrize("size", [(1, 900_000), (900_000, 1), (9000, 9000)])
def test_a_png_that_claims_more_than_it_can_hold(size: tuple[int, int]) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    claim = rf"^tiny claims {size[0]}×{size[1]} pixels, more than its \d+ bytes can hold"
    with pytest.raises(DataError, match=claim):
        read_image(data, "tiny")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_claims_more_than_it_can_hold(progressive: bool) -> None:
    data = jpeg_of_size(9000, 9001, progressive=progressive)
    with pytest.raises(DataError, match=rf"^tiny claims 9000×9001 pixels, more than its {len(data)} bytes can hol"):
        read_image(data, "tiny")


def jpeg_of_size(width: int, height: int, **options: object) -> bytes:
    """A JPEG of 16×16 pixels whose frame claims another size."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", **options)
    data = bytearray(buffer.getvalue())
    frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_a_jpeg_with_arithmetic_codes_makes_no_such_claim(tmp_path: Path) -> None:
    """They may take less than a bit."""
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg_of_size(4000, 3000).replace(b"\xff\xc0", b"\xff\xc9", 1))
    assert read_header(path).size == (3000, 4000)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_of_one_colour_is_no_such_claim(options: dict[str, object], mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (2000, 3000)).save(buffer, "JPEG", **options)
    assert read_image(buffer.getvalue(), "black").shape == (3000, 2000, 3)


@pytest.mark.parametrize("size", [(1, 1_000_001), (1_000_001, 1)])
def test_a_side_that_is_too_long(size: tuple[int, int]) -> None:
    """Memory is taken for each row, even of one pixel: 131 bytes took 2 GB."""
    with pytest.raises(DataError, match=r"^tiny is .* longer than the 1,000,000 pixels a side"):
        read_image(b"P5 %d %d 255\n" % size, "tiny")


def test_a_pipe_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    monkeypatch.setattr(images, "LONGEST_STREAM", 5_000_000)
    with pytest.raises(DataError, match=r"^standard input does not end within 5,000,000 bytes"):
        find_inputs(["-"], Path("out"), io.BufferedReader(Endless()))


def test_a_png_of_one_colour_is_no_such_claim() -> None:
    buffer = io.BytesIO()
    Image.new("1", (4000, 4000)).save(buffer, "PNG", compress_level=9)
    assert read_image(buffer.getvalue(), "black").shape == (4000, 4000, 3)
