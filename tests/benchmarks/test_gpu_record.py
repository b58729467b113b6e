"""The record of a GPU: which is the newest, how old it is, and that the documentation shows its figures."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_record
from benchmarks.gpu_record import DOCUMENT, END, START, age, commits_since, main, newest, table, with_table

MACHINE = {
    "device": "Card", "date": "2026-01-02", "driver": "580.65", "CUDA runtime": "13.0", "convolutions": "products",
}  # fmt: skip
ROW = {
    "subject": "position_attention", "shape": "N=9216 64/512", "work": "forward", "precision": "tf32",
    "seconds": 0.00103, "peer": "torch compiled", "peer_seconds": 0.1234, "ratio": 0.0083, "error": 3.6e-4,
    "peer_error": None, "extra_bytes": 84_900_000, "peer_extra_bytes": 340_000_000, "peak_share": 0.256,
    "queue_seconds": 0.0002, "peer_queue_seconds": 0.0001,
}  # fmt: skip
ALONE = dict.fromkeys(("peer", "peer_seconds", "ratio", "error", "peer_extra_bytes", "extra_bytes", "peak_share"))
ALONE |= dict.fromkeys(("queue_seconds", "peer_queue_seconds"))


def record(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    versions = {"cupy": "14.2.0", "torch": "2.11"}
    return {"machine": MACHINE, "commit": "abc1234", "versions": versions, "rows": list(rows)} | more


def test_there_is_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    line = capsys.readouterr().out
    assert "benchmarks/records/" in line
    assert line.endswith("Nothing ran on a GPU here.\n")


def test_the_documentation_shows_the_newest_record() -> None:
    """`python -m benchmarks.gpu_record --write` after a record was added."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert 0 < text.find(START) < text.find(END)
    path = newest()
    assert path is not None
    found = json.loads(path.read_text(encoding="utf-8"))
    if "rows" in found:  # the first one had another format
        assert with_table(text, table(found)) == text


def test_the_newest_has_the_latest_date_in_its_name(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for name in ("h200-2026-01-01", "a100-2026-01-02", "h100-2026-01-02", "cuda-resources", "old"):
        (tmp_path / f"{name}.json").write_text("{}")
    (tmp_path / "cpu-2026-12-01").mkdir()
    assert newest(tmp_path) == tmp_path / "h100-2026-01-02.json"


def test_without_a_record_the_exit_code_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_record, "newest", lambda: None)
    assert main([]) == 1
    assert "There is no record of a GPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("commits", "changed", "sentence"),
    [
        (1, False, "timed on Card at abc1234, 3 days ago, 1 commit to backends/cupy since. Nothing ran on a GPU"),
        (0, True, "timed on Card at abc1234 with changes, 3 days ago, 0 commits to backends/cupy since."),
        (None, None, "timed on Card at abc1234, 3 days ago, git cannot tell what has changed since."),
    ],
)
def test_how_old_it_is(monkeypatch: pytest.MonkeyPatch, commits: Any, changed: Any, sentence: str) -> None:
    monkeypatch.setattr(gpu_record, "commits_since", lambda commit: commits)
    assert age(record(changed=changed), date(2026, 1, 5)).startswith(sentence)


def test_commits_to_the_backend_are_counted(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit(path: str) -> str:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(str(len(git("log", "--all", "--oneline"))))
        git("add", ".")
        git("commit", "-m", path)
        return git("rev-parse", "HEAD")

    git("init", "-q")
    first = commit("backends/cupy/gemm.py")
    assert commits_since(first, tmp_path) == 0
    commit("backends/cupy/gemm.py")
    commit("docs/gpu.md")
    commit("backends/cupy/kernels/softmax.cu")
    assert commits_since(first, tmp_path) == 2
    assert commits_since("unknown", tmp_path) is None
    assert commits_since(first, tmp_path / "docs" / "none") is None


def test_a_table_has_a_line_for_each_row() -> None:
    head, _, headings, rule, first, second = table(record(ROW, ROW | ALONE)).splitlines()
    assert "Card, 2026-01-02, commit abc1234: driver 580.65, CUDA runtime 13.0, CuPy 14.2.0, PyTorch 2.11" in head
    assert headings.count("|") == rule.count("|") == first.count("|") == second.count("|")
    assert first == (
        "| position attention N=9216 64/512 forward | tf32 | 1.03 ms | 123 ms (compiled) | 0.01 | 4e-04, – | "
        "85 MB, 340 MB | 0.20 ms, 0.10 ms | 26 % |"
    )
    assert second.endswith(" forward | tf32 | 1.03 ms | none |  | –, – | –, – | –, – |  |")


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document, path = tmp_path / "gpu.md", tmp_path / "card-2026-01-02.json"
    document.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    path.write_text(json.dumps(record(ROW)), encoding="utf-8")
    monkeypatch.setattr(gpu_record, "DOCUMENT", document)
    monkeypatch.setattr(gpu_record, "newest", lambda: path)
    for _ in range(2):
        assert main(["--write"]) == 0
        text = document.read_text(encoding="utf-8")
        assert text == f"before\n{START}\n{table(record(ROW))}\n{END}\nafter\n"
    with pytest.raises(ValueError, match="there is no"):
        with_table("no markers", "table")
