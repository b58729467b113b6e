from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import read_image, read_label
from segattn_cli.data.images import FORMATS, resize_image, resize_label
from segattn_cli.errors import DataError

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


def grey_png(bits: int) -> bytes:
    """One grey pixel of so many bits: Pillow reads such files, but does not write them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00\x40")) + chunk(b"IEND", b"")


class TestPictures:
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

    def test_a_damaged_exif_block_leaves_the_picture_upright(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_image(saved(tmp_path / "x.png", RGB, exif=b"garbage")), RGB)

    def test_the_first_picture_of_a_camera_that_saves_two(self, tmp_path: Path) -> None:
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


class TestBadFiles:
    """Each is answered by one sentence that names the file."""

    @pytest.fixture(params=[read_image, read_label])
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

    def test_no_picture(self, read: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "x.png").write_text("pictures are kept elsewhere")
        self.check(read, tmp_path / "x.png", "no picture at all")

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
        self.check(read_image, saved(tmp_path / "x.tif", np.zeros((2, 2), np.float32)), "8 bits")

    def test_bytes_are_called_what_the_caller_says(self) -> None:
        with pytest.raises(DataError, match=r"^standard input is empty"):
            read_image(b"", "standard input")

    def test_only_known_formats_are_tried(self, tmp_path: Path) -> None:
        assert "EPS" not in FORMATS  # it would start Ghostscript
        self.check(read_image, saved(tmp_path / "x.eps", Image.new("RGB", (4, 4))), "no picture at all")


class TestMasks:
    def test_grey(self, tmp_path: Path, label: np.ndarray) -> None:
        got = read_label(saved(tmp_path / "m.png", label))
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, label)

    def test_of_a_palette_the_indices(self, tmp_path: Path, label: np.ndarray) -> None:
        mask = Image.fromarray(label)
        mask.putpalette(bytes(range(255, -1, -1)) * 3)
        path = saved(tmp_path / "m.png", mask)
        with Image.open(path) as back:
            assert back.mode == "P"
        np.testing.assert_array_equal(read_label(path), label)

    def test_one_bit(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(
            read_label(saved(tmp_path / "m.png", Image.fromarray(GREY > 99))), GREY > 99
        )

    def test_sixteen_bits_that_fit_into_eight(self, tmp_path: Path, label: np.ndarray) -> None:
        np.testing.assert_array_equal(read_label(saved(tmp_path / "m.png", label.astype(np.uint16))), label)

    def test_sixteen_bits_that_do_not(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "m.png", np.array([[3, 256]], np.uint16))
        with pytest.raises(DataError, match=r"m.png holds the value 256: masks hold one class index per pixel"):
            read_label(path)

    @pytest.mark.parametrize(
        "content", [b"P5 2 1 20\n\x00\x14", b"P2 2 1 20\n0 20\n", grey_png(bits=2), grey_png(bits=4)]
    )
    def test_few_bits_are_refused_because_readers_spread_their_values(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "m.png").write_bytes(content)
        with pytest.raises(DataError, match="another depth than 8 or 16 bits"):
            read_label(tmp_path / "m.png")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
    def test_colour_is_refused(self, tmp_path: Path, mode: str) -> None:
        path = saved(tmp_path / ("m.tif" if mode == "CMYK" else "m.png"), Image.new(mode, (4, 3)))
        with pytest.raises(DataError, match=rf"colour picture \(mode {mode}\): masks hold one class index.*PNG"):
            read_label(path)

    def test_jpeg_is_refused(self, tmp_path: Path, label: np.ndarray) -> None:
        with pytest.raises(DataError, match="is a JPEG, which blurs class indices"):
            read_label(saved(tmp_path / "m.jpg", label))


@pytest.mark.parametrize(
    ("content", "answer"),
    [("bomb", "more than 89 million pixels"), ("damaged EXIF", "(5, 7, 3)")],
)
def test_pillow_warns_of_nothing_on_its_own(tmp_path: Path, content: str, answer: str) -> None:
    """In a process of its own: pytest's filters stand in for ours otherwise."""
    path = saved(tmp_path / "x.jpg", RGB, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\0")
    if content == "bomb":
        path.write_bytes(png_header(10_000, 10_000))
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


def test_pictures_are_resized_by_averaging_and_masks_by_picking() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = 200
    assert resize_image(image, (1, 1)).tolist() == [[[100, 100, 100]]]
    assert set(resize_label(np.array([[0, 0, 9, 9]] * 4, np.uint8), (3, 5)).ravel()) == {0, 9}
    assert resize_label(np.zeros((4, 4), np.uint8), (3, 5)).shape == (3, 5)
