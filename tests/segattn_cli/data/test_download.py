"""Downloads, from a server on this machine that does everything that servers do."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import open_dataset
from segattn_cli.data.download import REPOSITORIES, Servers, download
from segattn_cli.errors import DataError, OutputError

CAMVID = REPOSITORIES["camvid"]


def png(value: int, mode: str) -> bytes:
    rng = np.random.default_rng(value)
    shape = (48, 64, 3) if mode == "RGB" else (48, 64)
    array = rng.integers(0, 11 if mode == "L" else 256, shape).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, "PNG")
    return buffer.getvalue()


def camvid_files() -> dict[str, bytes]:
    files = {}
    for n, split in enumerate(("train", "train", "val", "test")):
        files[f"{split}/X{n}.png"] = png(n, "RGB")
        files[f"{split}annot/X{n}.png"] = png(n, "L")
    for split in ("train", "val", "test"):
        names = [name for name in files if name.startswith(f"{split}/")]
        rows = [f"/SegNet/CamVid/{name} /SegNet/CamVid/{name.replace('/', 'annot/')}" for name in names]
        files[f"{split}.txt"] = "\n".join(rows).encode() + b"\n"
    return files


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``misbehave`` may answer a request in its place."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = camvid_files()
        self.tree = [
            {"path": f"CamVid/{path}", "mode": "100644", "type": "blob", "sha": blob(data), "size": len(data)}
            for path, data in self.files.items()
        ]
        self.tree += [
            {"path": "README.md", "mode": "100644", "type": "blob", "sha": "0" * 40, "size": 3},
            {"path": "CamVid/train", "mode": "040000", "type": "tree", "sha": "0" * 40},
        ]
        self.ranges = True
        self.requests: Counter[str] = Counter()
        self.sent = 0
        self.misbehave: Callable[[Handler, str], bool] = lambda handler, path: False

    @property
    def servers(self) -> Servers:
        base = f"http://127.0.0.1:{self.server_port}"
        return Servers(f"{base}/listings", f"{base}/files", pause=0.001)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition(f"{CAMVID.commit}/CamVid/")[2]
        self.server.requests[path] += 1
        if self.server.misbehave(self, path):
            return
        if self.path.startswith("/listings/"):
            assert self.path == f"/listings/{CAMVID.repository}/git/trees/{CAMVID.commit}?recursive=1"
            self.answer(200, json.dumps({"tree": self.server.tree, "truncated": False}).encode())
            return
        data = self.server.files[path]
        wanted = self.headers.get("Range")
        if wanted and self.server.ranges:
            self.answer(206, data[int(wanted.removeprefix("bytes=").removesuffix("-")) :])
        else:
            self.answer(200, data)

    def answer(self, code: int, data: bytes = b"", claimed: int | None = None, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(data) if claimed is None else claimed))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        self.server.sent += len(data)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def fetch(server: Server, out: Path) -> list[Any]:
    return list(download(CAMVID, out, server.servers))


def assert_whole(server: Server, out: Path) -> None:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == server.files


def test_what_was_downloaded_can_be_trained_on(server: Server, tmp_path: Path) -> None:
    events = fetch(server, tmp_path / "CamVid")
    assert_whole(server, tmp_path / "CamVid")
    assert [event.done for event in events] == [*range(1, 12)]
    assert events[-1].bytes_done == events[-1].bytes_total == sum(map(len, server.files.values()))
    assert not any(event.was_there for event in events)
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        dataset = open_dataset(tmp_path / "CamVid", split=split)
        assert (dataset.format, len(dataset)) == ("camvid", count)
        assert dataset.load(0).image.shape == (48, 64, 3)


def test_a_second_time_nothing_is_fetched(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / "train.txt").write_bytes(b"x" * len(server.files["train.txt"]))  # somebody wrote into it
    server.requests.clear()
    events = fetch(server, tmp_path)
    assert [event.entry.path for event in events if not event.was_there] == ["train.txt"]
    assert set(server.requests) == {"", "train.txt"}
    assert_whole(server, tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_was_cut_off_goes_on_where_it_was(server: Server, tmp_path: Path, ranges: bool) -> None:
    fetch(server, tmp_path)
    name = "train/X0.png"
    data = server.files[name]
    (tmp_path / name).unlink()
    (tmp_path / "train" / ".X0.png.partial").write_bytes(data[:1000])
    server.ranges = ranges
    server.sent = 0
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    listing = len(json.dumps({"tree": server.tree, "truncated": False}))
    assert server.sent == listing + len(data) - (1000 if ranges else 0)


def test_connections_that_break_in_mid_file(server: Server, tmp_path: Path) -> None:
    broken = Counter[str]()

    def cut(handler: Handler, path: str) -> bool:
        broken[path] += 1
        if not path.endswith(".png") or broken[path] > 2 or handler.headers.get("Range"):
            return False
        data = server.files[path]
        handler.answer(200, data[: len(data) // 2], claimed=len(data))
        return True

    server.misbehave = cut
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    assert broken["train/X0.png"] == 2


def test_servers_that_stumble_are_asked_again(server: Server, tmp_path: Path) -> None:
    stumbled = Counter[str]()

    def stumble(handler: Handler, path: str) -> bool:
        stumbled[path] += 1
        if stumbled[path] < 3:
            handler.answer(503)
        return stumbled[path] < 3

    server.misbehave = stumble
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)


def always(code: int, **headers: str) -> Callable[[Handler, str], bool]:
    def answer(handler: Handler, path: str) -> bool:
        handler.answer(code, **headers)
        return True

    return answer


@pytest.mark.parametrize(
    ("misbehave", "says"),
    [
        (always(404), "404 .*has moved"),
        (always(500), "cannot be reached"),
        (always(403, x_ratelimit_reset="1700000000"), r"refused for now .*until \d\d:\d\d"),
        (always(429), "refused for now"),
        (always(200), "is no listing of files"),
    ],
)
def test_servers_that_have_nothing(server: Server, tmp_path: Path, misbehave: Any, says: str) -> None:
    server.misbehave = misbehave
    with pytest.raises(DataError, match=says):
        fetch(server, tmp_path)


def test_another_content_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files["val.txt"] = b"y" * len(server.files["val.txt"])
    with pytest.raises(DataError, match=r"val.txt is not the file that its checksum"):
        fetch(server, tmp_path)
    assert server.requests["val.txt"] == 2
    assert not (tmp_path / "val.txt").exists()
    assert not (tmp_path / ".val.txt.partial").exists()


def test_a_file_longer_than_it_should_be_is_not_swallowed(server: Server, tmp_path: Path) -> None:
    whole = server.files["val.txt"]
    server.files["val.txt"] = whole + b"z" * 10**6
    fetch(server, tmp_path)
    assert (tmp_path / "val.txt").read_bytes() == whole  # as long as the listing says, which the checksum confirms


def test_nothing_is_written_outside_the_folder(server: Server, tmp_path: Path) -> None:
    data = b"evil"
    for path in ("CamVid/../evil.txt", "CamVid/train/../../evil.png", "/etc/evil.txt", "CamVid/train/evil.sh"):
        server.tree.append({"path": path, "mode": "100644", "type": "blob", "sha": blob(data), "size": 4})
    server.tree.append(
        {"path": "CamVid/train/link.png", "mode": "120000", "type": "blob", "sha": blob(data), "size": 4}
    )
    fetch(server, tmp_path / "deep" / "CamVid")
    assert_whole(server, tmp_path / "deep" / "CamVid")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["CamVid"]


def test_a_listing_without_the_data_set(server: Server, tmp_path: Path) -> None:
    server.tree = [each for each in server.tree if not each["path"].startswith("CamVid/")]
    with pytest.raises(DataError, match="lists nothing of camvid"):
        fetch(server, tmp_path)


def test_stopping_keeps_what_is_whole(server: Server, tmp_path: Path) -> None:
    events = download(CAMVID, tmp_path, server.servers)
    next(events)
    next(events)
    events.close()  # what Ctrl-C does
    whole = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(whole) >= 2
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        list(download(CAMVID, tmp_path, Servers("http://127.0.0.1:9", "http://127.0.0.1:9", pause=0.001)))


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "train").write_text("a file where a folder should be")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(server, tmp_path)
