"""Downloads, from a server on this machine that does everything that servers do."""

from __future__ import annotations

import errno
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segattn_cli.data import open_dataset
from segattn_cli.data.download import web as web_module
from segattn_cli.data.download.repositories import REPOSITORIES, Servers, download
from segattn_cli.data.inspect import inspect
from segattn_cli.errors import DataError, OutputError

CAMVID = REPOSITORIES["camvid"]
FILES = 11


def fetch(github: Any, out: Path) -> list[Any]:
    return list(download(CAMVID, out, github.servers))


def assert_whole(github: Any, out: Path) -> None:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == github.files


def test_what_was_downloaded_can_be_trained_on(github: Any, tmp_path: Path) -> None:
    out = tmp_path / "data" / "CamVid"
    events = fetch(github, out)
    assert_whole(github, out)
    assert [event.done for event in events] == [*range(1, FILES + 1)]
    assert events[-1].bytes_done == events[-1].bytes_total == sum(map(len, github.files.values()))
    assert not any(event.was_there for event in events)
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        dataset = open_dataset(out, split=split)
        assert (dataset.format, len(dataset)) == ("camvid", count)
        assert [(found.size, found.problem) for found in inspect(dataset)] == [((48, 64), None)] * count


def test_a_second_time_only_what_is_not_whole_is_fetched(github: Any, tmp_path: Path) -> None:
    fetch(github, tmp_path)
    (tmp_path / "val.txt").unlink()
    (tmp_path / "train.txt").write_bytes(b"x" * len(github.files["train.txt"]))  # somebody wrote into it
    github.requests.clear()
    events = fetch(github, tmp_path)
    assert {event.entry.path for event in events if not event.was_there} == {"train.txt", "val.txt"}
    assert set(github.requests) == {"", "train.txt", "val.txt"}
    assert_whole(github, tmp_path)


def test_the_checksum_is_that_of_git(github: Any, tmp_path: Path) -> None:
    # `printf 'hello\n' | git hash-object --stdin`, and of nothing
    for name, data, blob in (
        ("test/hello.png", b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        ("test/empty.png", b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
    ):
        github.files[name] = data
        github.tree.append(github.listed(f"CamVid/{name}", data) | {"sha": blob})
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("beginning", [1000, 0])
def test_a_file_that_was_cut_off_goes_on_where_it_was(
    github: Any, tmp_path: Path, ranges: bool, beginning: int
) -> None:
    name = "train/X0.png"
    data = github.files[name]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / ".X0.png.partial").write_bytes(data[:beginning])
    github.ranges = ranges
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)
    assert github.bytes[name] == len(data) - (beginning if ranges else 0)


@pytest.mark.parametrize("made", ["whole", "longer", "wrong"])
def test_what_else_an_unfinished_file_may_be(github: Any, tmp_path: Path, made: str) -> None:
    name = "train/X0.png"
    data = github.files[name]
    held = {"whole": data, "longer": data + b"more", "wrong": b"?" * 1000}[made]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / ".X0.png.partial").write_bytes(held)
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)
    assert github.requests[name] == {"whole": 0, "longer": 1, "wrong": 2}[made]


def test_connections_that_break_in_mid_file(github: Any, tmp_path: Path) -> None:
    def cut(handler: Any, path: str) -> bool:
        if not path.endswith(".png") or handler.headers.get("Range"):
            return False
        data = github.files[path]
        handler.answer(200, data[: len(data) // 2], claimed=len(data))
        return True

    github.misbehave = cut
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)
    assert github.requests["train/X0.png"] == 2
    assert github.bytes["train/X0.png"] == len(github.files["train/X0.png"])


def test_a_listing_that_breaks_off_is_asked_for_again(github: Any, tmp_path: Path) -> None:
    def cut(handler: Any, path: str) -> bool:
        if path or github.requests[path] > 1:
            return False
        handler.answer(200, b'{"tree": [', claimed=1000)
        return True

    github.misbehave = cut
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)
    assert github.requests[""] == 2


def test_connections_that_break_again_and_again(github: Any, tmp_path: Path) -> None:
    def cut(handler: Any, path: str) -> bool:
        if path != "val.txt":
            return False
        handler.answer(200, b"", claimed=10)
        return True

    github.misbehave = cut
    with pytest.raises(DataError, match=r"cannot be downloaded \(the connection was lost\): later, the same"):
        fetch(github, tmp_path)
    assert github.requests["val.txt"] == web_module.ATTEMPTS


