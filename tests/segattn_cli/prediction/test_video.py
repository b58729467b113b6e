"""Videos: as many frames as there were, of their size, at their rate, turned as a player turns them."""

from __future__ import annotations

import errno
import io
import resource
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from backends import get_backend
from segattn_cli.data import images
from segattn_cli.errors import DataError, OutputError
from segattn_cli.prediction.annotate import FrameDone, VideoDone, annotate
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.video import Frame, Frames, _seconds, frames_of, natural, open_video
from segattn_cli.runs import Model

av = pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
RATE = Fraction(30000, 1001)


def write_video(
    path: Path, pictures: list[np.ndarray], rate: Fraction = RATE, codec: str = "mpeg4", *,
    milliseconds: list[int] | None = None, sound: float = 0, aspect: Fraction | None = None,
) -> Path:
    """A video, its frames at certain times if these are given, with some seconds of silence."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        silence = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if silence is not None:
            for start in range(0, round(48000 * sound), 1024):
                heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                heard.sample_rate, heard.pts = 48000, start
                container.mux(silence.encode(heard))
            container.mux(silence.encode(None))
    return path


def frames_from(pictures: list[np.ndarray], rate: int = 25) -> Frames:
    return Frames(map(Frame, pictures), Fraction(rate), len(pictures))


def flat(level: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


@pytest.fixture(scope="module")
def model(model_of: Callable[..., Model]) -> Model:
    return model_of(head="fcn")


@pytest.fixture(scope="module")
def predictor(model: Model) -> Predictor:
    return Predictor(model.network, model.params, get_backend("numpy"))


def read_back(path: Path) -> tuple[list[np.ndarray], Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], stream.average_rate


def test_frames_come_as_they_went_in(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", [flat(level) for level in range(20, 220, 20)])
    with open_video(path) as frames:
        assert (frames.rate, frames.total) == (RATE, 10)
        for number, (picture, time) in enumerate(frames.each):
            assert time == number / RATE
            assert (picture.shape, picture.dtype) == ((48, 64, 3), np.uint8)
            assert abs(float(picture.mean()) - 20 * (number + 1)) < 6
        assert number == 9


def test_annotated_it_has_all_frames_size_and_rate(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    source = write_video(tmp_path / "clip.mp4", [flat(level, (240, 320)) for level in (0, 90, 180)])
    with open_video(source) as frames:
        *steps, done = annotate(predictor, frames, tmp_path / "out" / "clip.mp4", model)
    assert [step.done for step in steps if isinstance(step, FrameDone)] == [1, 2, 3]
    assert isinstance(done, VideoDone)
    assert (done.frames, done.size, done.rate, done.broken) == (3, (240, 320), RATE, None)
    assert sum(done.shares.values()) == pytest.approx(1)
    pictures, rate = read_back(done.path)
    assert (len(pictures), rate) == (3, RATE)
    height, width, _ = pictures[0].shape
    assert width == 320
    assert 240 < height < 340  # the legend of five classes stands below
    with open_video(source) as frames:
        label = predictor.label(next(frames.each).image)
    wanted = 0.5 * model.palette[label]  # over black
    inside = (slice(8, 200), slice(8, 300))
    difference = np.abs(pictures[0][:240].astype(float) - wanted)[inside]
    assert np.median(difference) < 6
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]


def test_frames_that_are_predicted_together(tmp_path: Path, model: Model) -> None:
    noise = np.random.default_rng(6).integers(0, 256, (5, 48, 64, 3)).astype(np.uint8)
    alone, together = (
        list(annotate(
            Predictor(model.network, model.params, get_backend("numba"), batch=batch), frames_from(list(noise)),
            tmp_path / f"{batch}.mp4", model,
        ))
        for batch in (1, 2)
    )  # fmt: skip
    assert [step.done for step in together if isinstance(step, FrameDone)] == [1, 2, 3, 4, 5]
    assert (alone[-1].shares, alone[-1].frames) == (together[-1].shares, 5)
    for one, other in zip(read_back(alone[-1].path)[0], read_back(together[-1].path)[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [(33, 47), (2, 2), (16, 400)])
def test_odd_sizes(tmp_path: Path, predictor: Predictor, model: Model, size: tuple[int, int]) -> None:
    list(annotate(predictor, frames_from([flat(9, size), flat(200, size)]), tmp_path / "clip.mp4", model))
    pictures, _ = read_back(tmp_path / "clip.mp4")
    assert len(pictures) == 2
    assert pictures[0].shape[0] >= size[0]
    assert pictures[0].shape[1] - size[1] in (0, 1)


def test_pictures_are_frames_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        Image.fromarray(flat(number)).save(tmp_path / f"frame{number}.png")
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths][1] == "frame10.png"
    frames = frames_of(paths, Fraction(5))
    assert [int(frame.image[0, 0, 0]) for frame in frames.each] == [1, 2, 9, 10]
    assert (frames.total, frames.rate) == (4, 5)
    names = ["a", "7", "²3", "a1b", "a1", "٣"]  # letters beside numbers, and digits of other kinds
    assert [path.name for path in sorted(map(Path, names), key=natural)] == ["٣", "7", "a", "a1", "a1b", "²3"]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_frames_have_one_size(tmp_path: Path, model: Model, batch: int) -> None:
    """What was done before one that does not fit may have taken hours: it is kept."""
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=batch)
    frames = frames_from([flat(1), flat(2), flat(3, (48, 66)), flat(4)])
    *_, done = annotate(predictor, frames, tmp_path / "clip.mp4", model)
    assert isinstance(done, VideoDone)
    assert done.broken is not None
    assert done.broken.startswith("Frame 3 is 66×48 and the first 64×48")
    assert done.frames == len(read_back(done.path)[0]) == 2


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_video_that_breaks_off_is_kept_up_to_there(tmp_path: Path, model: Model, batch: int) -> None:
    predictor = Predictor(model.network, model.params, get_backend("numpy"), batch=batch)

    def pictures() -> Iterator[Frame]:
        yield Frame(flat(1))
        yield Frame(flat(2))
        raise DataError("clip.mp4 is damaged (Invalid data).")

    *_, done = annotate(predictor, Frames(pictures(), Fraction(5), 9), tmp_path / "clip.mp4", model)
    assert isinstance(done, VideoDone)
    assert (done.frames, done.broken) == (2, "clip.mp4 is damaged (Invalid data).")
    assert len(read_back(done.path)[0]) == 2


@pytest.mark.parametrize(("ending", "sound"), [("mkv", 0), ("mkv", 1), ("mp4", 0), ("mp4", 1)])
def test_one_that_is_cut_short_says_so(
    tmp_path: Path, predictor: Predictor, model: Model, ending: str, sound: int
) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (30, 48, 64, 3)).astype(np.uint8)
    whole = write_video(tmp_path / f"clip.{ending}", list(noise), sound=sound).read_bytes()
    (tmp_path / f"cut.{ending}").write_bytes(whole[: len(whole) // 2])
    with open_video(tmp_path / f"cut.{ending}") as frames:
        assert frames.total == 30
        *_, done = annotate(predictor, frames, tmp_path / "out" / "cut.mp4", model)
    assert isinstance(done, VideoDone)
    assert 5 < done.frames < 25
    assert done.broken is not None
    assert f"is cut short: {float(done.frames / RATE):.1f} of 1.0 seconds are there" in done.broken


def test_one_with_a_hole_says_so(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (30, 48, 64, 3)).astype(np.uint8)
    content = bytearray(write_video(tmp_path / "clip.mp4", list(noise), codec="libx264").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = bytes(6000)
    (tmp_path / "hole.mp4").write_bytes(content)
    with open_video(tmp_path / "hole.mp4") as frames:
        *_, done = annotate(predictor, frames, tmp_path / "out.mp4", model)
    assert isinstance(done, VideoDone)
    assert done.broken is not None
    assert "hole.mp4 is damaged (Invalid data" in done.broken
    assert 0 < done.frames == len(read_back(done.path)[0]) < 30


def test_nothing_is_left_of_one_that_was_stopped(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    events = annotate(predictor, frames_from([flat(1)] * 5), tmp_path / "clip.mp4", model)
    next(events)
    assert len(list(tmp_path.iterdir())) == 1  # the folder in which it grows
    events.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged or no video at all"), open_video(path):
        pass
    with pytest.raises(DataError, match="does not exist"), open_video(tmp_path / "none.mp4"):
        pass


def test_a_video_without_frames(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    with pytest.raises(DataError, match="no frame"):
        list(annotate(predictor, frames_from([]), tmp_path / "clip.mp4", model))


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [
        ((1, 0, 0, 1), "top left"),
        ((0, 1, -1, 0), "top right"),  # a quarter clockwise
        ((-1, 0, 0, -1), "bottom right"),
        ((0, -1, 1, 0), "bottom left"),
        ((-1, 0, 0, 1), "top right"),  # mirrored, as some cameras that face their owner do
        ((1, 0, 0, -1), "bottom left"),
        ((0, 1, 1, 0), "top left"),
    ],
)
def test_a_turned_video_is_turned(tmp_path: Path, matrix: tuple[int, ...], bright: str) -> None:
    """Phones film on their side and write into the track's header how to show it."""
    picture = flat(0)
    picture[:24, :32] = 200
    content = bytearray(write_video(tmp_path / "clip.mp4", [picture]).read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (0x10000 * each for each in matrix)
    assert struct.unpack_from(">9i", content, place) == (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    struct.pack_into(">9i", content, place, a, b, 0, c, d, 0, 0, 0, 0x40000000)
    (tmp_path / "turned.mp4").write_bytes(content)
    with open_video(tmp_path / "turned.mp4") as frames:
        (found,) = (frame.image for frame in frames.each)
    assert found.shape == ((64, 48, 3) if a == 0 else (48, 64, 3))
    middle = found.shape[0] // 2, found.shape[1] // 2
    corners = {
        f"{vertical} {horizontal}": found[rows, columns].mean()
        for vertical, rows in (("top", slice(middle[0])), ("bottom", slice(middle[0], None)))
        for horizontal, columns in (("left", slice(middle[1])), ("right", slice(middle[1], None)))
    }
    assert {name for name, mean in corners.items() if mean > 150} == {bright}
    assert {name for name, mean in corners.items() if mean < 50} == corners.keys() - {bright}


def test_every_frame_keeps_its_time(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    """Phones and screen recorders write frames when they have some."""
    times = [0, 100, 133, 166, 1000, 1010, 1900, 2000]
    pictures = [flat(level) for level in range(8)]
    source = write_video(tmp_path / "clip.mkv", pictures, Fraction(10), milliseconds=times)
    with open_video(source) as frames:
        *_, done = annotate(predictor, frames, tmp_path / "out.mp4", model)
    assert isinstance(done, VideoDone)
    with av.open(str(done.path)) as container:
        found = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(found, np.divide(times, 1000), atol=0.0011)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_an_even_rate_stays_even(tmp_path: Path, predictor: Predictor, model: Model, ending: str) -> None:
    """Matroska rounds times to milliseconds."""
    source = write_video(tmp_path / f"clip.{ending}", [flat(level) for level in range(20)])
    with open_video(source) as frames:
        assert frames.total == 20
        list(annotate(predictor, frames, tmp_path / "out.mp4", model))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == RATE
        found = [frame.pts * frame.time_base for frame in container.decode(stream)]
    assert found == [number / RATE for number in range(20)]


def test_without_h264(
    tmp_path: Path, predictor: Predictor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    frames = Frames((Frame(flat(9), number / RATE) for number in range(4)), RATE, 4)
    list(annotate(predictor, frames, tmp_path / "clip.mp4", model))
    pictures, rate = read_back(tmp_path / "clip.mp4")
    assert (len(pictures), rate) == (4, RATE)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sound_that_goes_on_does_not_count(tmp_path: Path, ending: str) -> None:
    path = write_video(tmp_path / f"clip.{ending}", [flat(5)] * 12, sound=2)
    with open_video(path) as frames:
        assert frames.total == 12
        assert len(list(frames.each)) == 12  # and is not said to be cut short


def test_what_was_trimmed_off_does_not_count(tmp_path: Path) -> None:
    """Editors on phones leave all frames in the file and write down which part to show."""
    content = bytearray(write_video(tmp_path / "clip.mp4", [flat(5)] * 30, codec="libx264").read_bytes())
    place = content.index(b"elst") + 12
    assert struct.unpack_from(">I", content, place)[0] in (1001, 1000)  # milliseconds
    struct.pack_into(">I", content, place, 500)
    (tmp_path / "trimmed.mp4").write_bytes(content)
    with open_video(tmp_path / "trimmed.mp4") as frames:
        assert frames.total == 15
        assert len(list(frames.each)) in (14, 15, 16)


def test_a_last_frame_that_lasts(tmp_path: Path) -> None:
    """Screen recorders write a frame when something changes."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = [
            *stream.encode(av.VideoFrame.from_ndarray(flat(9), format="rgb24")),
            *stream.encode(av.VideoFrame.from_ndarray(flat(99), format="rgb24")),
            *stream.encode(None),
        ]
        packets[-1].duration = 25  # a second
        container.mux(packets)
    with open_video(path) as frames:
        assert len(list(frames.each)) == 2


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", [flat(5)], aspect=Fraction(3, 2))
    with open_video(path) as frames:
        assert next(frames.each).image.shape == (48, 96, 3)


def test_how_long_a_video_is() -> None:
    def seconds(duration: int | None, tags: dict[str, str], streams: int) -> Fraction | None:
        stream = SimpleNamespace(duration=duration, time_base=Fraction(1, 1000), metadata=tags)
        return _seconds(av, SimpleNamespace(duration=9_000_000, streams=range(streams)), stream)

    assert seconds(1500, {"DURATION": "00:00:07"}, 1) == Fraction(3, 2)
    assert seconds(None, {"DURATION": "01:02:03.500000000"}, 2) == 3723.5
    assert seconds(None, {"DURATION": "soon"}, 1) == 9
    assert seconds(None, {}, 2) is None  # sound may be longer


def test_frames_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = write_video(tmp_path / "plain.mp4", [flat(5)])
    wide = write_video(tmp_path / "wide.mp4", [flat(5)], aspect=Fraction(2))
    monkeypatch.setattr(images, "LARGEST", 48 * 64)
    with open_video(plain) as frames:
        assert len(list(frames.each)) == 1
    with open_video(wide) as frames, pytest.raises(DataError, match="frames of 128×48 pixels, and 3,072 are"):
        list(frames.each)
    monkeypatch.setattr(images, "LARGEST", 48 * 64 - 1)
    with pytest.raises(DataError, match="has frames of 64×48 pixels, and 3,071 are allowed"), open_video(plain):
        pass


def test_a_codec_that_is_unknown(tmp_path: Path) -> None:
    content = write_video(tmp_path / "clip.mkv", [flat(5)]).read_bytes()
    assert b"V_MPEG4/ISO/ASP" in content
    path = tmp_path / "odd.mkv"
    path.write_bytes(content.replace(b"V_MPEG4/ISO/ASP", b"V_NOSUCH/CODEC!"))
    with pytest.raises(DataError, match="is coded in a way that FFmpeg does not know"), open_video(path):
        pass


def test_a_title_that_is_no_text(tmp_path: Path) -> None:
    content = write_video(tmp_path / "clip.mkv", [flat(5)]).read_bytes()
    assert b"Lavf" in content
    (tmp_path / "odd.mkv").write_bytes(content.replace(b"Lavf", b"\xff\xfe\xfd\xfc"))
    with open_video(tmp_path / "odd.mkv") as frames:
        assert len(list(frames.each)) == 1


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    """FFmpeg would open the files that it names."""
    write_video(tmp_path / "secret.mp4", [flat(5)])
    playlist = tmp_path / "clip.mp4"
    for text in ("ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n"):
        playlist.write_text(text)
        with pytest.raises(DataError, match="is damaged or no video at all"), open_video(playlist):
            pass


def test_names_that_ffmpeg_reads_otherwise(
    tmp_path: Path, predictor: Predictor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", [flat(5)]).rename("12:30 %03d.mp4")
    with open_video(Path("12:30 %03d.mp4")) as frames:
        list(annotate(predictor, frames, Path("out:1") / "a:%d.mp4", model))
    assert len(read_back(tmp_path / "out:1" / "a:%d.mp4")[0]) == 1


def test_colours_are_those_of_the_classes(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    """H.264 has several ways to write a colour: the file says which."""
    frames = frames_from([flat(0, (240, 320))])
    list(annotate(predictor, frames, tmp_path / "clip.mp4", model, opacity=1))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, 16 to 235
    wanted = model.palette[predictor.label(flat(0, (240, 320)))].astype(int)
    assert np.median(np.abs(frame.to_ndarray(format="rgb24")[:240] - wanted)) <= 3


def test_frames_that_are_too_large(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    with pytest.raises(DataError, match=r"16400×2 pixels are too large: 16384 a side"):
        list(annotate(predictor, frames_from([flat(1, (2, 16400))]), tmp_path / "clip.mp4", model))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (20, 240, 320, 3)).astype(np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written to"):
            list(annotate(predictor, frames_from(list(noise)), tmp_path / "out" / "clip.mp4", model))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", range(1, 5))
def test_a_failing_seek_is_no_silent_damage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, predictor: Predictor, model: Model, number: int
) -> None:
    seeks = []

    class Device(io.BufferedWriter):
        def seek(self, *to: int) -> int:
            seeks.append(to)
            if len(seeks) == number:
                raise OSError(errno.EIO, "Input/output error")
            return super().seek(*to)

    opened = Path.open

    def open_path(path: Path, mode: str = "r", **options: object) -> object:
        return Device(io.FileIO(path, "w")) if mode == "wb" else opened(path, mode, **options)

    monkeypatch.setattr(Path, "open", open_path)
    with pytest.raises(OutputError, match="cannot be written"):
        list(annotate(predictor, frames_from([flat(9)] * 3), tmp_path / "out" / "clip.mp4", model))
    assert list((tmp_path / "out").iterdir()) == []
