"""What these tests share: networks whose every parameter matters, and a server with a miniature of CamVid."""

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

from reference.networks import build_network
from segattn_cli.config import load_config
from segattn_cli.data.download.repositories import REPOSITORIES, Servers
from segattn_cli.data.formats.scenes import CLASSES, PALETTE
from segattn_cli.runs import Model

CAMVID = REPOSITORIES["camvid"]


@pytest.fixture(scope="session")
def model_of() -> Callable[..., Model]:
    """``model_of(head="dual", …)``: a model with these parts of a network, and random parameters throughout."""

    def make(*, classes: int = 5, **parts: Any) -> Model:
        small = {"head_channels": 8, "scale_attention_channels": 8, "scales": [1.0], "scale_classifier": "none"}
        parts = small | parts
        settings = [f"network.{key}={json.dumps(value)}" for key, value in parts.items()]
        config = load_config("tiny-scenes", settings)
        network = build_network(config.network_config(classes))
        rng = np.random.default_rng(7)
        params = {name: _moved(name, value, rng) for name, value in network.initialise(seed=1).items()}
        return Model(network, params, config, CLASSES[:classes], PALETTE[:classes], {}, Path("model.safetensors"))

    return make


def _moved(name: str, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Away from where training starts: no gate at 0, no norm that does nothing, no equal weights of the scales."""
    if name.endswith(".gate"):
        return np.float32(0.8) + np.zeros_like(value)
    if name.endswith(".running_var"):
        return rng.uniform(0.5, 2, value.shape).astype(np.float32)
    if np.ptp(value) == 0:
        return (value + rng.normal(0, 0.3, value.shape)).astype(np.float32)
    return value


def png(seed: int, mode: str) -> bytes:
    rng = np.random.default_rng(seed)
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


class GitHub(ThreadingHTTPServer):
    """What GitHub would list and serve: ``files`` under ``tree``.

    ``misbehave(handler, path)`` may answer a request in its place.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = camvid_files()
        self.tree: list[dict[str, Any]] = [
            self.listed(f"CamVid/{path}", data) for path, data in self.files.items()
        ]
        self.tree += [
            self.listed("README.md", b"SegNet"),
            self.listed("CamVid/README.md", b"CamVid"),
            {"path": "CamVid/train", "mode": "040000", "type": "tree", "sha": "0" * 40},
        ]
        self.ranges = True
        self.requests: Counter[str] = Counter()  # by path in the data set; the listing's is empty
        self.bytes: Counter[str] = Counter()
        self.misbehave: Callable[[Any, str], bool] = lambda handler, path: False
        self.ended = threading.Event()  # for whoever keeps a client waiting

    @staticmethod
    def listed(path: str, data: bytes, mode: str = "100644") -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return {"path": path, "mode": mode, "type": "blob", "sha": blob, "size": len(data)}

    @property
    def servers(self) -> Servers:
        base = f"http://127.0.0.1:{self.server_port}"
        return Servers(f"{base}/listings", f"{base}/files", pause=0.001)


class Handler(BaseHTTPRequestHandler):
    server: GitHub
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        base = f"/files/{CAMVID.repository}/{CAMVID.commit}/CamVid/"
        path = self.path.removeprefix(base) if self.path.startswith(base) else ""
        self.server.requests[path] += 1
        if self.server.misbehave(self, path):
            return
        if not path:
            assert self.path == f"/listings/{CAMVID.repository}/git/trees/{CAMVID.commit}?recursive=1"
            self.answer(200, json.dumps({"tree": self.server.tree, "truncated": False}).encode())
            return
        data = self.server.files[path]
        wanted = self.headers.get("Range")
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.answer(206, data[start:]) if start < len(data) else self.answer(416)
        else:
            self.answer(200, data)

    def answer(self, code: int, data: bytes = b"", claimed: int | None = None, **headers: str) -> None:
        """Send ``data``, ``claimed`` bytes being promised: more than there are, where a connection breaks."""
        self.send_response(code)
        self.send_header("Content-Length", str(len(data) if claimed is None else claimed))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        self.server.bytes[self.path.rpartition("/CamVid/")[2]] += len(data)


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A server with a miniature of CamVid; ``github.servers`` is what a download wants."""
    made = GitHub()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.ended.set()
    made.shutdown()
    thread.join()
    made.server_close()