def test_a_server_that_falls_silent_is_asked_again(
    github: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "TIMEOUT", 1.0)

    def fall_silent(handler: Any, path: str) -> bool:
        if path != "val.txt" or github.requests[path] > 1:
            return False
        handler.answer(200, b"", claimed=10)
        github.ended.wait()
        return True

    github.misbehave = fall_silent
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)


def test_servers_that_stumble_are_asked_again(github: Any, tmp_path: Path) -> None:
    answers = ({"code": 503}, {"code": 408}, {"code": 429, "Retry_After": "0"})

    def stumble(handler: Any, path: str) -> bool:
        if (number := github.requests[path]) > len(answers):
            return False
        handler.answer(**answers[number - 1])
        return True

    github.misbehave = stumble
    fetch(github, tmp_path)
    assert_whole(github, tmp_path)
    assert set(github.requests.values()) == {len(answers) + 1}


def test_pauses_double_and_obey_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    waited: list[float] = []
    monkeypatch.setattr(stop, "wait", lambda seconds: waited.append(seconds))
    answers = iter([0.0, 30.0, 0.0, 0.0, 0.0])

    def attempt() -> None:
        raise web_module.TemporaryError("503", wait=next(answers))

    with pytest.raises(DataError, match=r"URL cannot be downloaded \(503\)"):
        web_module.with_retries(attempt, "URL", 1.0, stop)
    assert waited == [1.0, 30.0, 4.0, 8.0]  # and none after the last attempt


LISTED = b'{"tree": [{"path": "CamVid/val.txt", "mode": "100644", "sha": "' + 40 * b"0" + b'", "size": %s}]}'


def always(code: int, data: bytes = b"", **headers: str) -> Callable[[Any, str], bool]:
    def answer(handler: Any, path: str) -> bool:
        handler.answer(code, data, **headers)
        return True

    return answer


@pytest.mark.parametrize(
    ("misbehave", "attempts", "says"),
    [
        (always(404), 1, r"cannot be downloaded \(404 Not Found\): the data set has moved"),
        (always(500), 5, r"cannot be downloaded \(500 Internal Server Error\): later"),
        (always(403, x_ratelimit_reset="1700000000"), 1, r"refused until \d\d:\d\d \(403 Forbidden\)"),
        (always(429, Retry_After="3600"), 1, r"refused until \d\d:\d\d \(429 Too Many Requests\)"),
        (always(403), 1, r"refused for now \(403 Forbidden\)"),
        (always(429, Retry_After="\u00b2"), 1, r"refused for now \(429 Too Many Requests\)"),
        (always(429, Retry_After="9" * 5000), 1, r"refused for now \(429 Too Many Requests\)"),
        (always(403, x_ratelimit_reset="9" * 30), 1, r"refused for now \(403 Forbidden\)"),
        (always(302, Location="http://[::bad/"), 1, "leads to what is no address"),
        (always(200, LISTED % b"Infinity"), 1, "no usable listing of files.*no checksum or size"),
        (always(200, LISTED % b"1e400"), 1, "no usable listing of files.*no checksum or size"),
        (always(200), 1, "no usable listing of files"),
        (always(200, b"[]"), 1, "no usable listing of files"),
        (always(200, b"[" * 10**5), 1, "no usable listing of files"),
        (always(200, b'{"tree": [], "truncated": true}'), 1, "no usable listing of files.*cut off"),
        (always(200, b'{"tree": []}'), 1, "lists nothing of camvid"),
    ],
)
def test_servers_that_have_nothing(
    github: Any, tmp_path: Path, misbehave: Any, attempts: int, says: str
) -> None:
    github.misbehave = misbehave
    with pytest.raises(DataError, match=says):
        fetch(github, tmp_path / "CamVid")
    assert github.requests.total() == attempts
    assert not (tmp_path / "CamVid").exists()


def test_a_limit_that_comes_in_the_middle_keeps_what_is_there(github: Any, tmp_path: Path) -> None:
    github.misbehave = lambda handler, path: path == "val.txt" and always(429)(handler, path)
    with pytest.raises(DataError, match="refused for now"):
        fetch(github, tmp_path)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("[!.]*.*")}
    assert len(there) >= 4  # val.txt is the tenth, and six are fetched at once
    github.misbehave = lambda handler, path: False
    assert {event.entry.path for event in fetch(github, tmp_path) if event.was_there} == there
    assert_whole(github, tmp_path)


def test_another_content_is_thrown_away(github: Any, tmp_path: Path) -> None:
    github.files["val.txt"] = b"y" * len(github.files["val.txt"])
    with pytest.raises(DataError, match=r"val.txt does not have the checksum"):
        fetch(github, tmp_path)
    assert github.requests["val.txt"] == 2
    assert not (tmp_path / "val.txt").exists()
    assert not (tmp_path / ".val.txt.partial").exists()


