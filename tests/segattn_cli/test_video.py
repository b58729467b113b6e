"""Videos: as many frames as there were, of their size, at their rate, turned as a player turns them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends import get_backend
from segattn_cli.errors import DataError
from segattn_cli.inference import Predictor
from segattn_cli.runs import Model
from segattn_cli.video import FrameDone, Frames, VideoDone, annotate, frames_of, natural, open_video

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'segattn[video]'")
RATE = Fraction(30000, 1001)


def write_video(path: Path, pictures: list[np.ndarray], rate: Fraction = RATE, codec: str = "mpeg4") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


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
        for number, picture in enumerate(frames.pictures):
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
        label = predictor.label(next(frames.pictures))
    wanted = 0.5 * model.palette[label]  # over black
    inside = (slice(8, 200), slice(8, 300))
    difference = np.abs(pictures[0][:240].astype(float) - wanted)[inside]
    assert np.median(difference) < 6
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("size", [(33, 47), (2, 2), (16, 400)])
def test_odd_sizes(tmp_path: Path, predictor: Predictor, model: Model, size: tuple[int, int]) -> None:
    frames = Frames(iter([flat(9, size), flat(200, size)]), Fraction(25), 2)
    list(annotate(predictor, frames, tmp_path / "clip.mp4", model))
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
    assert [int(picture[0, 0, 0]) for picture in frames.pictures] == [1, 2, 9, 10]
    assert (frames.total, frames.rate) == (4, 5)
    assert sorted([Path("a"), Path("7"), Path("a1b"), Path("a1")], key=natural)  # letters beside numbers


def test_frames_have_one_size(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    frames = Frames(iter([flat(1), flat(2, (48, 66))]), Fraction(5), 2)
    with pytest.raises(DataError, match=r"Frame 2 is 66×48 and the first 64×48"):
        list(annotate(predictor, frames, tmp_path / "clip.mp4", model))
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_breaks_off_is_kept_up_to_there(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    def pictures() -> Iterator[np.ndarray]:
        yield flat(1)
        yield flat(2)
        raise DataError("clip.mp4 is damaged (Invalid data).")

    *_, done = annotate(predictor, Frames(pictures(), Fraction(5), 9), tmp_path / "clip.mp4", model)
    assert isinstance(done, VideoDone)
    assert (done.frames, done.broken) == (2, "clip.mp4 is damaged (Invalid data).")
    assert len(read_back(done.path)[0]) == 2


def test_one_that_is_cut_short_says_so(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (30, 48, 64, 3)).astype(np.uint8)
    whole = write_video(tmp_path / "clip.mkv", list(noise)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with open_video(tmp_path / "cut.mkv") as frames:
        assert frames.total == 30
        *_, done = annotate(predictor, frames, tmp_path / "out" / "cut.mp4", model)
    assert isinstance(done, VideoDone)
    assert 5 < done.frames < 25
    assert done.broken is not None
    assert f"is cut short: {done.frames} of about 30 frames are there" in done.broken


def test_nothing_is_left_of_one_that_was_stopped(tmp_path: Path, predictor: Predictor, model: Model) -> None:
    events = annotate(predictor, Frames(iter([flat(1)] * 5), Fraction(5), 5), tmp_path / "clip.mp4", model)
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
        list(annotate(predictor, Frames(iter([]), Fraction(5), 0), tmp_path / "clip.mp4", model))


def test_a_turned_video_is_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones film on their side and write down how to turn it: counterclockwise, in degrees."""
    upright = flat(0)
    upright[:, :32] = 200  # the left half is bright
    path = write_video(tmp_path / "clip.mp4", [upright])
    import segattn_cli.video as video

    class Turned:
        def __init__(self, frame: Any) -> None:
            self.frame, self.rotation = frame, 90

        def to_ndarray(self, **how: Any) -> np.ndarray:
            return self.frame.to_ndarray(**how)

    class Container:
        def __init__(self, container: Any) -> None:
            self.container = container

        def decode(self, stream: Any) -> Iterator[Turned]:
            return map(Turned, self.container.decode(stream))

    with av.open(str(path)) as container:
        (picture,) = video._decoded(av, Container(container), container.streams.video[0], path, 1)
    assert picture.shape == (64, 48, 3)
    assert picture[:32].mean() < 50 < picture[32:].mean()  # the left half has become the lower
