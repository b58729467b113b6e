"""The memory that this process could take."""

from __future__ import annotations

from pathlib import Path

import pytest

from segattn_cli.machine.facts import available_bytes

ROOT = "sys/fs/cgroup"
MEMINFO = "MemTotal:       8000000 kB\nMemAvailable:   5000000 kB"
LIMITED = {
    "memory.max": "3000000000", "memory.current": "2500000000", "memory.stat": "anon 1\ninactive_file 400000000",
}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": MEMINFO}, 5_120_000_000),
        ({f"{ROOT}/job/{name}": text for name, text in LIMITED.items()}, 900_000_000),
        ({"proc/meminfo": MEMINFO, f"{ROOT}/memory.max": "max"}, 5_120_000_000),
        ({"proc/meminfo": MEMINFO, **{f"{ROOT}/{name}": text for name, text in LIMITED.items()}}, 900_000_000),
        ({f"{ROOT}/memory.max": "1000", f"{ROOT}/memory.current": "3000"}, 0),
    ],
)  # fmt: skip
def test_what_the_machine_and_the_limits_around_this_process_leave(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    mounts = {"proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "proc/self/cgroup": "0::/job"}
    for name, text in {**mounts, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    assert available_bytes(tmp_path) == free
