"""``--demo``: the network that comes with segattn in place of a run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.formats.scenes import PLAZA, ROAD
from segattn_cli.errors import ExitCode
from segattn_cli.runs.demo import DEMO


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(page):
    """The names of the images on a page of explain."""
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    return [image["name"] for image in data["images"]]


def test_explain_draws_its_own_images(cli, here):
    done = cli("explain", "--demo")
    assert (done.code, done.out.split(" MB")[0][:22]) == (ExitCode.OK, "explain.html  2 images")
    assert shown(here / "explain.html") == ["test-00000", "test-00001"]


def test_the_images_are_a_road_by_day_and_a_plaza_in_the_evening(cli, here):
    assert cli("explain", "--demo", "--npz", "maps.npz").code == ExitCode.OK
    arrays = np.load("maps.npz")
    for name, kind, other in (("test-00000", ROAD, PLAZA), ("test-00001", PLAZA, ROAD)):
        label = arrays[f"{name}/label"]
        assert (label == kind).sum() > 20 * (label == other).sum()


def test_a_point_outside_the_drawn_scenes_is_refused(cli, here):
    done = cli("explain", "--demo", "--point", "128,0")
    assert (done.code, done.err) == (
        ExitCode.USAGE, "segattn: --point 128,0 is outside of every image (width×height: 128×96).\n",
    )  # fmt: skip


def test_images_may_be_given(cli, here, photos):
    assert cli("explain", "--demo", photos / "a.jpg", photos / "b.png").code == ExitCode.OK
    assert shown(here / "explain.html") == ["a", "b"]


@pytest.mark.parametrize("command", ["explain", "infer"])
def test_a_run_is_no_image_beside_the_demo(command, cli, here, photos):
    """Else its pictures would be segmented, by another network than the one that was named."""
    run = here / "run"
    run.mkdir()
    (run / "curves.png").write_bytes((photos / "b.png").read_bytes())
    (run / "best.safetensors").write_bytes(DEMO.read_bytes())
    for named in (run, run / "best.safetensors"):
        done = cli(command, named, photos / "a.jpg", "--demo")
        assert (done.code, done.err) == (
            ExitCode.USAGE, f"segattn: --demo is the network: leave out {named}, or --demo.\n",
        )  # fmt: skip
    assert not (here / "explain.html").exists()
    assert not (here / "predictions").exists()


def test_infer_writes_into_the_working_folder(cli, here, photos):
    before = set(DEMO.parent.iterdir())
    done = cli("infer", "--demo", photos / "a.jpg", photos / "b.png")
    assert done.code == ExitCode.OK
    assert sorted(path.name for path in (here / "predictions").iterdir()) == ["a.png", "b.png"]
    with Image.open(here / "predictions" / "a.png") as label:
        assert label.size == (41, 30)
    assert set(DEMO.parent.iterdir()) == before
    assert cli("infer", "--demo").code == ExitCode.USAGE


def test_eval(cli):
    done = cli("eval", "--demo", "--limit", "2", "--backend", "numpy", "--json", "-")
    assert json.loads(done.out)["checkpoint"] == str(DEMO)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain"], "Missing argument 'RUN': name the folder of a run or a checkpoint, or give --demo."),
        (["infer"], "Missing argument 'RUN': name the folder of a run or a checkpoint, or give --demo."),
        (["eval"], "Missing argument 'RUN': name the folder of a run or a checkpoint, or give --demo."),
        (["explain", "run"], "Missing argument 'IMAGE': name images, folders or patterns after the network."),
        (["eval", "--demo", "runs/first"], "--demo is the network: leave out runs/first, or --demo."),
    ],
)
def test_what_is_missing_or_too_much_is_one_sentence(cli, arguments, says):
    done = cli(*arguments)
    assert (done.code, done.err) == (ExitCode.USAGE, f"segattn: {says}\n")
