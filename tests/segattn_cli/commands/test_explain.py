from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.errors import ExitCode


def block(path: Path) -> dict:
    """The JSON in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert found
    return json.loads(found[1])


def test_a_page_of_several_pictures(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = cli("explain", run, photos / "a.jpg", photos / "b.png", "--out", out, "--point", "3,4")
    assert done.code == ExitCode.OK
    size = out.stat().st_size
    assert done.out == f"{out}  2 images, {size / 1e6:.1f} MB: open it in a browser\n"
    data = block(out)
    assert data["classes"] == list(CLASSES)
    assert [image["name"] for image in data["images"]] == ["a", "b"]
    assert all(image["points"] == [[3, 4]] for image in data["images"])
    assert not re.search(r"https?://(?!www\.w3\.org/)", out.read_text(encoding="utf-8"))


def test_a_folder_may_hold_the_page(cli: Callable, run: Path, photos: Path) -> None:
    done = cli("explain", run, photos / "a.jpg", "--out", photos / "page.html")
    assert done.code == ExitCode.OK
    again = cli("explain", run, photos, "--out", photos / "page.html", "--force")
    assert again.code in (ExitCode.OK, ExitCode.PARTIAL)


def test_a_smaller_picture(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert cli("explain", run, photos / "a.jpg", "--out", out, "--max-side", 32).code == ExitCode.OK
    image = block(out)["images"][0]
    assert max(image["size"]) == 32
    assert max(image["own_size"]) > 32


def test_a_bad_picture_does_not_stop_the_others(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "page.html"
    done = cli("explain", run, photos / "broken.png", photos / "a.jpg", "--out", out)
    assert done.code == ExitCode.PARTIAL
    assert "broken.png is damaged or no image at all." in done.err
    assert [image["name"] for image in block(out)["images"]] == ["a"]
    alone = cli("explain", run, photos / "broken.png", "--out", tmp_path / "none.html")
    assert alone.code == ExitCode.DATA
    assert not (tmp_path / "none.html").exists()


def test_what_is_there_is_kept(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("mine")
    done = cli("explain", run, photos / "a.jpg", "--out", out)
    assert done.code == ExitCode.OUTPUT
    assert done.err == f"segattn: {out} exists already: replace it with --force, or choose another path.\n"
    assert out.read_text() == "mine"
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "mine.png").touch()
    assert cli("explain", run, photos / "a.jpg", "--png", maps).code == ExitCode.OUTPUT


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--point", "7"], ExitCode.USAGE, "--point must be X,Y in pixels, such as 320,200, got '7'."),
        (["--point", "-1,2"], ExitCode.USAGE, "--point must be a pixel inside the image, got '-1,2'."),
        (["--max-side", "3"], ExitCode.USAGE, "16"),
        (["--out", "nowhere/page.html"], ExitCode.OUTPUT, "There is no folder"),
        (["--backend", "abacus"], ExitCode.BACKEND, "abacus"),
    ],
)
def test_bad_options(cli: Callable, run: Path, photos: Path, options: list, code: ExitCode, says: str) -> None:
    done = cli("explain", run, photos / "a.jpg", *options)
    assert done.code == code
    assert says in done.err


def test_a_point_outside_is_refused(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    done = cli("explain", run, photos / "a.jpg", "--out", tmp_path / "page.html", "--point", "9999,0")
    assert done.code == ExitCode.USAGE
    assert "--point 9999,0 is outside of every image (width×height: 41×30)." in done.err
    assert not (tmp_path / "page.html").exists()


def test_the_excerpts_are_the_source(repository: Path) -> None:
    from segattn_cli.explaining.sources import excerpts

    for each in excerpts().values():
        lines = (repository / each.file).read_text(encoding="utf-8").splitlines()
        for offset, line in enumerate(each.code.splitlines()):
            assert lines[each.line - 1 + offset].strip() == line


def test_pictures_and_arrays(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    maps, arrays = tmp_path / "maps", tmp_path / "maps.npz"
    done = cli("explain", run, photos / "a.jpg", "--png", maps, "--npz", arrays, "--point", "3,4")
    assert done.code == ExitCode.OK
    assert not Path("explain.html").exists()  # nobody asked for a page
    names = {path.name for path in (maps / "a").iterdir()}
    assert {"prediction.png", "position-row-3-4-scale-1.png", "channel-map-scale-0.5.png"} <= names
    assert f"{maps / 'a'}  {len(names)} drawings" in done.out
    with np.load(arrays) as found:
        query, key, sums = (found[f"a/position/scale-1/{name}"] for name in ("query", "key", "log_sum_exp"))
        np.testing.assert_allclose(np.exp(query @ key.T - sums[:, None]).sum(1), 1, rtol=1e-4)


def test_nothing_that_is_read_is_replaced(cli: Callable, run: Path, photos: Path, tmp_path: Path) -> None:
    before = (photos / "a.jpg").read_bytes()
    done = cli("explain", run, photos / "a.jpg", "--out", photos / "a.jpg", "--force")
    assert (done.code, (photos / "a.jpg").read_bytes()) == (ExitCode.USAGE, before)
    assert "is an input and would be overwritten" in done.err
    both = cli("explain", run, photos / "a.jpg", "--out", tmp_path / "x", "--npz", tmp_path / "x")
    assert both.code == ExitCode.USAGE
    assert "give each its own path" in both.err
