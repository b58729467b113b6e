"""The newest record of a GPU: how old it is, and its table for the documentation.

    python -m benchmarks.gpu_record            # one line; exits with 1 where there is no record
    python -m benchmarks.gpu_record --write    # puts the table into docs/gpu.md, between its two markers

A record is what ``segattn bench --backend cupy --json`` wrote, as ``benchmarks/records/DEVICE-DATE.json``. Nothing
here needs a GPU, and nothing is claimed about the code since.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS, DOCUMENT = ROOT / "benchmarks" / "records", ROOT / "docs" / "gpu.md"
#: What a record is about: a change to it makes the record older than its date.
CODE = "backends/cupy"
#: Lines of the document; what is between them is the newest record's.
START, END = "<!-- table of the newest record: python -m benchmarks.gpu_record --write -->", "<!-- end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put its table into docs/gpu.md")
    options = parser.parse_args(arguments)
    path = newest()
    if path is None:
        print(f"There is no record of a GPU in {RECORDS}: `segattn bench --backend cupy --json` makes one.")
        return 1
    record = json.loads(path.read_text(encoding="utf-8"))
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(with_table(text, table(record)), encoding="utf-8")
        return 0
    print(f"{path.relative_to(ROOT)}: {age(record)}")
    return 0


def newest(folder: Path = RECORDS) -> Path | None:
    """The record with the latest date in its name; None where there is none."""
    return max(folder.glob("*-????-??-??.json"), key=lambda path: (path.stem[-10:], path.stem), default=None)


def age(record: Mapping[str, Any], today: date | None = None) -> str:
    """Of what, of when, and how much has changed since; one line."""
    machine, commit = record["machine"], record["commit"]
    days = ((today or datetime.now(UTC).date()) - date.fromisoformat(machine["date"])).days
    changed = {True: " with changes", False: "", None: ""}[record.get("changed")]
    commits = commits_since(commit)
    since = "git cannot tell what has changed" if commits is None else f"{_count(commits, 'commit')} to {CODE}"
    return (
        f"timed on {machine['device']} at {commit}{changed}, {_count(days, 'day')} ago, {since} since. "
        "Nothing ran on a GPU here."
    )


def commits_since(commit: str, root: Path = ROOT) -> int | None:
    """How many commits since ``commit`` touched the backend; None where git cannot tell."""
    command = ["git", "-C", str(root), "rev-list", "--count", f"{commit}..HEAD", "--", CODE]
    try:
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def table(record: Mapping[str, Any]) -> str:
    """The rows of ``record`` in Markdown, under a line on where they come from."""
    machine, versions = record["machine"], record["versions"]
    headings = (
        "", "precision", "ours", "PyTorch's best", "ratio", "error: ours, PyTorch's", "memory: ours, PyTorch's",
        "queued after: ours, PyTorch's", "share of a product",
    )  # fmt: skip
    lines = [
        f"{machine['device']}, {machine['date']}, commit {record['commit']}: driver {machine['driver']}, "
        f"CUDA runtime {machine['CUDA runtime']}, CuPy {versions['cupy']}, PyTorch {versions['torch']}, our "
        f"convolutions by {machine['convolutions']}.",
        "",
        f"| {' | '.join(headings)} |",
        "| --- " * len(headings) + "|",
    ]
    for row in record["rows"]:
        peer = "none"
        if row["peer"] is not None:
            peer = f"{_time(row['peer_seconds'])} ({row['peer'].removeprefix('torch ')})"
        cells = (
            f"{row['subject'].replace('_', ' ')} {row['shape']} {row['work']}",
            row["precision"],
            _time(row["seconds"]),
            peer,
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            _pair(row["error"], row["peer_error"], lambda value: f"{value:.0e}"),
            _pair(row["extra_bytes"], row["peer_extra_bytes"], lambda value: f"{value / 1e6:.0f} MB"),
            _pair(row["queue_seconds"], row["peer_queue_seconds"], _time),
            "" if row["peak_share"] is None else f"{100 * row['peak_share']:.0f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str, content: str) -> str:
    """``text`` with ``content`` between its markers. Raises ValueError where they are missing."""
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"there is no {START!r} followed by {END!r}")
    return f"{before}{START}\n{content}\n{END}{after}"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms" if seconds < 0.1 else f"{1e3 * seconds:.0f} ms"


def _pair(ours: float | None, theirs: float | None, write: Any) -> str:
    return ", ".join("–" if value is None else write(value) for value in (ours, theirs))


def _count(number: int, what: str) -> str:
    """A number and its noun."""
    return f"{number} {what}" + ("" if number == 1 else "s")


if __name__ == "__main__":
    sys.exit(main())