def test_a_file_longer_than_it_should_be_is_not_swallowed(github: Any, tmp_path: Path) -> None:
    whole = github.files["val.txt"]
    github.files["val.txt"] = whole + b"z" * 10**6
    fetch(github, tmp_path)
    assert (tmp_path / "val.txt").read_bytes() == whole  # as long as the listing says, which the checksum confirms


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("CamVid/../evil.txt", "100644"),
        ("CamVid/train/../../evil.png", "100644"),
        ("/etc/evil.txt", "100644"),
        ("CamVid/train\\..\\evil.png", "100644"),
        ("CamVid//train/evil.png", "100644"),
        ("CamVid/train/link.png", "120000"),
        ("CamVid/train.txt", "160000"),
    ],
)
def test_a_listing_that_leads_elsewhere_is_refused(github: Any, tmp_path: Path, path: str, mode: str) -> None:
    github.tree.append(github.listed(path, b"evil", mode))
    with pytest.raises(DataError, match=r"no usable listing of files .*(leads elsewhere|not a plain file)"):
        fetch(github, tmp_path / "CamVid")
    assert [*tmp_path.iterdir()] == []
    assert set(github.requests) == {""}


@pytest.mark.parametrize("wrong", [{"sha": "../../x"}, {"size": -1}, {"size": "1"}, {"sha": None}])
def test_a_listing_without_checksums_or_sizes_is_refused(
    github: Any, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    github.tree[0] |= wrong
    with pytest.raises(DataError, match="no usable listing of files"):
        fetch(github, tmp_path)


def test_stopping_keeps_what_is_whole(github: Any, tmp_path: Path) -> None:
    events = download(CAMVID, tmp_path, github.servers)
    next(events)
    next(events)
    events.close()  # what Ctrl-C does
    whole = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(whole) >= 2
    assert sum(event.was_there for event in fetch(github, tmp_path)) >= 2
    assert_whole(github, tmp_path)


def test_stopping_waits_for_no_silent_server_and_keeps_what_it_sent(
    github: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "TIMEOUT", 1200.0)

    def fall_silent(handler: Any, path: str) -> bool:
        if path in ("", "train/X0.png"):
            return False
        handler.answer(200, github.files[path][:500], claimed=len(github.files[path]))
        github.ended.wait()
        return True

    github.misbehave = fall_silent
    events = download(CAMVID, tmp_path, github.servers)
    assert next(events).entry.path == "train/X0.png"
    partial = tmp_path / "train" / ".X1.png.partial"
    began = time.monotonic()
    while not partial.is_file() or partial.stat().st_size < 500:
        assert time.monotonic() - began < 300, "what came is held back"
        time.sleep(0.01)
    events.close()
    assert time.monotonic() - began < 600  # and not as long as the time-out
    assert partial.read_bytes() == github.files["train/X1.png"][:500]


@pytest.mark.parametrize(
    ("error", "attempts", "says"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), 1, "cannot be reached .*check the connection"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 5, "downloaded .*reset by peer"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), 5, "cannot be downloaded .*Network is unreachable"),
    ],
)
def test_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, attempts: int, says: str
) -> None:
    tried = []

    def connect(*arguments: Any, **options: Any) -> None:
        tried.append(arguments)
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DataError, match=says):
        list(download(CAMVID, tmp_path, Servers("http://example.test", "http://example.test", pause=0.001)))
    assert len(tried) == attempts


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be reached \(.*refused\): check the connection"):
        list(download(CAMVID, tmp_path, Servers("http://127.0.0.1:9", "http://127.0.0.1:9")))


def test_only_https_unless_told_otherwise() -> None:
    assert Servers().listings.startswith("https://")
    assert Servers().files.startswith("https://")


def test_a_folder_of_something_else_is_left_alone(github: Any, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a list of somebody's own")
    with pytest.raises(OutputError, match="holds something else: give another --out"):
        fetch(github, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]
    with pytest.raises(OutputError, match="holds something else"):
        fetch(github, tmp_path / "train.txt")


def test_a_folder_that_cannot_be_written(github: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        fetch(github, tmp_path / "file" / "CamVid")


def test_a_disk_that_is_too_small(github: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match="has room for 0 MB: make room"):
        fetch(github, tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
def test_a_disk_that_fills_up(github: Any, tmp_path: Path) -> None:
    (tmp_path / ".val.txt.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device; complete files stay"):
        fetch(github, tmp_path)
